/** Replies as RFC 5321 §4.2 defines them, with enhanced status codes (RFC 3463). */
export interface Reply {
  /** 200 to 599. */
  readonly code: number;
  /** "5.1.1", or null when the server sent none. */
  readonly enhanced: string | null;
  /** Text of each line, without code and enhanced code; printable, bounded. */
  readonly lines: readonly string[];
}
