/** Owns how the HTTP door says no: one shape, stable codes, and when to come back. */
import { IntakeBusy, MessageNotSigned, ScreenUnavailable, SpoolUnavailable } from '../errors.ts';
import { type ContentFault, FAULT_TEXT } from './content.ts';
import type { Refusal } from './counters.ts';

export type ProblemCode =
  | 'bad_address'
  | 'bad_content'
  | 'busy'
  | 'forbidden'
  | 'idempotency_conflict'
  | 'internal'
  | 'invalid_body'
  | 'invalid_field'
  | 'not_signed'
  | 'rate_limited'
  | 'shutting_down'
  | 'spool_unavailable'
  | 'suppressed'
  | 'suppression_unavailable'
  | 'too_large'
  | 'too_many_recipients'
  | 'unauthorized'
  | 'unknown_field'
  | 'unsupported_media_type';

/** Soon enough for a burst to have passed, and for a disk to have been looked at. */
const RETRY_BUSY_SECONDS = 1;
const RETRY_SPOOL_SECONDS = 10;

const REASON: Readonly<Record<ProblemCode, Refusal>> = {
  bad_address: 'address',
  bad_content: 'header',
  busy: 'busy',
  forbidden: 'relay',
  idempotency_conflict: 'syntax',
  internal: 'internal',
  invalid_body: 'syntax',
  invalid_field: 'syntax',
  not_signed: 'signing',
  rate_limited: 'rate',
  shutting_down: 'busy',
  spool_unavailable: 'spool',
  suppressed: 'suppressed',
  suppression_unavailable: 'busy',
  too_large: 'size',
  too_many_recipients: 'recipients',
  unauthorized: 'auth',
  unknown_field: 'syntax',
  unsupported_media_type: 'syntax',
};

const CONTENT_REASON: Readonly<Record<ContentFault, Refusal>> = {
  'bare-cr': 'line-ending',
  'bare-lf': 'line-ending',
  nul: 'nul',
  'line-length': 'line-length',
  size: 'size',
  header: 'header',
  'header-size': 'header',
  loop: 'loop',
};

/** A request that is answered with a problem. */
export class InjectionRefused extends Error {
  override readonly name = 'InjectionRefused';
  readonly code: ProblemCode;
  readonly status: number;
  readonly reason: Refusal;
  /** Field of the request, and index in it where it is a list; null where that says nothing. */
  readonly field: string | null;
  readonly index: number | null;
  readonly retryAfterSeconds: number | null;

  constructor(
    status: number,
    code: ProblemCode,
    message: string,
    details: {
      readonly field?: string | null;
      readonly index?: number | null;
      readonly retryAfterSeconds?: number;
      readonly reason?: Refusal;
    } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.reason = details.reason ?? REASON[code];
    this.field = details.field ?? null;
    this.index = details.index ?? null;
    this.retryAfterSeconds = details.retryAfterSeconds ?? null;
  }

  /** Body of the answer. */
  body(): { error: Record<string, string | number> } {
    return {
      error: {
        code: this.code,
        message: this.message,
        ...(this.field === null ? {} : { field: this.field }),
        ...(this.index === null ? {} : { index: this.index }),
      },
    };
  }
}

export const busyProblem = (bound: string): InjectionRefused =>
  new InjectionRefused(503, 'busy', `too much mail at once (bound ${bound})`, {
    retryAfterSeconds: RETRY_BUSY_SECONDS,
  });

export const tooLarge = (octetsMax: number): InjectionRefused =>
  new InjectionRefused(413, 'too_large', `larger than ${octetsMax} octets (bound message_bytes)`);

export const contentProblem = (fault: ContentFault): InjectionRefused =>
  new InjectionRefused(400, 'bad_content', FAULT_TEXT[fault], { reason: CONTENT_REASON[fault] });

/** What becomes of anything that was thrown on the way. */
export function problemOf(error: unknown): InjectionRefused {
  if (error instanceof InjectionRefused) return error;
  if (error instanceof IntakeBusy) return busyProblem(error.bound);
  if (error instanceof SpoolUnavailable) {
    const text = `mail cannot be kept: ${error.trouble}`;
    return new InjectionRefused(503, 'spool_unavailable', text, {
      retryAfterSeconds: RETRY_SPOOL_SECONDS,
    });
  }
  if (error instanceof MessageNotSigned) {
    const text = 'the message cannot be signed (DKIM)';
    return new InjectionRefused(503, 'not_signed', text, {
      retryAfterSeconds: RETRY_SPOOL_SECONDS,
    });
  }
  if (error instanceof ScreenUnavailable) {
    return new InjectionRefused(503, 'suppression_unavailable', error.message, {
      retryAfterSeconds: RETRY_SPOOL_SECONDS,
    });
  }
  // Fastify's own refusals of a request.
  if (statusOf(error) === 415) {
    const text = 'send application/json or message/rfc822';
    return new InjectionRefused(415, 'unsupported_media_type', text);
  }
  if (statusOf(error) === 413) return new InjectionRefused(413, 'too_large', 'body too large');
  if (statusOf(error) === 400)
    return new InjectionRefused(400, 'invalid_body', 'the request cannot be read');
  return new InjectionRefused(500, 'internal', 'local error, try again later');
}

const statusOf = (error: unknown): number | null =>
  error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : null;
