/**
 * Messages on their way to the spool's thread: records without headers in memory that both threads see,
 * so that a content is copied once and nothing is serialised.
 *
 * Invariant: the memory belongs to the other thread from layOut() until the reply to that batch.
 */
import type { Submission } from '../envelope.ts';
import { layOut, metaTextOf, nextAt, octetsMaxOf } from './draft.ts';
import { type AppendBlock, DRAFT_FIELDS } from './protocol.ts';

const OCTETS_MIN = 262_144;
/** Kept between batches; a larger batch gets memory of its own. */
const OCTETS_KEPT = 4 * 1_048_576;

export interface Outgoing {
  readonly submission: Submission;
  readonly handOver: boolean;
}

export class Arena {
  #memory = new SharedArrayBuffer(OCTETS_MIN);
  /** What the other thread takes it to be. */
  #shown: SharedArrayBuffer | null = null;

  /** @param outgoing not empty */
  layOut(outgoing: readonly Outgoing[]): AppendBlock {
    const texts: string[] = [];
    let octetsMax = 0;
    for (const { submission } of outgoing) {
      const text = metaTextOf(submission);
      texts.push(text);
      octetsMax += octetsMaxOf(text, submission.content.length);
    }
    const arena = this.#room(octetsMax);
    const buffer = Buffer.from(arena);
    const drafts = new Float64Array(outgoing.length * DRAFT_FIELDS);
    let end = 0;
    for (const [n, { submission, handOver }] of outgoing.entries()) {
      const draft = layOut(buffer, end, texts[n]!, [submission.content]);
      const at = n * DRAFT_FIELDS;
      drafts[at] = draft.at;
      drafts[at + 1] = draft.metaOctets;
      drafts[at + 2] = draft.contentOctets;
      drafts[at + 3] = handOver ? submission.envelope.recipients.length : 0;
      end = nextAt(draft);
    }
    const isShown = arena === this.#shown;
    this.#shown = arena;
    const synced = outgoing.some(({ submission }) => submission.durability !== 'memory');
    return { arena: isShown ? null : arena, octets: end, drafts, synced };
  }

  #room(octets: number): SharedArrayBuffer {
    if (octets <= this.#memory.byteLength) return this.#memory;
    const room = new SharedArrayBuffer(Math.max(octets, 2 * this.#memory.byteLength));
    if (room.byteLength <= OCTETS_KEPT) this.#memory = room;
    return room;
  }
}
