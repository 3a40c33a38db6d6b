/** Where events go: a file that rotates, and endpoints that fall silent and come back. */
import { createHmac } from 'node:crypto';
import { appendFile, readdir, readFile, rename } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { EventFile } from '../../../mta/report/event-file.ts';
import { EVENT_NAMES, type EventName } from '../../../mta/report/events.ts';
import { Journal } from '../../../mta/report/journal.ts';
import { post } from '../../../mta/report/post.ts';
import { Webhook } from '../../../mta/report/webhooks.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLog } from '../../../runtime/log.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/clock.ts';
import { waitFor } from '../../support/process.ts';
import { scratchFolder } from '../../support/scratch.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function folder(): Promise<string> {
  const made = await scratchFolder('outlets');
  cleanup.add(() => made.remove());
  return made.path;
}
const random = { integer: () => 0, fraction: () => 0.5 };
const line = (n: number): string => `{"n":${n}}\n`;

describe('the file', () => {
  test('is rotated when it has grown, and the oldest goes', async () => {
    const path = join(await folder(), 'events');
    const file = await EventFile.open({
      path,
      octetsMax: 8,
      filesMax: 3,
      clock: systemClock(),
      log: silentLog,
    });
    for (let n = 0; n < 5; n += 1) {
      file.write(line(n));
      // The name is nobody's for a moment while files are rotated.
      await waitFor(
        async () => (await readFile(path, 'utf8').catch(() => '')) === line(n),
        `line ${n}`,
      );
    }
    await file.close();
    const read = (name: string) => readFile(name, 'utf8');
    expect([await read(path), await read(`${path}.1`), await read(`${path}.2`)]).toEqual(
      [4, 3, 2].map(line),
    );
    expect(await readdir(join(path, '..'))).toHaveLength(3);
  });

  test('is opened anew when somebody moved it', async () => {
    const path = join(await folder(), 'events');
    const file = await EventFile.open({
      path,
      octetsMax: 0,
      filesMax: 1,
      clock: systemClock(),
      log: silentLog,
    });
    file.write(line(1));
    await waitFor(async () => (await readFile(path, 'utf8')) !== '', 'the first line');
    await rename(path, `${path}.moved`);
    file.reopen();
    file.write(line(2));
    await file.close();
    expect([await readFile(`${path}.moved`, 'utf8'), await readFile(path, 'utf8')]).toEqual([
      line(1),
      line(2),
    ]);
  });

  test('is written at once, then no sooner than 10 ms after, unless somebody waits for it', async () => {
    const path = join(await folder(), 'events');
    const clock = new ManualClock();
    const file = await EventFile.open({ path, octetsMax: 0, filesMax: 1, clock, log: silentLog });
    const holds = async (...lines: number[]): Promise<boolean> =>
      (await readFile(path, 'utf8')) === lines.map(line).join('');
    file.write(line(1));
    await waitFor(async () => (await holds(1)) && clock.timers === 1, 'the first line');
    file.write(line(2));
    file.write(line(3));
    clock.advance(9);
    expect(await holds(1)).toBe(true);
    clock.advance(1);
    await waitFor(async () => (await holds(1, 2, 3)) && clock.timers === 1, 'two more');
    file.write(line(4));
    await file.flushed();
    expect(await holds(1, 2, 3, 4)).toBe(true);
    file.write(line(5));
    await waitFor(async () => (await holds(1, 2, 3, 4, 5)) && clock.timers === 1, 'the last');
    file.write(line(6));
    await file.close();
    expect(await holds(1, 2, 3, 4, 5, 6)).toBe(true);
  });
});

describe('the journal', () => {
  test('reads in order, again until it is committed, over a restart and past a torn line', async () => {
    const at = await folder();
    let journal = await Journal.open(at);
    for (let n = 0; n < 5; n += 1) journal.append(line(n));
    await journal.flushed();
    const first = (await journal.read(2))!;
    expect(first.lines).toEqual(['{"n":0}', '{"n":1}']);
    expect((await journal.read(2))!.lines).toEqual(first.lines);
    await journal.commit(first.next);
    await journal.close();
    const [segment] = (await readdir(at)).filter((name) => name.endsWith('.jsonl'));
    await appendFile(join(at, segment!), '{"torn');
    journal = await Journal.open(at);
    journal.append(line(5));
    await journal.flushed();
    const seen: string[] = [];
    for (let batch = await journal.read(2); batch !== null; batch = await journal.read(2)) {
      seen.push(...batch.lines);
      await journal.commit(batch.next);
    }
    expect(seen).toEqual([2, 3, 4, 5].map((n) => `{"n":${n}}`));
    expect(journal.octets).toBe(0);
    await journal.close();
  });

  test('a line longer than a usual read', async () => {
    const journal = await Journal.open(await folder());
    const long = `{"x":"${'y'.repeat(1_000_000)}"}\n`;
    journal.append(long);
    journal.append(line(1));
    await journal.flushed();
    expect((await journal.read(10))!.lines.map(({ length }) => length)).toEqual([
      long.length - 1,
      7,
    ]);
    await journal.close();
  });
});

test('an endpoint that is away loses nothing: signed, in order, tried again after 1, 2, 4 s', async () => {
  const answers = [500, 404, 0, 200, 200, 200];
  const taken: unknown[] = [];
  const signatures: boolean[] = [];
  const secret = 'a secret of some length';
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const [, t, v1] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(
        String(request.headers['postilion-signature']),
      )!;
      signatures.push(createHmac('sha256', secret).update(`${t}.${body}`).digest('hex') === v1);
      const status = answers.shift() ?? 200;
      if (status === 0) return void request.socket.destroy();
      if (status === 200) taken.push(...(JSON.parse(body) as unknown[]));
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup.add(async () => server.close());
  const { port } = server.address() as AddressInfo;
  const clock = new ManualClock();
  const at = await folder();
  const open = async (): Promise<Webhook> =>
    new Webhook({
      name: 'crm',
      url: `http://127.0.0.1:${port}/events`,
      secret,
      events: new Set<EventName>(['bounce', 'delivery']),
      journal: await Journal.open(at),
      post,
      clock,
      random,
      log: silentLog,
    });
  let webhook = await open();
  expect(EVENT_NAMES).toContain('deferral');
  webhook.write(line(0), 'bounce');
  webhook.write(line(9), 'deferral');
  webhook.write(line(1), 'delivery');
  for (const [waitMs, left] of [
    [1_000, 5],
    [2_000, 4],
  ] as const) {
    await waitFor(() => answers.length === left && clock.timers === 1, 'the next try to be set');
    webhook.write(line(7 - left), 'bounce');
    clock.advance(waitMs - 1);
    expect(answers).toHaveLength(left);
    clock.advance(1);
  }
  await waitFor(() => answers.length === 3 && clock.timers === 1, 'the connection to break');
  expect(webhook.trouble).toMatch(/^webhook crm does not take events; \d+ octets of them wait$/);
  // What waits outlives us.
  await webhook.stop();
  webhook = await open();
  await waitFor(() => taken.length === 4, 'all of it');
  expect(taken).toEqual([0, 1, 2, 3].map((n) => ({ n })));
  expect(signatures).not.toContain(false);
  await waitFor(() => webhook.octets === 0, 'the journal to be empty');
  expect(webhook.trouble).toBeNull();
  await webhook.stop();
}, 30_000);
