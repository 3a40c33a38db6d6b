/**
 * Upgrades one after another under load: dnsperf asks, mail comes in by SMTP over ever new connections
 * and goes out. Is a query lost, a connection refused, a message lost or delivered twice, and how long
 * does it take at worst until the next message is acknowledged?
 *
 * The version that is started is the one that runs, as when only the configuration has changed.
 * --per-second is of queries, --messages of messages a second. What the load loses by itself is measured
 * first, for --control seconds, beside the same mail.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { startNsd } from '../../test/support/nsd.ts';
import { waitFor } from '../../test/support/process.ts';
import { freePort, loopbackAddress, scratchFolder } from '../../test/support/scratch.ts';
import { benchMain } from '../load/command.ts';
import { type BurstResult, runDnsperf } from '../load/dnsperf.ts';
import { type InjectionResult, inject, type Letter } from '../load/injector.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { startSink } from '../load/sink.ts';
import { tableText } from '../load/table.ts';

export interface UpgradeOptions {
  readonly upgrades: number;
  /** Queries. */
  readonly perSecond: number;
  /** Messages a second. */
  readonly messages: number;
  /** Between the end of an upgrade and the next. */
  readonly pauseMs: number;
  /** Of dnsperf without upgrades; 0: none. */
  readonly controlSeconds: number;
  readonly onProgress?: (line: string) => void;
}

export interface UpgradeRow {
  readonly state: string;
  readonly reason: string | null;
  /** The whole upgrade, its probation included. */
  readonly tookMs: number;
  /** Until the old mta had let go, and the new one worked. */
  readonly finishMs: number;
  readonly openMs: number;
  /** Longest time without an acknowledgement. */
  readonly pauseMs: number;
  readonly queriesSent: number;
  readonly queriesLost: number;
  readonly slowestAnswerMs: number;
}

export interface UpgradesUnderLoad {
  readonly rows: readonly UpgradeRow[];
  readonly queriesSent: number;
  readonly queriesLost: number;
  /** Of dnsperf without upgrades, at the same rate and beside the same mail. */
  readonly controlSent: number;
  readonly controlLost: number;
  readonly connections: number;
  readonly connectionsRefused: number;
  readonly refusals: readonly string[];
  readonly acknowledged: number;
  /** Acknowledged, and never arrived. */
  readonly messagesLost: number;
  /** Arrived more than once. */
  readonly messagesTwice: number;
  /** Not acknowledged at once: sent again after a 4xx or a session that ended. */
  readonly deferrals: number;
  readonly resent: number;
  readonly failed: number;
}

const ZONE = 'upgrade.example';
const DOMAINS = 20;
const SESSIONS = 40;
const LETTERS_PER_SESSION = 5;
const PROBATION = '1s';
const QUESTIONS = 200_000;
/** One question in so many is of a name that is not cached any more: exchanges are always under way. */
const MISS_EVERY = 20;
const WARM_MS = 3_000;
const UPGRADE_SECONDS_MAX = 100;
/** As Postfix and glibc have it: who is answered within it has lost nothing. */
const CLIENT_TIMEOUT_SECONDS = 5;
const SETTLE_TIMEOUT_MS = 60_000;
const TICK_MS = 10;
const BODY = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(50));

const questions = (): string =>
  Array.from({ length: QUESTIONS }, (_, index) =>
    index % MISS_EVERY === 0 ? `once${index}.${ZONE} MX` : `often${index % 1_000}.${ZONE} A`,
  ).join('\n');

/** Letters at a rate, whatever becomes of them. */
class Mail {
  readonly #perSecond: number;
  ended = false;
  #number = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  async *letters(): AsyncGenerator<Letter> {
    for (const startMs = performance.now(); !this.ended; ) {
      const due = ((performance.now() - startMs) / 1_000) * this.#perSecond;
      if (this.#number >= due) {
        await sleep(TICK_MS);
        continue;
      }
      const number = this.#number;
      this.#number += 1;
      const to = `u${number}@d${number % DOMAINS}.${ZONE}`;
      yield {
        id: to,
        reversePath: 'sender@client.example.net',
        recipients: [to],
        content: [Buffer.from(`Subject: ${number}\r\n\r\n`), BODY],
      };
    }
  }
}

/** What was acknowledged when, and what arrived how often. */
class Ledger {
  readonly acknowledged = new Set<string>();
  readonly arrivals = new Map<string, number>();
  #lastMs = performance.now();
  #pauseMs = 0;

  onAcknowledged(id: string): void {
    this.acknowledged.add(id);
    this.#note();
  }

  onArrived(id: string): void {
    this.arrivals.set(id, (this.arrivals.get(id) ?? 0) + 1);
  }

  /** @returns the longest time without an acknowledgement since the last call */
  takePauseMs(): number {
    this.#note();
    const pauseMs = this.#pauseMs;
    this.#pauseMs = 0;
    return pauseMs;
  }

  get missing(): number {
    return [...this.acknowledged].filter((id) => !this.arrivals.has(id)).length;
  }

  get twice(): number {
    return [...this.arrivals.values()].filter((count) => count > 1).length;
  }

  #note(): void {
    const nowMs = performance.now();
    this.#pauseMs = Math.max(this.#pauseMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }
}

async function build(cleanup: Cleanup, ledger: Ledger): Promise<Postilion> {
  const port = await freePort();
  const address = loopbackAddress();
  const sink = await startSink({
    listen: [{ address, port }],
    startTls: false,
    onMessage({ recipients }) {
      for (const to of recipients) ledger.onArrived(to);
      return null;
    },
  });
  cleanup.add(() => sink.close());
  const records = ['* 300 IN A 192.0.2.1', `* 1 IN MX 10 mx.${ZONE}.`, `mx 300 IN A ${address}`];
  for (let domain = 0; domain < DOMAINS; domain += 1) records.push(`d${domain} 300 IN MX 10 mx`);
  const nsd = cleanup.stop(await startNsd([{ origin: ZONE, records }]));
  return cleanup.stop(
    await startPostilion({
      program: 'up',
      upstream: nsd,
      mta: { delivery: { port, tls: 'none' }, smtp_clients: 1_000, retry: ['1s'] },
      upgrade: { probation: PROBATION },
    }),
  );
}

export async function runUpgradesUnderLoad(options: UpgradeOptions): Promise<UpgradesUnderLoad> {
  const cleanup = new Cleanup();
  const abort = new AbortController();
  try {
    const ledger = new Ledger();
    const postilion = await build(cleanup, ledger);
    const folder = await scratchFolder('upgrade-under-load');
    cleanup.add(() => folder.remove());
    const file = join(folder.path, 'questions');
    await writeFile(file, `${questions()}\n`);
    const { perSecond } = options;
    const ask = (seconds: number, interrupt?: AbortSignal): Promise<BurstResult> =>
      runDnsperf({
        server: postilion.dns,
        file,
        seconds,
        perSecond,
        timeoutSeconds: CLIENT_TIMEOUT_SECONDS,
        ...(interrupt && { interrupt }),
      });
    const mail = new Mail(options.messages);
    const injection = inject({
      ...postilion.smtp,
      sessions: SESSIONS,
      letters: mail.letters(),
      lettersPerSession: LETTERS_PER_SESSION,
      onAcknowledged: ({ id }) => ledger.onAcknowledged(id),
      signal: abort.signal,
    });
    await sleep(WARM_MS);
    const control = options.controlSeconds > 0 ? await ask(options.controlSeconds) : null;
    const rows: UpgradeRow[] = [];
    for (let number = 1; number <= options.upgrades; number += 1) {
      const row = await upgradeOnce(options, postilion, { ledger, ask });
      rows.push(row);
      options.onProgress?.(`upgrade ${number}: ${JSON.stringify(row)}`);
    }
    mail.ended = true;
    const injected = await injection;
    await arrival(ledger);
    return verdict({ rows, control, injected, ledger });
  } finally {
    abort.abort();
    await cleanup.run();
  }
}

async function upgradeOnce(
  { pauseMs }: UpgradeOptions,
  postilion: Postilion,
  world: {
    readonly ledger: Ledger;
    ask(seconds: number, interrupt: AbortSignal): Promise<BurstResult>;
  },
): Promise<UpgradeRow> {
  const { ledger, ask } = world;
  const enough = new AbortController();
  const asked = ask(UPGRADE_SECONDS_MAX, enough.signal);
  await sleep(pauseMs);
  ledger.takePauseMs();
  const { state, reason, startedAtMs, endedAtMs, finishMs, openMs } = await postilion.upgrade();
  await sleep(pauseMs);
  enough.abort();
  const queries = await asked;
  return {
    state,
    reason,
    tookMs: (endedAtMs ?? Number.NaN) - startedAtMs,
    finishMs: finishMs ?? Number.NaN,
    openMs: openMs ?? Number.NaN,
    pauseMs: Math.round(ledger.takePauseMs()),
    queriesSent: queries.sent,
    queriesLost: queries.lost,
    slowestAnswerMs: queries.slowestSeconds * 1_000,
  };
}

/** Waits until all has arrived, or time is up: then the verdict says how much is missing. */
async function arrival(ledger: Ledger): Promise<void> {
  await waitFor(() => ledger.missing === 0, 'mail to arrive', SETTLE_TIMEOUT_MS).catch(
    () => undefined,
  );
}

function verdict(parts: {
  readonly rows: readonly UpgradeRow[];
  readonly control: BurstResult | null;
  readonly injected: InjectionResult;
  readonly ledger: Ledger;
}): UpgradesUnderLoad {
  const { rows, control, injected, ledger } = parts;
  return {
    rows,
    queriesSent: rows.reduce((sum, row) => sum + row.queriesSent, 0),
    queriesLost: rows.reduce((sum, row) => sum + row.queriesLost, 0),
    controlSent: control?.sent ?? 0,
    controlLost: control?.lost ?? 0,
    connections: injected.connections,
    connectionsRefused: injected.refusals.length,
    refusals: injected.refusals,
    acknowledged: injected.acknowledged,
    messagesLost: ledger.missing,
    messagesTwice: ledger.twice,
    deferrals: injected.deferrals,
    resent: injected.resent.size,
    failed: injected.failed.size,
  };
}

export const upgradesTable = ({ rows }: UpgradesUnderLoad): string =>
  tableText(
    [
      'upgrade',
      'outcome',
      'took ms',
      'old finished ms',
      'new opened ms',
      'mail paused ms',
      'queries',
      'lost',
      'slowest answer ms',
    ],
    rows.map((row, index) => [
      String(index + 1),
      row.state,
      row.tookMs,
      row.finishMs,
      row.openMs,
      row.pauseMs,
      row.queriesSent,
      row.queriesLost,
      row.slowestAnswerMs,
    ]),
  );

if (import.meta.main) {
  await benchMain({
    defaults: {
      upgrades: 10,
      'per-second': 20_000,
      messages: 500,
      pause: 2_000,
      control: 20,
    },
    async run(numbers) {
      const result = await runUpgradesUnderLoad({
        upgrades: numbers.upgrades,
        perSecond: numbers['per-second'],
        messages: numbers.messages,
        pauseMs: numbers.pause,
        controlSeconds: numbers.control,
        onProgress: (line) => process.stderr.write(`${line}\n`),
      });
      process.stderr.write(`${upgradesTable(result)}\n`);
      return result;
    },
    failed(outcome) {
      const { rows, connectionsRefused, messagesLost, messagesTwice, queriesLost } =
        outcome as UpgradesUnderLoad;
      const faults = connectionsRefused + messagesLost + messagesTwice + queriesLost;
      return faults > 0 || rows.some(({ state }) => state !== 'done');
    },
  });
}
