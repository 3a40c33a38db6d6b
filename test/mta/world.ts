/** A small internet and an mta in one process, on a clock that runs faster than the sockets do. */
import Fastify from 'fastify';
import {
  type Authority,
  type AuthorityRecord,
  startAuthority,
} from '../../bench/load/authority.ts';
import { inject } from '../../bench/load/injector.ts';
import { type Sink, type SinkMessage, type SinkOptions, startSink } from '../../bench/load/sink.ts';
import { mtaSchema } from '../../mta/config.ts';
import { parseId } from '../../mta/envelope.ts';
import { startMta } from '../../mta/main.ts';
import type { RunningMta, WaitingRecipient } from '../../mta/running.ts';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { cryptoRandom } from '../../runtime/random.ts';
import type { Cleanup } from '../support/cleanup.ts';
import { waitFor } from '../support/process.ts';
import { freePort, loopbackAddress, scratchFolder } from '../support/scratch.ts';

/**
 * How many seconds of the mta pass in one of ours: a retry after a minute comes in 2.4 s. Faster, and
 * a busy machine would let DNS lookups time out that were answered at once.
 */
const BRISK = 25;

export function briskClock(factor = BRISK): Clock {
  const real = systemClock();
  const originMs = real.wallMs();
  return {
    monotonicMs: () => real.monotonicMs() * factor,
    wallMs: () => originMs + Math.floor((real.wallMs() - originMs) * factor),
    after: (delayMs, callback) => real.after(delayMs / factor, callback),
  };
}

/** Domain → its MX hosts, best first; '.' is the null MX. */
export type Mail = Readonly<Record<string, readonly string[]>>;

export interface WorldOptions {
  readonly mail: Mail;
  /** MX host → what its sink does; hosts without an entry refuse connections. */
  readonly sinks: Readonly<Record<string, SinkOptions>>;
  /** MX hosts that have one address. */
  readonly sameAddress?: readonly (readonly string[])[];
  /** Of every RRset; default an hour. */
  readonly ttlSeconds?: number;
  readonly delivery?: object;
  readonly mta?: object;
  readonly clock?: Clock;
}

export interface World {
  readonly mta: RunningMta;
  readonly authority: Authority;
  readonly sinks: ReadonlyMap<string, Sink>;
  /** What the sinks accepted, in order. */
  readonly accepted: (SinkMessage & { readonly host: string })[];
  /** @returns ids of the messages, in order; content is a line unless given */
  send(letters: readonly Mailing[]): Promise<string[]>;
  /** By the HTTP API; other fields are its own. @returns the id of the message */
  inject(
    message: { readonly to: readonly string[] } & Readonly<Record<string, unknown>>,
  ): Promise<string>;
  why(id: string): Promise<readonly WaitingRecipient[]>;
  /** Waits until nothing is queued. */
  drained(): Promise<void>;
  /** Ends this mta and starts another on the same spool. */
  restart(): Promise<World>;
}

export interface Mailing {
  readonly from?: string;
  readonly to: readonly string[];
  readonly content?: string;
  /** Of MAIL. */
  readonly parameters?: string;
}

export async function createWorld(options: WorldOptions, cleanup: Cleanup): Promise<World> {
  const port = await freePort();
  const addresses = new Map<string, string>();
  for (const hosts of Object.values(options.mail)) {
    for (const host of hosts) if (host !== '.') addresses.set(host, loopbackAddress());
  }
  for (const [first, ...others] of options.sameAddress ?? []) {
    for (const other of others) addresses.set(other, addresses.get(first!)!);
  }
  const accepted: World['accepted'] = [];
  const sinks = new Map<string, Sink>();
  for (const [host, sinkOptions] of Object.entries(options.sinks)) {
    const sink = await startSink({
      ...sinkOptions,
      listen: [{ address: addresses.get(host)!, port }],
      onMessage(message) {
        const refusal = sinkOptions.onMessage?.(message) ?? null;
        if (refusal === null) accepted.push({ ...message, host });
        return refusal;
      },
    });
    sinks.set(host, sink);
    cleanup.add(() => sink.close());
  }
  const authority = cleanup.stop(
    await startAuthority({ zones: zonesOf(options.mail, addresses, options.ttlSeconds ?? 3600) }),
  );
  const folder = await scratchFolder('world');
  cleanup.add(() => folder.remove());
  const { delivery, mta: mtaSettings } = options;
  const config = mtaSchema.parse({
    smtp: ['127.0.0.1:0'],
    spool: folder.path,
    spool_reserve: 0,
    dns: `${authority.address}:${authority.port}`,
    hostname: 'mta.example',
    delivery: { port, ...delivery },
    ...mtaSettings,
  });
  const clock = options.clock ?? briskClock();
  const start = async (): Promise<World> => {
    const mta = cleanup.stop(
      await startMta(config, { clock, random: cryptoRandom(), log: silentLog }),
    );
    return {
      mta,
      authority,
      sinks,
      accepted,
      send: (mailings) => send(mta, mailings),
      inject: (message) => injectOver(mta, message),
      why: (id) => mta.why(parseId(id)!),
      drained: () => waitFor(async () => (await mta.status()).messages === 0, 'an empty spool'),
      async restart() {
        await mta.stop();
        return start();
      },
    };
  };
  return start();
}

function zonesOf(
  mail: Mail,
  addresses: ReadonlyMap<string, string>,
  ttlSeconds: number,
): Map<string, AuthorityRecord[]> {
  const zones = new Map<string, AuthorityRecord[]>();
  for (const [domain, hosts] of Object.entries(mail)) {
    zones.set(
      domain,
      hosts.map((exchange, preference) => ({
        name: domain,
        ttlSeconds,
        type: 'MX' as const,
        preference: exchange === '.' ? 0 : preference + 1,
        exchange,
      })),
    );
  }
  for (const [name, address] of addresses) {
    zones.set(name, [{ name, ttlSeconds, type: 'A', address }]);
  }
  return zones;
}

async function injectOver(mta: RunningMta, message: object): Promise<string> {
  const server = Fastify();
  await server.register(mta.injection);
  const payload = { from: 'sender@sender.example', text: 'hello', ...message };
  const answer = await server.inject({ method: 'POST', url: '/v1/messages', payload });
  await server.close();
  if (answer.statusCode !== 200) throw new Error(answer.body);
  return answer.json<{ id: string }>().id;
}

async function send(mta: RunningMta, mailings: readonly Mailing[]): Promise<string[]> {
  const ids: string[] = [];
  const result = await inject({
    address: mta.endpoints[0]!.address,
    port: mta.endpoints[0]!.port,
    sessions: 1,
    letters: mailings
      .map(
        (
          {
            from = 'sender@sender.example',
            to,
            content = 'Subject: hello\r\n\r\nhello\r\n',
            parameters,
          },
          index,
        ) => ({
          ...(parameters === undefined ? {} : { parameters }),
          id: String(index),
          reversePath: from,
          recipients: to,
          content: [Buffer.from(content)],
        }),
      )
      .values(),
  });
  if (result.failed.size > 0) throw new Error([...result.failed.values()].join('\n'));
  const seen = new Set<string>();
  for (const { id } of await mta.queue({ domain: null, after: null, limit: 1000 })) {
    const message = id.split('.')[0]!;
    if (!seen.has(message)) ids.push(message);
    seen.add(message);
  }
  return ids.slice(-mailings.length);
}
