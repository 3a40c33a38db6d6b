import { generateKeyPairSync } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mtaSchema } from '../../../mta/config.ts';
import type { Submission } from '../../../mta/envelope.ts';
import { IntakeBusy } from '../../../mta/errors.ts';
import { RELOAD_MS } from '../../../mta/sign/keys.ts';
import { Signer } from '../../../mta/sign/signer.ts';
import type { Log } from '../../../runtime/log.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/clock.ts';
import { scratchFolder } from '../../support/scratch.ts';

const pemOf = (type: 'ed25519' | 'x25519'): string => {
  const { privateKey } =
    type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('x25519');
  return String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
};
const rsaPem = (bits: number): string =>
  String(
    generateKeyPairSync('rsa', { modulusLength: bits }).privateKey.export({
      type: 'pkcs8',
      format: 'pem',
    }),
  );

function submission(from: string, headroom = 0): Submission {
  const text = Buffer.from(`From: ${from}\r\nSubject: x\r\n\r\nhello\r\n`);
  const room = Buffer.alloc(headroom + text.length, 0x21);
  text.copy(room, headroom);
  return {
    envelope: { reversePath: 'a@elsewhere.example', recipients: [], body: '7bit', smtpUtf8: false },
    content: room.subarray(headroom),
    headroom,
    receivedAtMs: 0,
    origin: 'test',
  };
}

const textOf = ({ content }: Submission): string => Buffer.from(content).toString('latin1');
const selectorOf = (signed: Submission): string | undefined =>
  /\ts=([^;]+);/.exec(textOf(signed))?.[1];

let cleanup: Cleanup;
let folder: string;
let clock: ManualClock;
let said: string[];
const say = (_: object, message: string): void => void said.push(message);
const log: Log = { debug: say, info: say, warn: say, error: say };

beforeEach(async () => {
  cleanup = new Cleanup();
  const scratch = await scratchFolder('dkim');
  cleanup.add(() => scratch.remove());
  folder = scratch.path;
  clock = new ManualClock();
  said = [];
});
afterEach(() => cleanup.run());

async function put(name: string, content: string): Promise<string> {
  const file = join(folder, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, content);
  await rename(`${file}.new`, file);
  return file;
}

async function open(settings: object): Promise<Signer> {
  const signer = await Signer.open(mtaSchema.parse(settings), { clock, log });
  cleanup.add(() => signer.close());
  return signer;
}

/** Lets the key files be looked at, and waits for what comes of it. */
async function reload(until: () => boolean): Promise<void> {
  clock.advance(RELOAD_MS);
  await expect.poll(until, { timeout: 10_000, interval: 5 }).toBe(true);
}

describe('signing', () => {
  test('by table and by folder; the domain decides, the rest goes as it came', async () => {
    const file = await put('one.key', pemOf('ed25519'));
    await put('keys/example.net/s1.pem', rsaPem(1024));
    await put('keys/example.net/s2.pem', pemOf('ed25519'));
    await put('keys/example.net/notes.txt', 'not a key');
    const signer = await open({
      dkim: [{ domain: 'Example.com', selector: 'M1', key: file }],
      dkim_folder: join(folder, 'keys'),
      dkim_threads: 2,
    });
    expect(selectorOf(await signer.sign(submission('a@example.com')))).toBe('m1');
    const both = textOf(await signer.sign(submission('a@example.net')));
    expect([...both.matchAll(/a=(\S+);/g)].map(([, name]) => name)).toEqual([
      'rsa-sha256',
      'ed25519-sha256',
    ]);
    const other = submission('a@example.org');
    expect(await signer.sign(other)).toBe(other);
    expect(signer.counters).toEqual({
      signatures: { 'rsa-sha256': 1, 'ed25519-sha256': 2 },
      failures: 0,
    });
    expect(said).toContain('RSA key of 1024 bits; 2048 or more are advised (RFC 8301)');
  });

  test('fields go into the headroom where it is large enough, and nowhere beyond', async () => {
    const file = await put('one.key', pemOf('ed25519'));
    const signer = await open({ dkim: [{ domain: 'example.com', selector: 'm1', key: file }] });
    for (const { headroom, copied } of [
      { headroom: 2048, copied: false },
      { headroom: 100, copied: true },
      { headroom: 0, copied: true },
    ]) {
      const given = submission('a@example.com', headroom);
      const made = await signer.sign(given);
      expect(made.content.buffer !== given.content.buffer).toBe(copied);
      expect(textOf(made)).toMatch(/^DKIM-Signature: .+\r\nFrom: a@example.com\r\n.+hello\r\n$/s);
      expect(textOf(given)).toMatch(/^From: /);
      const left = copied ? 0 : headroom - (made.content.length - given.content.length);
      expect(made.headroom).toBe(left);
      const before = Buffer.from(given.content.buffer, given.content.byteOffset - headroom, left);
      expect(before.equals(Buffer.alloc(left, 0x21))).toBe(true);
    }
  });

  test('more than the bound is refused, and what was within it is signed', async () => {
    const file = await put('one.key', pemOf('ed25519'));
    const signer = await open({ dkim: [{ domain: 'example.com', selector: 'm1', key: file }] });
    const all = await Promise.allSettled(
      Array.from({ length: 4_100 }, () => signer.sign(submission('a@example.com'))),
    );
    const refused = all.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(4);
    for (const { reason } of refused) expect(reason).toBeInstanceOf(IntakeBusy);
    const signed = all.filter((result) => result.status === 'fulfilled');
    expect(signed.every(({ value }) => selectorOf(value) === 'm1')).toBe(true);
    expect(selectorOf(await signer.sign(submission('a@example.com')))).toBe('m1');
  });
});

describe('keys', () => {
  test('change live; a bad file leaves the key before it in use, and is reported', async () => {
    const file = await put('keys/example.com/s1.pem', pemOf('ed25519'));
    const signer = await open({ dkim_folder: join(folder, 'keys') });
    const algorithm = async (): Promise<string | undefined> =>
      /a=(\S+);/.exec(textOf(await signer.sign(submission('a@example.com'))))?.[1];
    expect(await algorithm()).toBe('ed25519-sha256');

    await put('keys/example.com/s1.pem', rsaPem(2048));
    await reload(() => said.includes('DKIM key read'));
    await expect.poll(algorithm).toBe('rsa-sha256');
    expect(signer.problems).toEqual([]);

    await put('keys/example.com/s1.pem', 'half a k');
    await reload(() => signer.problems.length === 1);
    expect(signer.problems[0]).toContain(`DKIM key ${file} of example.com: `);
    expect(signer.problems[0]).toContain('; the key read before stays in use');
    expect(await algorithm()).toBe('rsa-sha256');

    await put('keys/example.org/s2.pem', pemOf('ed25519'));
    await put('keys/example.com/s1.pem', pemOf('ed25519'));
    await reload(() => signer.problems.length === 0);
    await expect.poll(algorithm).toBe('ed25519-sha256');
    expect(selectorOf(await signer.sign(submission('a@example.org')))).toBe('s2');

    await rm(join(folder, 'keys/example.org'), { recursive: true });
    await reload(() => true);
    await expect
      .poll(async () => selectorOf(await signer.sign(submission('a@example.org'))))
      .toBeUndefined();
  });

  test.each([
    { bad: 'of a kind that DKIM does not know', pem: pemOf('x25519'), says: 'RSA and Ed25519' },
    { bad: 'too short', pem: rsaPem(512), says: '1024 is the least' },
    { bad: 'no key at all', pem: 'hello', says: 'example.com' },
  ])('$bad: mail of its domain is refused, not sent unsigned', async ({ pem, says }) => {
    const file = await put('bad.key', pem);
    const signer = await open({ dkim: [{ domain: 'example.com', selector: 'm1', key: file }] });
    expect(signer.problems[0]).toContain(says);
    await expect(signer.sign(submission('a@example.com'))).rejects.toMatchObject({
      code: 'MTA_NOT_SIGNED',
    });
    expect(signer.counters.failures).toBe(1);
    const other = submission('a@example.org');
    expect(await signer.sign(other)).toBe(other);
  });

  test('a folder that cannot be read keeps the mta from starting', async () => {
    await expect(open({ dkim_folder: join(folder, 'missing') })).rejects.toThrow(
      'the folder of DKIM keys cannot be read',
    );
  });
});
