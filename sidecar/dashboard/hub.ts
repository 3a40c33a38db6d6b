/**
 * Both programs seen from one of them: its own state, and the other's as far as it answers.
 *
 * Invariants
 * - However many watch, a frame is made at most once in FRAME_MS, and the other program is asked once
 *   for it; while nobody watches it is not asked at all.
 * - A program that does not answer is told of as such; what is known of the other is shown all the same.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { ProgramName } from '../protocol.ts';
import { type HistoryAnswer, historyOf } from './columns.ts';
import type { Past } from './history.ts';
import type { DnsPart, MailPart } from './parts.ts';
import { NoAnswer, type Program } from './program.ts';
import { type DnsRow, dnsRow, type MailRow, mailRow, rowOver } from './rates.ts';
import type { DnsSample, MailSample } from './samples.ts';
import type { Side, Snapshot } from './snapshot.ts';
import { judge, type Verdicts } from './verdicts.ts';

export const FRAME_MS = 1_000;

/** The program that we are part of, asked without a detour. */
export interface Own {
  state(): Promise<DnsPart | MailPart>;
  past(): Past<DnsSample> | Past<MailSample>;
}

export interface HubDeps {
  readonly self: ProgramName;
  readonly own: Own;
  readonly other: Program;
  /** Both were started together, so both should be there. */
  readonly together: boolean;
  /** Actions may be taken from the page, by who has the token. */
  readonly actions: boolean;
  readonly hostname: string;
  readonly clock: Clock;
}

/** What changes every second. */
export interface Tick {
  readonly atMs: number;
  readonly verdicts: Verdicts;
  /** Of the last second; null where it is not known. */
  readonly dns: { readonly row: DnsRow; readonly lately: DnsRow } | null;
  readonly mail: { readonly row: MailRow; readonly lately: MailRow } | null;
}

/** What tables show. */
export interface State {
  readonly self: ProgramName;
  readonly hostname: string;
  readonly actions: boolean;
  readonly dns: Omit<DnsPart, 'samples'> | null;
  readonly dnsAbsent: string | null;
  readonly mail: Omit<MailPart, 'samples'> | null;
  readonly mailAbsent: string | null;
}

export interface Frame {
  readonly tick: Tick;
  readonly state: State;
}

/** On whose behalf the other program is asked. */
const SELF_IP = '127.0.0.1';
export const STATE_PATH = '/v1/state';
export const SAMPLES_PATH = '/v1/samples';

export class Hub {
  readonly #deps: HubDeps;
  #made: { readonly atMs: number; readonly frame: Promise<Frame> } | null = null;

  constructor(deps: HubDeps) {
    this.#deps = deps;
  }

  /** Never rejects. */
  frame(): Promise<Frame> {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#made === null || nowMs - this.#made.atMs >= FRAME_MS / 2) {
      this.#made = { atMs: nowMs, frame: this.#make() };
    }
    return this.#made.frame;
  }

  /** Never rejects. */
  async history(): Promise<HistoryAnswer> {
    const [dns, mail] = await Promise.all([
      this.#fetch<Past<DnsSample>>('resolver', SAMPLES_PATH),
      this.#fetch<Past<MailSample>>('mta', SAMPLES_PATH),
    ]);
    return historyOf(dns.part, mail.part);
  }

  async #make(): Promise<Frame> {
    const { clock, self, hostname, actions } = this.#deps;
    const [resolver, mta] = await Promise.all([
      this.#fetch<DnsPart>('resolver', STATE_PATH),
      this.#fetch<MailPart>('mta', STATE_PATH),
    ]);
    const dns = withRates(resolver, dnsRow);
    const mail = withRates(mta, mailRow);
    const snapshot: Snapshot = { nowMs: clock.wallMs(), dns: dns.side, mail: mail.side };
    return {
      tick: {
        atMs: snapshot.nowMs,
        verdicts: judge(snapshot),
        dns: dns.rows,
        mail: mail.rows,
      },
      state: {
        self,
        hostname,
        actions,
        dns: withoutSamples(resolver.part),
        dnsAbsent: resolver.absent,
        mail: withoutSamples(mta.part),
        mailAbsent: mta.absent,
      },
    };
  }

  async #fetch<T>(name: ProgramName, path: string): Promise<Fetched<T>> {
    const { self, own, other, together } = this.#deps;
    if (name === self) {
      const part = path === SAMPLES_PATH ? own.past() : await own.state();
      return { part: part as T, absent: null, expected: true };
    }
    const expected = together;
    try {
      const { status, body } = await other.ask({ path, ip: SELF_IP });
      if (status === 200) return { part: body as T, absent: null, expected };
      return { part: null, absent: refusalOf(body) ?? `it answered ${status}`, expected };
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      return { part: null, absent: error.message, expected };
    }
  }
}

interface Fetched<T> {
  readonly part: T | null;
  readonly absent: string | null;
  readonly expected: boolean;
}

/** Two samples back: the rate of the last second. */
const LAST_SECOND = -2;

function withRates<S extends { readonly atMs: number }, P extends { samples: readonly S[] }, R>(
  fetched: Fetched<P>,
  row: (before: S | null, now: S) => R,
): { readonly side: Side<P, R>; readonly rows: { readonly row: R; readonly lately: R } | null } {
  const samples = fetched.part?.samples ?? [];
  const enough = samples.length > 1;
  const lately = enough ? rowOver(samples, row) : null;
  const last = enough ? rowOver(samples.slice(LAST_SECOND), row) : null;
  return {
    side: { ...fetched, lately },
    rows: lately === null || last === null ? null : { row: last, lately },
  };
}

function withoutSamples<P extends { samples: unknown }>(part: P | null): Omit<P, 'samples'> | null {
  if (part === null) return null;
  const { samples: _samples, ...rest } = part;
  return rest;
}

/** @returns the message of {"error":{"code","message"}} */
export function refusalOf(body: unknown): string | null {
  if (typeof body !== 'object' || body === null || !('error' in body)) return null;
  const { error } = body;
  if (typeof error !== 'object' || error === null || !('message' in error)) return null;
  return typeof error.message === 'string' ? error.message : null;
}
