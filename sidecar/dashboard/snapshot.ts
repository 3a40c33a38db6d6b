/** What is known of both programs at one instant: all that sentences are made from. */
import type { DnsPart, MailPart } from './parts.ts';
import type { DnsRow, MailRow } from './rates.ts';

/** 'none': nothing can be said, and nothing is wrong with that. */
export type Level = 'good' | 'warn' | 'bad' | 'none';

/** One of the two programs; `part` is null when it does not answer. */
export interface Side<P, R> {
  readonly part: P | null;
  /** Where it was asked, and why there is no answer; null when there is one. */
  readonly absent: string | null;
  /** It was started together with us, so it should be there. */
  readonly expected: boolean;
  /** Rates over the last ten seconds; null in the first. */
  readonly lately: R | null;
}

export interface Snapshot {
  readonly nowMs: number;
  readonly dns: Side<DnsPart, DnsRow>;
  readonly mail: Side<MailPart, MailRow>;
}
