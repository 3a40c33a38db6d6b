/**
 * kill -9 of the mta at 200 random moments, while mail comes in at full speed by SMTP and HTTP and goes
 * out: is anything lost that was acknowledged, and is every second arrival one that a kill excuses?
 * --within is the latest moment of a kill after readiness, in milliseconds; --seed repeats a storm.
 *
 * After each kill, before the next start, a copy of the spool is read: what arrived and is still in it may
 * arrive again, nothing else. One kill in eight comes before the mta is ready.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { waitFor } from '../../test/support/process.ts';
import { freePort, loopbackAddress, scratchFolder } from '../../test/support/scratch.ts';
import { startAuthority } from '../load/authority.ts';
import { benchMain } from '../load/command.ts';
import { CrashLedger, type CrashVerdict } from '../load/crash-ledger.ts';
import { injectByHttp } from '../load/http-injector.ts';
import { inject, type Letter } from '../load/injector.ts';
import { seededFraction } from '../load/internet.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { median } from '../load/rounds.ts';
import { startSink } from '../load/sink.ts';
import { recipientsInCopyOf } from '../load/spool-copy.ts';
import { tableText } from '../load/table.ts';
import { numberedDomains, oneHostZones } from '../load/world.ts';

export interface CrashStormOptions {
  readonly kills: number;
  readonly seed: number;
  /** Latest moment of a kill after readiness. */
  readonly withinMs: number;
  /** Kills end then, however many there were. */
  readonly timeoutMs: number;
  readonly onProgress?: (line: string) => void;
}

export interface CrashStorm extends CrashVerdict {
  readonly kills: number;
  /** Of them before readiness. */
  readonly killsAtStart: number;
  readonly messagesBySmtp: number;
  readonly messagesByHttp: number;
  /** HTTP requests repeated under their key after a kill, and those that had been taken the first time. */
  readonly repeated: number;
  readonly recognised: number;
  /** Events of delivery whose recipient got nothing, or of bounce: must be empty. */
  readonly untrueEvents: readonly string[];
  readonly medianReadyMs: number;
  readonly seconds: number;
}

const SITES = 3;
const DOMAINS_PER_SITE = 4;
const SMTP_SESSIONS = 12;
const HTTP_SESSIONS = 8;
/** One letter in so many has many recipients. */
const MANY_EVERY = 5;
const MANY = 6;
const SINK_DELAY_MS = 5;
const EARLIEST_MS = 20;
const EARLY_EVERY = 8;
const EARLY_WITHIN_MS = 500;
/** Injection waits while so many recipients are on their way: outcomes are to be killed too, not intake alone. */
const BACKLOG_MAX = 5_000;
const SETTLE_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

/** Letters without end, each recipient of the whole run another, for SMTP and HTTP alike. */
class Mail {
  readonly #domains: readonly string[];
  readonly #backlog: () => number;
  readonly #body = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(100));
  #number = 0;
  ended = false;

  constructor(domains: readonly string[], backlog: () => number) {
    this.#domains = domains;
    this.#backlog = backlog;
  }

  async *letters(door: string): AsyncGenerator<Letter> {
    while (!this.ended) {
      if (this.#backlog() > BACKLOG_MAX) await sleep(POLL_MS);
      else yield this.#letter(door);
    }
  }

  #letter(door: string): Letter {
    this.#number += 1;
    const number = this.#number;
    const count = number % MANY_EVERY === 0 ? MANY : 1;
    return {
      id: `${door}-${number}`,
      reversePath: 'sender@client.example.net',
      recipients: Array.from(
        { length: count },
        (_, n) => `u${number}.${n}@${this.#domains[(number + n) % this.#domains.length]}`,
      ),
      content: [
        Buffer.from(`From: sender@client.example.net\r\nSubject: ${number}\r\n\r\n`),
        this.#body.subarray(0, 78 * (1 + (number % 100))),
      ],
    };
  }
}

interface World {
  readonly mta: Postilion;
  readonly ledger: CrashLedger;
  readonly spool: string;
  readonly events: string;
  readonly domains: readonly string[];
  /** Resolves once the sink has taken in all that the last life sent. */
  calm(): Promise<void>;
}

async function build(cleanup: Cleanup): Promise<World> {
  const ledger = new CrashLedger();
  const port = await freePort();
  const addresses = Array.from({ length: SITES }, () => loopbackAddress());
  const sink = await startSink({
    listen: addresses.map((address) => ({ address, port })),
    delayMs: SINK_DELAY_MS,
    onMessage({ recipients }) {
      for (const to of recipients) ledger.arrived(to);
      return null;
    },
  });
  cleanup.add(() => sink.close());
  const domains = numberedDomains(SITES * DOMAINS_PER_SITE);
  const zones = new Map(
    addresses.flatMap((address, site) => [
      ...oneHostZones(
        domains.slice(site * DOMAINS_PER_SITE, (site + 1) * DOMAINS_PER_SITE),
        address,
      ),
    ]),
  );
  const authority = cleanup.stop(await startAuthority({ zones }));
  const folder = await scratchFolder('crash-storm');
  cleanup.add(() => folder.remove());
  const [spool, events] = [join(folder.path, 'spool'), join(folder.path, 'events.jsonl')];
  const mta = cleanup.stop(
    await startPostilion({
      program: 'mta',
      upstream: authority,
      spool,
      mta: { delivery: { port, tls: 'none' }, retry: ['1s'], drain: '1s', events, events_bytes: 0 },
    }),
  );
  const calm = (): Promise<void> =>
    waitFor(() => sink.connections() === 0, 'connections of the dead to close');
  return { mta, ledger, spool, events, domains, calm };
}

export async function runCrashStorm(options: CrashStormOptions): Promise<CrashStorm> {
  const cleanup = new Cleanup();
  const abort = new AbortController();
  try {
    const world = await build(cleanup);
    const { mta, ledger, domains } = world;
    const startedAtMs = performance.now();
    const mail = new Mail(domains, () => ledger.acknowledgedCount - ledger.arrivedCount);
    const onAcknowledged = ({ recipients }: Letter): void => {
      for (const to of recipients) ledger.acknowledged(to);
    };
    const { signal } = abort;
    // By SMTP a letter that was cut off is not sent again, so that none is ever two messages.
    const bySmtp = inject({
      ...mta.smtp,
      sessions: SMTP_SESSIONS,
      letters: mail.letters('smtp'),
      onAcknowledged,
      attemptsMax: 1,
      retryMs: POLL_MS,
      signal,
    });
    const byHttp = injectByHttp({
      base: mta.mtaHttp,
      sessions: HTTP_SESSIONS,
      letters: mail.letters('http'),
      onAcknowledged,
      signal,
    });
    const storm = await killAndStart(options, world);
    mail.ended = true;
    const [smtp, http] = await Promise.all([bySmtp, byHttp]);
    await arrival(mta, ledger);
    return {
      ...ledger.verdict(),
      ...storm,
      messagesBySmtp: smtp.acknowledged,
      messagesByHttp: http.acknowledged,
      repeated: http.repeated,
      recognised: http.recognised,
      untrueEvents: await untrueEvents(world.events, ledger),
      seconds: (performance.now() - startedAtMs) / 1000,
    };
  } finally {
    abort.abort();
    await cleanup.run();
  }
}

async function killAndStart(
  { kills, seed, withinMs, timeoutMs, onProgress }: CrashStormOptions,
  { mta, ledger, spool, calm }: World,
): Promise<Pick<CrashStorm, 'kills' | 'killsAtStart' | 'medianReadyMs'>> {
  const fraction = seededFraction(seed);
  const deadlineMs = performance.now() + timeoutMs;
  const readyMs: number[] = [];
  let killsAtStart = 0;
  let kill = 0;
  for (; kill < kills && performance.now() < deadlineMs; ) {
    kill += 1;
    await sleep(EARLIEST_MS + fraction() * (withinMs - EARLIEST_MS));
    await mta.kill();
    await calm();
    ledger.ended(await recipientsInCopyOf(spool));
    if (kill % EARLY_EVERY === 0 && kill < kills) {
      kill += 1;
      killsAtStart += 1;
      await killBeforeReady(mta, fraction() * EARLY_WITHIN_MS);
      await calm();
      ledger.ended(await recipientsInCopyOf(spool));
    }
    const startMs = performance.now();
    await mta.restart();
    readyMs.push(performance.now() - startMs);
    onProgress?.(
      `kill ${kill}: ${ledger.acknowledgedCount} acknowledged, ${ledger.arrivedCount} arrived`,
    );
  }
  return { kills: kill, killsAtStart, medianReadyMs: median(readyMs) };
}

async function killBeforeReady(mta: Postilion, afterMs: number): Promise<void> {
  const before = mta.process();
  const ready = mta.restart().catch(() => undefined);
  await waitFor(() => mta.process() !== before, 'the mta to be started');
  await sleep(afterMs);
  await mta.kill();
  await ready;
}

/** Waits until all has arrived and the queue is empty, or time is up: then the verdict says what is missing. */
async function arrival(mta: Postilion, ledger: CrashLedger): Promise<void> {
  const deadlineMs = performance.now() + SETTLE_TIMEOUT_MS;
  while (performance.now() < deadlineMs) {
    const queued = (await mta.mtaMetrics()).sum('postilion_mta_queue_messages');
    if (queued === 0 && ledger.missing().length === 0) return;
    await sleep(10 * POLL_MS);
  }
}

/** The last line of a life may be torn. */
async function untrueEvents(file: string, ledger: CrashLedger): Promise<string[]> {
  const untrue: string[] = [];
  for (const line of (await readFile(file, 'utf8')).split('\n')) {
    const found = /"event":"(delivery|bounce|expiry)".*"recipient":"([^"]+)"/.exec(line);
    if (found === null) continue;
    if (found[1] !== 'delivery' || !ledger.has(found[2]!)) untrue.push(line);
  }
  return untrue;
}

export const stormTable = (storm: CrashStorm): string =>
  tableText(
    [
      'kills',
      'acknowledged',
      'once',
      'twice',
      'more',
      'excused',
      'unsettled at kills',
      'lost',
      'unexplained',
    ],
    [
      [
        String(storm.kills),
        storm.acknowledged,
        storm.deliveredOnce,
        storm.deliveredTwice,
        storm.deliveredMoreOften,
        storm.excused,
        storm.unsettledAtKills,
        storm.lost.length,
        storm.unexplained.length,
      ],
    ],
  );

if (import.meta.main) {
  await benchMain({
    defaults: { kills: 200, seed: 1, within: 400 },
    async run({ kills, seed, within }) {
      const storm = await runCrashStorm({
        kills,
        seed,
        withinMs: within,
        timeoutMs: 540_000,
        onProgress: (line) => process.stderr.write(`\r${line}`.padEnd(78)),
      });
      process.stderr.write(`\n${stormTable(storm)}\n`);
      return storm;
    },
    failed(outcome) {
      const { lost, unexplained, untrueEvents: untrue } = outcome as CrashStorm;
      return lost.length + unexplained.length + untrue.length > 0;
    },
  });
}
