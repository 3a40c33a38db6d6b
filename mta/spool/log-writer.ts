/**
 * One batch on its way into the log: messages as the mta's thread laid them out, and outcomes, in one
 * write and one sync; then the journal hears of it.
 *
 * Invariants
 * - Nothing changes in memory before the write is as durable as it is to be.
 * - A settle() is one record, so that its outcomes and its notices are kept together or not at all.
 */
import { crc32 } from 'node:zlib';
import type { MessageId, Submission } from '../envelope.ts';
import { nextId, type Placed } from './append.ts';
import type { Living } from './compact.ts';
import {
  contentAt,
  type Draft,
  layOut,
  type Meta,
  metaOf,
  nextAt,
  octetsMaxOf,
  seal,
} from './draft.ts';
import type { Journal, Notice, Outcome, Plan } from './journal.ts';
import { placeNotices } from './notices.ts';
import type { OnceKeys } from './once.ts';
import { DRAFT_FIELDS, type Repeated } from './protocol.ts';
import { RecordKind } from './record.ts';
import type { Place, Segments } from './segments.ts';

/** What is kept of the memory for outcomes between batches. */
const SCRATCH_OCTETS_MAX = 1_048_576;

export interface LogWriterParts {
  readonly segments: Segments;
  readonly journal: Journal;
  readonly onceKeys: OnceKeys;
}

/** Messages to be appended, laid out without headers. */
export interface Records {
  readonly records: Buffer;
  /** As in a block of the protocol. */
  readonly drafts: Float64Array;
  readonly synced: boolean;
}

export interface Written {
  readonly ids: (MessageId | Repeated)[];
  /** Of each settle(). */
  readonly notices: MessageId[][];
  readonly lastId: MessageId;
}

interface AppendDraft extends Draft {
  readonly id: MessageId;
  readonly contentCrc: number;
  /** Recipients, for a handed message; 0 for a queued one. */
  readonly handed: number;
  /** Of a queued message. */
  readonly meta: Meta | null;
}

interface OutcomeDraft extends Draft {
  readonly firstId: MessageId;
  readonly outcome: Outcome;
  readonly plan: Plan;
}

export interface SettleAsked {
  readonly plan: Plan;
  readonly notices: readonly Submission[];
}

export class LogWriter {
  readonly #parts: LogWriterParts;
  #scratch = Buffer.alloc(0);

  constructor(parts: LogWriterParts) {
    this.#parts = parts;
  }

  /** Durable when it returns, save a block that is not to be. @throws the system's error; then nothing has changed */
  write(
    block: Records | null,
    settles: readonly SettleAsked[],
    { lastId, nowMs }: { readonly lastId: MessageId; readonly nowMs: number },
  ): Written {
    const { segments } = this.#parts;
    const { salt } = segments.next(nowMs);
    const ids: (MessageId | Repeated)[] = [];
    const appends: AppendDraft[] = [];
    const arena = block?.records ?? Buffer.alloc(0);
    let id = lastId;
    if (block !== null) id = this.#sealAppends(block, arena, { salt, id, nowMs, ids, appends });
    const outcomes: OutcomeDraft[] = [];
    const batchAt = arena.length;
    const octets = this.#layOutcomes(settles, { salt, id, nowMs, batchAt, outcomes });
    for (const { firstId, outcome } of outcomes) {
      id = Math.max(id, firstId + outcome.notices.length - 1);
    }
    const synced = settles.length > 0 || block?.synced === true;
    const { segment, at } = segments.append([arena, octets], { nowMs, synced });
    for (const draft of appends) this.#appended(draft, { segment, at });
    for (const draft of outcomes) this.#concluded(draft, { segment, at: at + batchAt });
    const notices = outcomes.map(({ firstId, outcome }) =>
      outcome.notices.map((_, n) => firstId + n),
    );
    return { ids, notices, lastId: id };
  }

  /** Writes a record that says nothing. @throws the system's error when that fails */
  probe(nowMs: number): void {
    const { segments } = this.#parts;
    const { salt } = segments.next(nowMs);
    const buffer = Buffer.alloc(octetsMaxOf('', 0));
    const draft = layOut(buffer, 0, '', []);
    seal(buffer, draft, { kind: RecordKind.nothing, id: 0, salt, batchAt: 0 });
    segments.append([buffer], { nowMs, synced: true });
  }

  /** Copies contents to the end of the log. Durable when it returns. @throws the system's error */
  move(living: readonly Living[], nowMs: number): void {
    const { segments, journal } = this.#parts;
    const { salt } = segments.next(nowMs);
    const texts = living.map(({ meta }) => JSON.stringify(meta));
    let octetsMax = 0;
    for (const [n, { content }] of living.entries()) {
      octetsMax += octetsMaxOf(texts[n]!, content.length);
    }
    const buffer = Buffer.allocUnsafeSlow(octetsMax);
    const drafts: Draft[] = [];
    let end = 0;
    for (const [n, { message, content }] of living.entries()) {
      const draft = layOut(buffer, end, texts[n]!, [content]);
      seal(buffer, draft, { kind: RecordKind.moved, id: message, salt, batchAt: 0 });
      drafts.push(draft);
      end = nextAt(draft);
    }
    const { segment, at } = segments.append([buffer.subarray(0, end)], {
      nowMs,
      synced: true,
    });
    for (const [n, { message }] of living.entries()) {
      journal.move(message, { segment, at: at + contentAt(drafts[n]!) }, null);
    }
  }

  #sealAppends(
    { drafts }: Records,
    arena: Buffer,
    context: {
      readonly salt: number;
      readonly id: MessageId;
      readonly nowMs: number;
      readonly ids: (MessageId | Repeated)[];
      readonly appends: AppendDraft[];
    },
  ): MessageId {
    const { salt, nowMs, ids, appends } = context;
    let { id } = context;
    for (let n = 0; n < drafts.length; n += DRAFT_FIELDS) {
      const draft = { at: drafts[n]!, metaOctets: drafts[n + 1]!, contentOctets: drafts[n + 2]! };
      const handed = drafts[n + 3]!;
      const meta = handed === 0 ? metaOf(arena, draft) : null;
      const repeated = this.#repeated(meta, nowMs, appends);
      if (repeated !== null) {
        seal(arena, draft, { kind: RecordKind.nothing, id, salt, batchAt: 0 });
        ids.push(repeated);
        continue;
      }
      id = nextId(id, nowMs);
      const kind = handed === 0 ? RecordKind.queued : RecordKind.handed;
      const contentCrc = seal(arena, draft, { kind, id, salt, batchAt: 0 });
      appends.push({ ...draft, id, contentCrc, handed, meta });
      ids.push(id);
    }
    return id;
  }

  /** The message that the key of this one has: in the index, on its way there, or in this very batch. */
  #repeated(meta: Meta | null, nowMs: number, batch: readonly AppendDraft[]): Repeated | null {
    const once = meta?.once;
    if (once === undefined) return null;
    const { journal, onceKeys } = this.#parts;
    for (const { id, meta: other } of batch) {
      if (other?.once?.key === once.key) return { message: id, digest: other.once.digest };
    }
    for (const op of journal.ops) {
      if (op.kind !== 'rows') continue;
      const other = op.message.submission.once;
      if (other?.key === once.key) return { message: op.message.id, digest: other.digest };
    }
    return onceKeys.find(once, nowMs);
  }

  #layOutcomes(
    settles: readonly SettleAsked[],
    context: {
      readonly salt: number;
      readonly id: MessageId;
      readonly nowMs: number;
      readonly batchAt: number;
      readonly outcomes: OutcomeDraft[];
    },
  ): Buffer {
    if (settles.length === 0) return Buffer.alloc(0);
    const { salt, nowMs, batchAt, outcomes } = context;
    let { id } = context;
    const texts: string[] = [];
    let octetsMax = 0;
    const described = settles.map(({ plan, notices }) => {
      const outcome: Outcome = { ...plan.outcome, notices: notices.map(noticeOf) };
      const text = JSON.stringify(outcome);
      texts.push(text);
      octetsMax += octetsMaxOf(text, sum(outcome.notices));
      return outcome;
    });
    const buffer = this.#room(octetsMax);
    let end = 0;
    for (const [n, { plan, notices }] of settles.entries()) {
      const firstId = notices.length === 0 ? id : nextId(id, nowMs);
      id = Math.max(id, firstId + notices.length - 1);
      const contents = notices.map(({ content }) => content);
      const draft = layOut(buffer, end, texts[n]!, contents);
      seal(buffer, draft, { kind: RecordKind.outcome, id: firstId, salt, batchAt });
      outcomes.push({ ...draft, firstId, outcome: described[n]!, plan });
      end = nextAt(draft);
    }
    return buffer.subarray(0, end);
  }

  #appended(draft: AppendDraft, { segment, at }: Place): void {
    const { journal } = this.#parts;
    const { id, metaOctets, contentOctets, contentCrc, handed, meta } = draft;
    const record = { segment, at: at + draft.at };
    if (meta === null) {
      const left = Array.from({ length: handed }, (_, index) => index);
      journal.hand({ message: id, record, metaOctets, contentOctets, contentCrc, left });
    } else {
      const place = { segment, at: at + contentAt(draft) };
      journal.queue({ id, submission: meta, place, contentOctets, contentCrc });
    }
  }

  #concluded(draft: OutcomeDraft, { segment, at }: Place): void {
    const { journal } = this.#parts;
    const { firstId, outcome, plan } = draft;
    const content = { segment, at: at + contentAt(draft) };
    const notices: Placed[] = placeNotices(outcome.notices, firstId, content);
    for (const { message, index } of plan.released) journal.release(message, index);
    journal.conclude(outcome, notices);
  }

  #room(octets: number): Buffer {
    if (octets <= this.#scratch.length) return this.#scratch;
    const room = Buffer.allocUnsafeSlow(octets);
    if (octets <= SCRATCH_OCTETS_MAX) this.#scratch = room;
    return room;
  }
}

const noticeOf = (notice: Submission): Notice => {
  const { content, headroom: _, ...meta } = notice;
  return { meta, contentOctets: content.length, contentCrc: crc32(content) };
};

const sum = (notices: readonly Notice[]): number =>
  notices.reduce((octets, { contentOctets }) => octets + contentOctets, 0);
