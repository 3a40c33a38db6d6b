/**
 * What the log says that the index has not heard yet. The log is the segments: whatever is acknowledged
 * is a synced record there. The index, which is the database, follows some records behind, and a message
 * that is delivered at its first attempt never gets there at all.
 *
 * Invariants
 * - A handed message is leased to its submitter until it is settled, or has rows and a lease there.
 * - Records before lowPlace() are in the index, or settled. From there on the log has everything.
 * - `ops` are in the order of the log, and each is applied once: the index stores how far it has come in
 *   the transaction that brings it there.
 */
import type { MessageId } from '../envelope.ts';
import type { Placed } from './append.ts';
import type { Meta } from './draft.ts';
import { HEADER_OCTETS } from './record.ts';
import type { SegmentId } from './segment-file.ts';
import { isBefore, type Place, type Segments } from './segments.ts';
import type { Settlement } from './spool.ts';
import { StoreFault } from './trouble.ts';

/**
 * Recipients that somebody here has, and of which the table of leases does not know yet: handed messages,
 * and those that have rows coming. Ends with the process, and not before.
 */
export type Out = Map<MessageId, readonly number[]>;

/** A message without rows, leased to whoever submitted it. */
export interface Handed {
  readonly message: MessageId;
  /** Where its record begins. */
  readonly record: Place;
  readonly metaOctets: number;
  readonly contentOctets: number;
  readonly contentCrc: number;
  /** Indices of recipients not settled yet; never empty. */
  left: readonly number[];
}

export type Deferral = readonly [
  message: MessageId,
  index: number,
  dueMs: number,
  attempts: number,
  code: string,
  text: string,
  sinceMs: number,
  /** Null leaves what the recipient has. */
  extra: string | null,
  domain: string | null,
];

/** One settle(), as its record's meta has it. */
export interface Outcome {
  /** Pairs: message, index. */
  readonly done: readonly number[];
  readonly deferred: readonly Deferral[];
  /** Handed messages that get rows now, for what is left of them. */
  readonly kept: readonly MessageId[];
  /** Their contents stand one behind the other in the record's content; ids count up from the record's. */
  readonly notices: readonly Notice[];
}

export interface Notice {
  readonly meta: Meta;
  readonly contentOctets: number;
  readonly contentCrc: number;
}

/** What the index has yet to be told. */
export type Op =
  /** indices null: all of them. */
  | {
      readonly kind: 'rows';
      readonly message: Placed;
      readonly indices: readonly number[] | null;
    }
  | { readonly kind: 'done'; readonly message: MessageId; readonly index: number }
  | { readonly kind: 'deferred'; readonly deferral: Deferral }
  /** `lost`: what rows to make where there are none, since what came before it in the log has gone. */
  | {
      readonly kind: 'moved';
      readonly message: MessageId;
      readonly place: Place;
      readonly lost: Placed | null;
    };

export class Journal {
  readonly #segments: Segments;
  readonly #out: Out;
  /** In the order of their records. */
  readonly #handed = new Map<MessageId, Handed>();
  #handedRecipients = 0;
  /** Of `ops`, those that are not of the kind 'done'. */
  #news = 0;
  ops: Op[] = [];

  constructor(segments: Segments, out: Out) {
    this.#segments = segments;
    this.#out = out;
  }

  get handedMessages(): number {
    return this.#handed.size;
  }

  get handedRecipients(): number {
    return this.#handedRecipients;
  }

  /** `ops` are more than recipients that are done: those stay leased until they have gone. */
  get hasNews(): boolean {
    return this.#news > 0;
  }

  find(message: MessageId): Handed | undefined {
    return this.#handed.get(message);
  }

  isOut(message: MessageId, index: number): boolean {
    return this.#out.get(message)?.includes(index) ?? false;
  }

  /** @param end of what is being applied */
  lowPlace(end: Place): Place {
    const [oldest] = this.#handed.values();
    return oldest === undefined || isBefore(end, oldest.record) ? end : oldest.record;
  }

  /** A message is in the log, and leased to its submitter. */
  hand(handed: Handed): void {
    this.#out.set(handed.message, handed.left);
    this.recallHanded(handed);
  }

  /** A message is in the log, and waits. */
  queue(message: Placed): void {
    this.#segments.pin(message.place.segment);
    this.#tell({ kind: 'rows', message, indices: null });
  }

  move(message: MessageId, place: Place, lost: Placed | null): void {
    this.#segments.pin(place.segment);
    this.#tell({ kind: 'moved', message, place, lost });
  }

  /** An outcome is in the log. */
  conclude({ done, deferred, kept }: Outcome, notices: readonly Placed[]): void {
    for (let at = 0; at < done.length; at += 2) this.#done(done[at]!, done[at + 1]!);
    for (const message of kept) {
      const handed = this.#handed.get(message);
      if (handed !== undefined) this.keep(handed);
    }
    for (const deferral of deferred) this.#tell({ kind: 'deferred', deferral });
    for (const notice of notices) this.queue(notice);
  }

  /** Nobody has it any more; its rows are coming. */
  release(message: MessageId, index: number): void {
    const left = this.#out.get(message)?.filter((one) => one !== index) ?? [];
    if (left.length === 0) this.#out.delete(message);
    else this.#out.set(message, left);
  }

  /** Its rows have come. @returns those that somebody has */
  takeOut(message: MessageId): readonly number[] {
    const left = this.#out.get(message) ?? [];
    this.#out.delete(message);
    return left;
  }

  /** In a replay, of a message that was handed over: somebody here has it still, or a process that is gone. */
  recallHanded(handed: Handed): void {
    this.#handed.set(handed.message, handed);
    this.#handedRecipients += handed.left.length;
    this.#segments.pin(handed.record.segment);
  }

  /** In a replay, of a record that the index has heard of: only handed messages are concerned. */
  recall({ done, kept }: Outcome): void {
    for (let at = 0; at < done.length; at += 2) this.#settleHanded(done[at]!, done[at + 1]!);
    for (const message of kept) {
      const handed = this.#handed.get(message);
      if (handed !== undefined) this.#forget(handed);
    }
  }

  /** It gets rows for what is left of it. @throws StoreFault when its record cannot be read */
  keep(handed: Handed): void {
    const message = this.#placedOf(handed);
    this.#segments.pin(handed.record.segment);
    this.#forget(handed);
    this.#tell({ kind: 'rows', message, indices: handed.left });
  }

  /** The oldest get rows. */
  keepOldest(count: number): void {
    let rest = count;
    for (const handed of this.#handed.values()) {
      if (rest === 0) return;
      this.keep(handed);
      rest -= 1;
    }
  }

  /** Those of segments before this one get rows, so that the log before it may go. */
  keepBefore(segment: SegmentId): void {
    for (const handed of this.#handed.values()) {
      if (handed.record.segment >= segment) return;
      this.keep(handed);
    }
  }

  /** After a replay: those that nobody here has get rows. */
  keepAbandoned(): void {
    for (const handed of this.#handed.values()) {
      if (!this.#out.has(handed.message)) this.keep(handed);
    }
  }

  /** They are in the index. */
  applied(ops: readonly Op[]): void {
    this.ops = this.ops.slice(ops.length);
    for (const op of ops) {
      if (op.kind !== 'done') this.#news -= 1;
      if (op.kind === 'rows') this.#segments.unpin(op.message.place.segment);
      else if (op.kind === 'moved') this.#segments.unpin(op.place.segment);
    }
  }

  #tell(op: Op): void {
    this.ops.push(op);
    this.#news += 1;
  }

  #done(message: MessageId, index: number): void {
    if (this.#handed.has(message)) this.#settleHanded(message, index);
    else this.ops.push({ kind: 'done', message, index });
  }

  #settleHanded(message: MessageId, index: number): void {
    const handed = this.#handed.get(message);
    if (handed === undefined || !handed.left.includes(index)) return;
    this.release(message, index);
    if (handed.left.length === 1) {
      this.#forget(handed);
      return;
    }
    handed.left = handed.left.filter((one) => one !== index);
    this.#handedRecipients -= 1;
  }

  #forget({ message, left, record }: Handed): void {
    this.#handed.delete(message);
    this.#handedRecipients -= left.length;
    this.#segments.unpin(record.segment);
  }

  #placedOf({ message, record, metaOctets, contentOctets, contentCrc }: Handed): Placed {
    const metaPlace = { segment: record.segment, at: record.at + HEADER_OCTETS };
    const octets = this.#segments.read(metaPlace, metaOctets);
    if (typeof octets === 'string') {
      throw new StoreFault('io', `segment ${record.segment} cannot be read any more`);
    }
    return {
      id: message,
      submission: JSON.parse(octets.toString()) as Meta,
      place: { segment: record.segment, at: metaPlace.at + metaOctets },
      contentOctets,
      contentCrc,
    };
  }
}

type Key = Settlement['key'];

/** What a settle() comes to. */
export interface Plan {
  readonly outcome: Omit<Outcome, 'notices'>;
  /** Of handed messages. */
  readonly released: readonly Key[];
  /** With rows that stay as they are, or leased to nobody. */
  readonly untouched: readonly Key[];
}

/** Changes nothing. @param holds whether a recipient with a row is leased */
export function plan(
  settle: {
    /** Pairs: message, index. */
    readonly done: Float64Array;
    readonly others: readonly Settlement[];
  },
  journal: Journal,
  holds: (message: MessageId, index: number) => boolean,
): Plan {
  const done: number[] = [];
  const deferred: Deferral[] = [];
  const kept = new Set<MessageId>();
  const released: Key[] = [];
  const untouched: Key[] = [];
  for (let at = 0; at < settle.done.length; at += 2) {
    const message = settle.done[at]!;
    const index = settle.done[at + 1]!;
    if (journal.isOut(message, index) || holds(message, index)) done.push(message, index);
    else untouched.push({ message, index });
  }
  for (const settlement of settle.others) {
    const { key, kind } = settlement;
    const { message, index } = key;
    const isOut = journal.isOut(message, index);
    if (isOut && journal.find(message) !== undefined) kept.add(message);
    if (kind === 'released') (isOut ? released : untouched).push(key);
    else if (!isOut && !holds(message, index)) untouched.push(key);
    else if (kind === 'deferred') deferred.push(deferralOf(settlement));
  }
  return { outcome: { done, deferred, kept: [...kept] }, released, untouched };
}

const deferralOf = ({
  key: { message, index },
  dueMs,
  attempts,
  reason: { code, text, sinceMs },
  extra,
  domain,
}: Settlement & { kind: 'deferred' }): Deferral => [
  message,
  index,
  dueMs,
  attempts,
  code,
  text,
  sinceMs,
  extra ?? null,
  domain ?? null,
];
