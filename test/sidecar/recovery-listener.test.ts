/** Hearing of DNS that answers again, from a resolver that comes, goes, and says odd things. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLog } from '../../runtime/log.ts';
import { RecoveryListener } from '../../sidecar/recovery-listener.ts';
import { ManualClock } from '../support/clock.ts';
import { waitFor } from '../support/process.ts';

let clock: ManualClock;
let server: Server;
let streams: ServerResponse[];
let status: number;
let heard: (string | null)[];
/** Waits announced, ms. */
let waits: number[];
let listener: RecoveryListener;

beforeEach(async () => {
  clock = new ManualClock();
  streams = [];
  status = 200;
  heard = [];
  waits = [];
  server = createServer((request, response) => {
    expect(request.url).toBe('/v1/events');
    response.writeHead(status, { 'content-type': 'text/event-stream' });
    response.write(': hello\n\n');
    streams.push(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  listener = new RecoveryListener({
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    clock,
    log: {
      ...silentLog,
      debug(fields) {
        if ('retryInMs' in fields) waits.push(Number(fields.retryInMs));
      },
    },
    recovered: (name) => heard.push(name),
  });
  listener.start();
});
afterEach(async () => {
  listener.stop();
  for (const stream of streams) stream.destroy();
  await new Promise((resolve) => server.close(resolve));
});

const connected = (count: number): Promise<void> =>
  waitFor(() => streams.length === count, `connection ${count}`);
const told = (count: number): Promise<void> =>
  waitFor(() => heard.length === count, `${count} recoveries`);
/** The listener has noticed so many times that its connection is gone. */
const retries = (count: number): Promise<void> =>
  waitFor(() => waits.length === count, `${count} waits`);
const say = (event: object): void =>
  void streams.at(-1)!.write(`event: x\ndata: ${JSON.stringify(event)}\n\n`);

test('names and upstreams that recover are told, all else is not', async () => {
  await connected(1);
  say({ event: 'name-failing', name: 'a.example.', type: 'MX', reason: 'SERVFAIL' });
  say({ event: 'name-recovered', name: 'a.example.', type: 'MX', failedSeconds: 5 });
  say({ event: 'upstream-down', upstream: '192.0.2.1:53', reason: null });
  say({ event: 'upstream-up', upstream: '192.0.2.1:53' });
  say({ event: 'reloaded', changed: [] });
  await told(3);
  expect(heard).toEqual(['a.example.', null, null]);
});

test('an event in pieces is one event', async () => {
  await connected(1);
  for (const octet of 'data: {"event":"name-recovered","name":"b.example."}\n\n') {
    await new Promise((resolve) => streams[0]!.write(octet, resolve));
  }
  await told(1);
  expect(heard).toEqual(['b.example.']);
});

test('a resolver that went is looked for ever more rarely; what it said meanwhile may be anything', async () => {
  await connected(1);
  status = 503;
  streams[0]!.end();
  for (let count = 1; count <= 6; count += 1) {
    await retries(count);
    clock.advance(waits.at(-1)!);
    await connected(1 + count);
  }
  status = 200;
  await retries(7);
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  expect(heard).toEqual([]);
  clock.advance(30_000);
  await connected(8);
  await told(1);
  expect(heard).toEqual([null]);
});

test.each([
  ['falls silent', () => clock.advance(45_000)],
  ['never ends a line', () => void streams[0]!.write(`data: ${'x'.repeat(70_000)}`)],
  ['says what is no JSON', () => void streams[0]!.write('data: {"event":\n\n')],
])('one that %s is given up for another connection', async (_name, misbehave) => {
  await connected(1);
  // The first octets have come, so that the silence begins with them.
  say({ event: 'upstream-up', upstream: 'x' });
  await told(1);
  misbehave();
  await waitFor(() => streams[0]!.destroyed, 'the connection to be closed');
  await retries(1);
  clock.advance(1_000);
  await connected(2);
});

test('after stop() nothing is heard and nothing left', async () => {
  await connected(1);
  listener.stop();
  await waitFor(() => streams[0]!.destroyed, 'the connection to be closed');
  expect(clock.timers).toBe(0);
});
