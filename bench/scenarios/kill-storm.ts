/**
 * kill -9 of the mta, again and again, while mail is injected and delivered to a real Postfix over
 * STARTTLS: is anything lost that the mta had acknowledged, and how much is delivered twice?
 * --kill-every is in milliseconds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { type Postfix, startPostfixReceiver } from '../../test/support/postfix.ts';
import { loopbackAddress } from '../../test/support/scratch.ts';
import { startAuthority } from '../load/authority.ts';
import { benchMain } from '../load/command.ts';
import { inject, type Letter } from '../load/injector.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { numberedDomains, oneHostZones } from '../load/world.ts';

export interface KillStormOptions {
  readonly messages: number;
  readonly killEveryMs: number;
  /** After so many kills the mta is left alone. */
  readonly killsMax: number;
  readonly timeoutMs: number;
  readonly onProgress?: (line: string) => void;
}

export interface KillStorm {
  readonly messages: number;
  /** Letters that got their 250. */
  readonly acknowledged: number;
  readonly kills: number;
  /** Letters that arrived at least once. */
  readonly delivered: number;
  /** Acknowledged, and never arrived: must be empty. */
  readonly lost: readonly string[];
  /** Letters that arrived more than once, though they were injected once. */
  readonly duplicates: number;
  /** Letters whose injection was cut before the 250 and repeated, which may well arrive twice. */
  readonly resent: number;
  readonly resentDuplicates: number;
  readonly seconds: number;
}

const DOMAINS = 10;
const BODY_LINES = 130;
const SESSIONS = 20;
const POLL_MS = 250;

function* letters(count: number, domains: readonly string[]): Generator<Letter> {
  const body = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(BODY_LINES));
  for (let number = 0; number < count; number += 1) {
    yield {
      id: `u${number}@${domains[number % domains.length]}`,
      reversePath: 'sender@client.example.net',
      recipients: [`u${number}@${domains[number % domains.length]}`],
      content: [Buffer.from(`Subject: ${number}\r\n\r\n`), body],
    };
  }
}

/** @returns recipient → how often Postfix took mail for it */
async function arrivals(postfix: Postfix): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const log = await postfix.log();
  for (const [, to] of log.matchAll(/postfix\/discard\[\d+\]: \w+: to=<([^>]+)>.* status=sent/g)) {
    counts.set(to!, (counts.get(to!) ?? 0) + 1);
  }
  return counts;
}

export async function runKillStorm(options: KillStormOptions): Promise<KillStorm> {
  const cleanup = new Cleanup();
  const abort = new AbortController();
  try {
    const postfix = cleanup.stop(await startPostfixReceiver({ address: loopbackAddress() }));
    const domains = numberedDomains(DOMAINS);
    const zones = oneHostZones(domains, postfix.address);
    const authority = cleanup.stop(await startAuthority({ zones }));
    const resolver = cleanup.stop(
      await startPostilion({ program: 'resolver', upstream: authority }),
    );
    const mta = cleanup.stop(
      await startPostilion({
        program: 'mta',
        upstream: resolver.dns,
        mta: { delivery: { port: postfix.port, tls: 'require' }, retry: ['1s', '2s', '5s'] },
      }),
    );
    const startedAtMs = performance.now();
    const acknowledged = new Set<string>();
    const injection = inject({
      ...mta.smtp,
      sessions: SESSIONS,
      letters: letters(options.messages, domains),
      onAcknowledged: ({ id }) => void acknowledged.add(id),
      attemptsMax: 10_000,
      signal: abort.signal,
    });
    let injected = false;
    void injection.then(() => (injected = true));

    const arrivedAll = async (): Promise<boolean> => {
      const arrived = await arrivals(postfix);
      return injected && [...acknowledged].every((id) => arrived.has(id));
    };
    const kills = await storm(options, mta, arrivedAll, (line) =>
      options.onProgress?.(`${line}, ${acknowledged.size} acknowledged`),
    );
    abort.abort();
    const { resent } = await injection;
    const arrived = await arrivals(postfix);
    const twice = [...arrived].filter(([, count]) => count > 1).map(([id]) => id);
    return {
      messages: options.messages,
      acknowledged: acknowledged.size,
      kills,
      delivered: arrived.size,
      lost: [...acknowledged].filter((id) => !arrived.has(id)),
      duplicates: twice.filter((id) => !resent.has(id)).length,
      resent: resent.size,
      resentDuplicates: twice.filter((id) => resent.has(id)).length,
      seconds: (performance.now() - startedAtMs) / 1000,
    };
  } finally {
    abort.abort();
    await cleanup.run();
  }
}

/** Kills and restarts until all has arrived, or time is up. @returns how often it killed */
async function storm(
  options: KillStormOptions,
  mta: Postilion,
  arrivedAll: () => Promise<boolean>,
  onProgress: (line: string) => void,
): Promise<number> {
  const deadline = performance.now() + options.timeoutMs;
  let kills = 0;
  let nextKillMs = performance.now() + options.killEveryMs;
  while (performance.now() < deadline && !(await arrivedAll())) {
    await sleep(POLL_MS);
    if (performance.now() < nextKillMs || kills >= options.killsMax) continue;
    await mta.kill();
    kills += 1;
    await mta.restart();
    onProgress(`kill ${kills}`);
    nextKillMs = performance.now() + options.killEveryMs;
  }
  return kills;
}

if (import.meta.main) {
  await benchMain({
    defaults: { messages: 10_000, 'kill-every': 2_000, kills: 60 },
    run: (numbers) =>
      runKillStorm({
        messages: numbers.messages,
        killEveryMs: numbers['kill-every'],
        killsMax: numbers.kills,
        timeoutMs: 300_000,
        onProgress: (line) => process.stderr.write(`${line}\n`),
      }),
    failed: (outcome) => {
      const { lost, acknowledged, messages } = outcome as KillStorm;
      return lost.length > 0 || acknowledged !== messages;
    },
  });
}
