/**
 * `postilion why ID` against a running mta: for each thing that mail may wait for, what it is, since when,
 * until when, and what would change it. (A spool in trouble: test/mta/delivery/explain.test.ts.)
 */
import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuthorityRecord, startAuthority } from '../../bench/load/authority.ts';
import { type Postilion, startPostilion } from '../../bench/load/postilion.ts';
import { greylist, type SinkOptions, startSink } from '../../bench/load/sink.ts';
import type { WaitingRecipient } from '../../mta/running.ts';
import { Cleanup } from '../support/cleanup.ts';
import { runCommand } from '../support/cli.ts';
import { waitFor } from '../support/process.ts';
import { freePort, loopbackAddress } from '../support/scratch.ts';

const HOUR = 3_600;
/** A busy machine takes longer than waitFor()'s own bound. */
const PATIENCE_MS = 60_000;

/** Whose host does what. */
const SINKS: Readonly<Record<string, SinkOptions>> = {
  'grey.example': { onRecipient: greylist(HOUR * 1_000) },
  'rate.example': {},
  'listed.example': { onMessage: () => '550 5.7.1 your address is listed' },
  'sender.example': {},
  'idle.example': {},
};
/** Greets, takes the envelope, and says nothing of the message. */
const STALLED = 'stalled.example';
/** Takes the connection, and says nothing at all. */
const SILENT = 'silent.example';
/** Nobody listens. */
const DOWN = 'down.example';

interface Row {
  readonly name: string;
  /** Of the recipient. */
  readonly domain: string;
  /** So many messages; the one that waits as `on` is asked about. Default 1. */
  readonly messages?: number;
  /** By SparkPost's API with this start, seconds from now. */
  readonly startIn?: number;
  /** Commands before, and with the id of the message behind them after. */
  readonly before?: string;
  readonly after?: string;
  readonly on: string;
  readonly text: RegExp;
  /** Seconds from now within which it ends, or null when an event decides. */
  readonly until: readonly [least: number, most: number] | null;
  readonly change: RegExp;
}

const ROWS: readonly Row[] = [
  {
    name: 'greylisted',
    domain: 'grey.example',
    on: 'retry',
    text: /grey\.example said: 450 4\.7\.1 greylisted/,
    until: [4 * HOUR, 6 * HOUR],
    change: /^time: the host wants to see it again later, .*postilion queue retry ID$/,
  },
  {
    name: 'rate-limited',
    domain: 'rate.example',
    messages: 2,
    on: 'rate',
    text: /^0\.001 messages a second is the limit of domain rate\.example$/,
    until: [60, 1_000],
    change: /^time: the limit lets the next message go then; raise it in the shaping/,
  },
  {
    name: 'suspended by rule',
    domain: 'listed.example',
    messages: 20,
    on: 'rule',
    text: /^mx\.listed\.example~.* rests by rule: listed, after 550 5\.7\.1 your address is listed$/,
    until: [29 * 60, 30 * 60],
    change: /^time: the rest ends then; or end it now: postilion queue retry --end-rests ID$/,
  },
  {
    name: 'waiting for DNS',
    domain: 'unserved.example',
    on: 'dns',
    text: /^looking up MX of unserved\.example: /,
    until: [0, 300],
    change:
      /^an answer from DNS: the domain is asked for again then; mend the resolver or the zone/,
  },
  {
    name: 'waiting for a connection that is being made',
    domain: SILENT,
    on: 'connection',
    text: /^connecting to mx\.silent\.example~/,
    until: null,
    change: /^a connection to one of its hosts, or the next host/,
  },
  {
    name: 'in hand',
    domain: STALLED,
    on: 'delivering',
    text: /^in hand/,
    until: null,
    change: /^the reply of the host/,
  },
  // Its only connection is busy with that one.
  {
    name: 'waiting for a connection that others use',
    domain: STALLED,
    on: 'ready',
    text: /^next in line at mx\.stalled\.example~\w+, over 1 connection$/,
    until: null,
    change: /^its turn on a connection$/,
  },
  {
    name: 'waiting for a host that takes connections',
    domain: DOWN,
    on: 'site',
    text: /^mx\.down\.example~\w+ takes no mail now: .*ECONNREFUSED/,
    until: [0, 600],
    change: /^a host of the site that takes mail again: one message tries it then; or try it now/,
  },
  {
    name: 'suspended by an operator',
    domain: 'idle.example',
    before: 'suspend --scope domain idle.example',
    on: 'operator',
    text: /^the domain idle\.example is suspended$/,
    until: null,
    change: /^an operator: release it, or resume what was suspended$/,
  },
  {
    name: 'held by an operator',
    domain: 'idle.example',
    after: 'queue hold --note odd',
    on: 'operator',
    text: /^held by an operator: odd$/,
    until: null,
    change: /^an operator: release it/,
  },
  {
    name: 'scheduled by its sender',
    domain: 'rate.example',
    startIn: 2 * HOUR,
    on: 'schedule',
    text: /^not before the instant that its sender chose$/,
    until: [2 * HOUR - 60, 2 * HOUR + 1],
    change: /^time: its sender asked for that instant/,
  },
];

let cleanup: Cleanup;
let mta: Postilion;
/** Before the first message was sent. */
let startedAtMs: number;

beforeAll(async () => {
  cleanup = new Cleanup();
  const port = await freePort();
  const addresses = new Map<string, string>();
  for (const domain of [...Object.keys(SINKS), STALLED, SILENT, DOWN]) {
    addresses.set(domain, loopbackAddress());
  }
  for (const [domain, options] of Object.entries(SINKS)) {
    const listen = [{ address: addresses.get(domain)!, port }];
    const sink = await startSink({ ...options, listen });
    cleanup.add(() => sink.close());
  }
  await listenAt(addresses.get(SILENT)!, port, () => undefined);
  await listenAt(addresses.get(STALLED)!, port, takeEnvelope);
  const zones = zonesOf(addresses);
  const authority = cleanup.stop(await startAuthority({ zones }));
  startedAtMs = Date.now();
  mta = cleanup.stop(
    await startPostilion({
      program: 'mta',
      upstream: authority,
      mta: {
        retry: ['5h'],
        delivery: { port, tls: 'none', connections: 1 },
        shaping: { domain: { 'rate.example': { messages_per_second: 0.001 } } },
      },
    }),
  );
}, 120_000);
afterAll(() => cleanup.run());

function zonesOf(addresses: ReadonlyMap<string, string>): Map<string, AuthorityRecord[]> {
  const zones = new Map<string, AuthorityRecord[]>();
  for (const [domain, address] of addresses) {
    const host = `mx.${domain}`;
    zones.set(domain, [
      { name: domain, ttlSeconds: 3600, type: 'MX', preference: 1, exchange: host },
      { name: host, ttlSeconds: 3600, type: 'A', address },
    ]);
  }
  return zones;
}

async function listenAt(
  address: string,
  port: number,
  serve: (socket: Socket) => void,
): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen({ host: address, port }, resolve));
  cleanup.add(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
}

function takeEnvelope(socket: Socket): void {
  socket.write('220 mx ESMTP\r\n');
  socket.on('data', (chunk) => {
    for (const [verb] of chunk.toString('latin1').matchAll(/^(?:EHLO|MAIL|RCPT|DATA)/gm)) {
      socket.write(verb === 'DATA' ? '354 go on\r\n' : '250 OK\r\n');
    }
  });
}

const cli = (line: string) => runCommand([...line.split(' '), '--http', mta.mtaHttp.slice(7)]);

async function post(path: string, body: object): Promise<{ id: string }> {
  const response = await fetch(`${mta.mtaHttp}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as { id?: string; results?: { id: string } };
  if (!response.ok) throw new Error(JSON.stringify(answer));
  return { id: answer.id ?? answer.results!.id };
}

/** @returns ids of the messages */
async function send({ domain, messages = 1, startIn, before }: Row): Promise<string[]> {
  if (before !== undefined) expect((await cli(before)).code).toBe(0);
  if (startIn !== undefined) {
    const start = new Date(Date.now() + startIn * 1_000).toISOString();
    const sent = await post('/api/v1/transmissions', {
      options: { start_time: start },
      content: { from: 'a@sender.example', subject: 'later', text: 'later' },
      recipients: [{ address: `later@${domain}` }],
    });
    return [sent.id];
  }
  const sent = Array.from({ length: messages }, (_, n) =>
    post('/v1/messages', { from: 'a@sender.example', to: [`u${n}@${domain}`], text: 'hello' }),
  );
  return (await Promise.all(sent)).map(({ id }) => id);
}

async function why(id: string): Promise<WaitingRecipient | undefined> {
  const { code, stdout } = await cli(`why ${id} --json`);
  return code === 0 ? JSON.parse(stdout).recipients[0] : undefined;
}

const asShown = (seconds: number): RegExp =>
  seconds >= HOUR ? /^in \d+h \d+m$/m : seconds > 60 ? /^in (?:\d+m )?\d+s$/m : /^(?:in .*|now)$/m;

describe('postilion why', () => {
  test.each(ROWS)(
    '$name: $on',
    async (row) => {
      const { on, after, until } = row;
      const ids = await send(row);
      if (after !== undefined) expect((await cli(`${after} ${ids[0]}`)).code).toBe(0);
      let found: WaitingRecipient | undefined;
      await waitFor(
        async () => {
          for (const id of ids) {
            found = await why(id);
            if (found?.wait.on === on) return true;
          }
          return false;
        },
        () => `a wait for ${on}: ${JSON.stringify(found)}`,
        PATIENCE_MS,
      );
      const { id, wait, change, receivedAtMs } = found!;
      const nowMs = Date.now();
      expect(wait.text).toMatch(row.text);
      expect(change).toMatch(row.change);
      expect(wait.sinceMs).toBeGreaterThanOrEqual(
        row.before === undefined ? receivedAtMs : startedAtMs,
      );
      expect(wait.sinceMs).toBeLessThanOrEqual(nowMs);
      if (until === null) expect(wait.untilMs).toBeNull();
      else {
        expect((wait.untilMs! - nowMs) / 1_000).toBeGreaterThan(until[0] - 1);
        expect((wait.untilMs! - nowMs) / 1_000).toBeLessThanOrEqual(until[1]);
      }
      // And in words.
      const { stdout } = await cli(`why ${id}`);
      const said = new Map(
        stdout.split('\n').map((line) => [line.slice(0, 16).split('  ')[0]!, line.trim()]),
      );
      expect(said.get('waits for')).toContain(`${on}: `);
      expect(said.get('since')).toMatch(/ \d+[smhd].* ago$/);
      expect(said.get('until')?.replace(/^until +/, '')).toMatch(
        until === null ? /^as soon as that changes$/ : asShown(until[0]),
      );
      expect(said.get('changed by')?.replace(/^changed by +/, '')).toMatch(row.change);
    },
    90_000,
  );
});
