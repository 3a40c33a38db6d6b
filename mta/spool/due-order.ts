/** The order in which the rows of a lane of a domain fall due: that of the index `recipients_due`. */
import type { MessageId } from '../envelope.ts';
import type { Lane } from './lanes.ts';

/** One lane of one domain. */
export interface Queue {
  readonly domain: string;
  readonly lane: Lane;
}

/** In the order of the rows: (dueMs, message, index). */
export interface Place {
  readonly dueMs: number;
  readonly message: MessageId;
  readonly index: number;
}

/** Before every row. */
export const FIRST_PLACE: Place = { dueMs: Number.MIN_SAFE_INTEGER, message: 0, index: 0 };

/** An entry of the index, which alone is read: most of what is read ahead is only looked at. */
export interface DueRow {
  readonly due_ms: number;
  readonly message: MessageId;
  readonly n: number;
}

export const placeOf = ({ due_ms: dueMs, message, n: index }: DueRow): Place => ({
  dueMs,
  message,
  index,
});

export const isBefore = (a: Place, b: Place): boolean =>
  a.dueMs !== b.dueMs
    ? a.dueMs < b.dueMs
    : a.message !== b.message
      ? a.message < b.message
      : a.index < b.index;
