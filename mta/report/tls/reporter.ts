/**
 * Sends the reports of the days that are over: asks every domain that had sessions whether it wants one,
 * makes it, and mails or posts it (RFC 8460 §3, §5).
 *
 * Invariants
 * - A tally is forgotten when its report is on its way, nobody wants it, or KEEP_MS have passed since its
 *   day ended; so a restart goes on where it was, and nothing is kept for ever.
 * - A round takes domains a few at a time: WORKERS lookups or sendings at once.
 * - No notice comes of a report: it asks for none, and TLS policies do not hold it (§3), nor is it tallied.
 */
import type { Clock, Timer } from '../../../runtime/clock.ts';
import type { Log } from '../../../runtime/log.ts';
import type { Random } from '../../../runtime/random.ts';
import type { Recipient, Submission } from '../../envelope.ts';
import { writeExtra } from '../../extra.ts';
import { type Destination, parseTlsRptRecord } from './record.ts';
import { makeReport, type Reporter, reportMail, type TlsReport } from './report.ts';
import { DAY_MS, dayOf, type TlsTally } from './tally.ts';

/** Reports leave between these after midnight: all senders at once would be an attack (§4.1). */
const JITTER_MS_MIN = 300_000;
const JITTER_MS_MAX = 4 * 3_600_000;
/** What an earlier run left is looked at so long after a start. */
const START_MS = 60_000;
const RETRY_MS = 3_600_000;
/** §5.5: at least 24 hours. */
const KEEP_MS = DAY_MS + JITTER_MS_MAX;
const WORKERS = 4;
const PAGE = 500;
const UINT32_SPAN = 0x1_0000_0000;
/** No notice of failure, delay or success (RFC 3461 §4.1). */
const NEVER = writeExtra({ notify: [] })!;

export type TxtLookup =
  | { readonly kind: 'records'; readonly records: readonly (readonly string[])[] }
  | { readonly kind: 'none' }
  /** DNS did not say: asked again later. */
  | { readonly kind: 'trouble' };

export interface ReporterDeps {
  readonly reporter: Reporter;
  readonly tally: TlsTally;
  readonly lookUp: (name: string) => Promise<TxtLookup>;
  /** @returns what Recipient needs to be routed without TLS policy; null when it is no address */
  readonly recipientOf: (address: string) => Pick<Recipient, 'address' | 'domain'> | null;
  /** Signs and keeps it. */
  readonly accept: (submission: Submission) => Promise<unknown>;
  /** @returns the HTTP status. @throws when there was none */
  readonly post: (url: string, content: Buffer) => Promise<number>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface ReportCounters {
  mailed: number;
  posted: number;
  /** Attempts that failed, and are made again. */
  failed: number;
}

export class TlsReports {
  readonly counters: ReportCounters = { mailed: 0, posted: 0, failed: 0 };
  readonly #deps: ReporterDeps;
  /** "day domain" → destinations that have theirs, where others are still waited for. */
  readonly #served = new Map<string, Set<string>>();
  #timer: Timer | null = null;
  #round: Promise<void> | null = null;
  #stopping = false;

  constructor(deps: ReporterDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#after(START_MS);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#timer?.cancel();
    await this.#round;
  }

  #after(delayMs: number): void {
    this.#timer = this.#deps.clock.after(delayMs, () => {
      this.#round = this.#run();
    });
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { clock, random, log } = this.#deps;
    let left = 0;
    try {
      left = await this.#reportAll();
    } catch (error) {
      log.error({ error: String(error) }, 'TLS reports were not made; they are tried again');
      left = 1;
    }
    if (this.#stopping) return;
    const nowMs = clock.wallMs();
    const spreadMs = JITTER_MS_MIN + random.fraction() * (JITTER_MS_MAX - JITTER_MS_MIN);
    const nextDayMs = (dayOf(nowMs) + 1) * DAY_MS - nowMs + spreadMs;
    this.#after(left > 0 ? Math.min(RETRY_MS, nextDayMs) : nextDayMs);
  }

  /** @returns domains that are to be tried again */
  async #reportAll(): Promise<number> {
    const { tally, clock, log } = this.#deps;
    await tally.flush();
    const nowMs = clock.wallMs();
    let left = 0;
    for (const day of tally.daysBefore(dayOf(nowMs))) {
      if (this.#stopping) break;
      if (nowMs <= (day + 1) * DAY_MS + KEEP_MS) {
        left += await this.#reportDay(day);
        continue;
      }
      log.warn({ day: new Date(day * DAY_MS).toISOString().slice(0, 10) }, 'TLS reports given up');
      await tally.forgetDay(day);
      this.#served.clear();
    }
    return left;
  }

  async #reportDay(day: number): Promise<number> {
    const { tally } = this.#deps;
    let left = 0;
    for (let after = ''; !this.#stopping; ) {
      const page = tally.domains(day, after, PAGE);
      const queue = page.values();
      const worker = async (): Promise<void> => {
        for (const domain of queue) {
          if (this.#stopping) return;
          if (await this.#report(day, domain)) await tally.forget(day, domain);
          else left += 1;
        }
      };
      await Promise.all(Array.from({ length: WORKERS }, worker));
      if (page.length < PAGE) break;
      after = page.at(-1)!;
    }
    return left;
  }

  /** @returns whether there is nothing more to do for it */
  async #report(day: number, domain: string): Promise<boolean> {
    const { lookUp, reporter, tally } = this.#deps;
    const lookup = await lookUp(`_smtp._tls.${domain}`);
    if (lookup.kind === 'trouble') return false;
    const destinations = lookup.kind === 'none' ? [] : parseTlsRptRecord(lookup.records);
    if (destinations.length === 0) return true;
    const report = makeReport(reporter, day, domain, tally.of(day, domain));
    const key = `${day} ${domain}`;
    const served = this.#served.get(key) ?? new Set();
    for (const destination of destinations) {
      const name = destination.kind === 'mail' ? destination.address : destination.url;
      if (!served.has(name) && (await this.#send(report, destination))) served.add(name);
    }
    const done = served.size >= new Set(destinations.map((each) => JSON.stringify(each))).size;
    if (done) this.#served.delete(key);
    else this.#served.set(key, served);
    return done;
  }

  /** @returns false when it is to be tried again */
  async #send(report: TlsReport, destination: Destination): Promise<boolean> {
    const { log } = this.#deps;
    const { domain } = report;
    try {
      if (destination.kind === 'mail') return await this.#mail(report, destination.address);
      const status = await this.#deps.post(destination.url, report.content);
      if (status >= 200 && status < 300) {
        this.counters.posted += 1;
        return true;
      }
      log.info({ domain, status }, 'a TLS report was not taken; it is sent again');
    } catch (error) {
      log.info({ domain, error: String(error) }, 'a TLS report was not sent; it is tried again');
    }
    this.counters.failed += 1;
    return false;
  }

  async #mail(report: TlsReport, address: string): Promise<boolean> {
    const { reporter, recipientOf, accept, clock, random, log } = this.#deps;
    const recipient = recipientOf(address);
    if (recipient === null) {
      log.info(
        { domain: report.domain },
        'its TLSRPT record names no address that can be written to',
      );
      return true;
    }
    const nowMs = clock.wallMs();
    const token = [0, 0, 0].map(() => random.integer(UINT32_SPAN).toString(36)).join('');
    await accept({
      envelope: {
        reversePath: reporter.from,
        recipients: [{ index: 0, ...recipient, extra: NEVER }],
        body: '7bit',
        smtpUtf8: false,
      },
      content: reportMail(report, reporter, { to: recipient.address, token, nowMs }),
      receivedAtMs: nowMs,
      origin: 'tlsrpt',
      priority: 'bulk',
    });
    this.counters.mailed += 1;
    return true;
  }
}
