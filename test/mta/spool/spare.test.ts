/** The spare: made beside the work, what the next segment is made of, and never in anybody's way. */
import { cp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Spool } from '../../../mta/spool/spool.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { leaseOf, listeningLog, openAt, submission } from './fixture.ts';

const SEGMENT_OCTETS = 65_536;
/** Of a busy machine. */
const PATIENCE = { timeout: 20_000 };
const cleanup = new Cleanup();
let folder: Folder;
let spool: Spool;
beforeEach(async () => {
  folder = await scratchFolder('spare');
  cleanup.add(() => folder.remove());
  spool = await openAt(folder.path, { segmentOctets: SEGMENT_OCTETS });
  cleanup.add(() => spool.close());
});
afterEach(() => cleanup.run());

const segmentsOf = (path: string) => join(path, 'segments');
const namesIn = async (path: string): Promise<string[]> => (await readdir(segmentsOf(path))).sort();
const sizeOf = async (path: string, name: string): Promise<number> =>
  (await stat(join(segmentsOf(path), name))).size;

const append = (octets: number) =>
  spool.append(submission(['a@x.example'], { content: Buffer.alloc(octets, 'x') }));
const awaitSpare = () =>
  vi.waitFor(async () => expect(await namesIn(folder.path)).toContain('spare'), PATIENCE);

async function crashedCopy(): Promise<string> {
  const copy = await scratchFolder('crashed');
  cleanup.add(() => copy.remove());
  // A spare that is being made may get its name meanwhile.
  await vi.waitFor(() => cp(folder.path, copy.path, { recursive: true }), PATIENCE);
  return copy.path;
}

test('there is none while little is written; then it is what the next segment is made of', async () => {
  await append(1_000);
  await spool.counts();
  expect(await namesIn(folder.path)).toEqual(['0000000001.seg']);
  await append(4_000);
  await awaitSpare();
  expect(await sizeOf(folder.path, 'spare')).toBe(SEGMENT_OCTETS);
  await append(100);
  expect(await sizeOf(folder.path, '0000000001.seg')).toBeLessThan(6_000);
  expect(await sizeOf(folder.path, '0000000002.seg')).toBe(SEGMENT_OCTETS);
  expect(await namesIn(folder.path)).toEqual(['0000000001.seg', '0000000002.seg']);
});

test('there is none where a sync has so much that it hardly matters', async () => {
  await append(300_000);
  await append(300_000);
  await spool.counts();
  expect(await namesIn(folder.path)).toEqual(['0000000001.seg', '0000000002.seg']);
});

test('a segment that is larger than its spare, and the one after it', async () => {
  await append(5_000);
  await awaitSpare();
  await append(100_000);
  expect(await sizeOf(folder.path, '0000000002.seg')).toBeGreaterThan(100_000);
  await append(100);
  const path = await crashedCopy();
  const log = listeningLog();
  const other = await openAt(path, { log });
  expect([(await other.counts()).messages, log.lines]).toEqual([3, []]);
  await other.close();
});

test('zeros that a crash leaves behind the last record go at the next start, and no record with them', async () => {
  await append(5_000);
  await awaitSpare();
  // Content that ends in zeros is no end of the log.
  const content = Buffer.alloc(3_000);
  const message = await spool.append(submission(['b@y.example'], { content }));
  const path = await crashedCopy();
  for (let life = 0; life < 3; life += 1) {
    const log = listeningLog();
    const other = await openAt(path, { log });
    expect((await other.counts()).messages).toBe(2);
    expect(await sizeOf(path, '0000000002.seg')).toBeLessThan(4_000);
    const { messages } = await other.lease(leaseOf(['y.example']));
    expect(messages.map(({ message: id }) => id)).toEqual([message]);
    expect(content.equals(messages[0]!.content)).toBe(true);
    expect(log.lines).toEqual([]);
    // Another life that ends as suddenly.
    const next = await scratchFolder('crashed');
    cleanup.add(() => next.remove());
    await cp(path, next.path, { recursive: true });
    await other.close();
    await cp(next.path, path, { recursive: true, force: true });
  }
});

/** What the sectors of a message's content are where they were never written. */
async function blank(path: string, name: string, content: Buffer): Promise<void> {
  const file = join(segmentsOf(path), name);
  const octets = await readFile(file);
  const at = octets.indexOf(content);
  expect(at).toBeGreaterThan(0);
  octets.fill(0, at + 512, at + content.length);
  await writeFile(file, octets);
}

test.each([true, false])(
  'a last message without its content was not acknowledged; one before it was (leased: %s)',
  async (handOver) => {
    await append(5_000);
    await awaitSpare();
    const contents = ['b', 'c'].map((letter) => Buffer.alloc(3_000, letter));
    for (const content of contents) {
      await spool.append(submission(['b@y.example'], { content }), handOver);
    }
    const path = await crashedCopy();
    await blank(path, '0000000002.seg', contents[1]!);
    const log = listeningLog();
    const other = await openAt(path, { log });
    expect(await other.counts()).toMatchObject({ messages: 2, quarantined: 0 });
    expect((await other.lease(leaseOf(['y.example']))).messages.length).toBe(1);
    expect(log.lines).toEqual([]);
    await other.close();

    const damaged = await crashedCopy();
    await blank(damaged, '0000000002.seg', contents[0]!);
    const another = await openAt(damaged, { log });
    expect((await another.counts()).messages).toBe(3);
    expect((await another.lease(leaseOf(['y.example']))).messages.length).toBe(1);
    expect((await another.counts()).quarantined).toBe(1);
    await another.close();
  },
);

test('zeros go when the spool is closed, and a whole spare stays for the next start', async () => {
  await append(5_000);
  await awaitSpare();
  await append(5_000);
  await awaitSpare();
  await spool.close();
  expect(await namesIn(folder.path)).toEqual(['0000000001.seg', '0000000002.seg', 'spare']);
  expect(await sizeOf(folder.path, '0000000002.seg')).toBeLessThan(6_000);
  spool = await openAt(folder.path, { segmentOctets: SEGMENT_OCTETS });
  await append(100);
  expect(await sizeOf(folder.path, '0000000003.seg')).toBe(SEGMENT_OCTETS);
  expect((await spool.counts()).messages).toBe(3);
});

test('one that is not whole, or of another size, is removed at the start', async () => {
  await append(100);
  await spool.close();
  await writeFile(join(segmentsOf(folder.path), 'spare'), Buffer.alloc(1_000));
  await writeFile(join(segmentsOf(folder.path), 'spare.new'), Buffer.alloc(1_000));
  spool = await openAt(folder.path, { segmentOctets: SEGMENT_OCTETS });
  expect(await namesIn(folder.path)).toEqual(['0000000001.seg', '0000000002.seg']);
});
