/** Why a recipient waits, as its row keeps it. */
import type { WaitReason } from './spool.ts';

/** All NULL until the first attempt ends: most rows never have a reason, and so stay small. */
export interface ReasonColumns {
  readonly reason_code: string | null;
  readonly reason_text: string | null;
  readonly reason_since_ms: number | null;
}

export const reasonOf = (row: ReasonColumns, receivedAtMs: number): WaitReason => ({
  code: row.reason_code ?? 'new',
  text: row.reason_text ?? 'not tried yet',
  sinceMs: row.reason_since_ms ?? receivedAtMs,
});
