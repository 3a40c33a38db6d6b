/** What a peer asks for when it asks for patience. A hint only: whether to retry is decided by code, never by text. */
import type { Reply } from './smtp/reply.ts';

/** Text of a reply looked at for a hint, characters. */
const HINT_TEXT_MAX = 1024;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/**
 * What a 4yz reply asks for: "try again in 300 seconds", "retry after 5 minutes", "come back in
 * 00:05:00".
 *
 * @returns milliseconds, unbounded and untrusted; null when the reply says nothing of the kind
 */
export function retryHintMs(reply: Reply): number | null {
  if (reply.code < 400 || reply.code > 499) return null;
  const text = reply.lines.join(' ').slice(0, HINT_TEXT_MAX);
  const clock = /\b(?:in|after|for|wait)\s+(\d{1,2}):(\d{2}):(\d{2})\b/i.exec(text);
  if (clock !== null) {
    const [hours, minutes, seconds] = clock.slice(1).map(Number);
    return hours! * UNIT_MS.h! + minutes! * UNIT_MS.m! + seconds! * UNIT_MS.s!;
  }
  const spoken =
    /\b(?:in|after|for|wait|least)\s+(\d{1,6})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b/i.exec(
      text,
    );
  return spoken === null ? null : Number(spoken[1]) * UNIT_MS[spoken[2]![0]!.toLowerCase()]!;
}
