/** Notices as the record of their outcome has them: contents one behind the other, ids counting up. */
import type { MessageId } from '../envelope.ts';
import type { Placed } from './append.ts';
import type { Notice } from './journal.ts';
import type { Place } from './segments.ts';

/** @param content where the contents begin. @param firstId of the first */
export function placeNotices(
  notices: readonly Notice[],
  firstId: MessageId,
  content: Place,
): Placed[] {
  let at = content.at;
  return notices.map(({ meta, contentOctets, contentCrc }, n) => {
    const place = { segment: content.segment, at };
    at += contentOctets;
    return { id: firstId + n, submission: meta, place, contentOctets, contentCrc };
  });
}
