/** What a host offers: its reply to EHLO (RFC 5321 §4.1.1.1), read leniently. */
import type { Reply } from './reply.ts';

export interface Capabilities {
  readonly pipelining: boolean;
  readonly startTls: boolean;
  readonly eightBitMime: boolean;
  readonly smtpUtf8: boolean;
  readonly chunking: boolean;
  /** RFC 3461. */
  readonly dsn: boolean;
  readonly requireTls: boolean;
  readonly enhancedStatusCodes: boolean;
  /** SIZE is known as a MAIL parameter. */
  readonly size: boolean;
  /** Octets of the largest message (RFC 1870); null when there is no fixed one. */
  readonly sizeMax: number | null;
  /** Transactions in one session (RFC 9422 MAILMAX); null when not told. */
  readonly transactionsMax: number | null;
  /** Recipients of one transaction (RFC 9422 RCPTMAX); null when not told. */
  readonly recipientsMax: number | null;
}

/** What a host offers that knows only HELO, or that has not been asked yet. */
export const NO_CAPABILITIES: Capabilities = {
  pipelining: false,
  startTls: false,
  eightBitMime: false,
  smtpUtf8: false,
  chunking: false,
  dsn: false,
  requireTls: false,
  enhancedStatusCodes: false,
  size: false,
  sizeMax: null,
  transactionsMax: null,
  recipientsMax: null,
};

/** @param reply the 250 to EHLO; its first line is the greeting and names no keyword */
export function readCapabilities(reply: Reply): Capabilities {
  const parameters = new Map<string, string>();
  for (const line of reply.lines.slice(1)) {
    const [, keyword, rest] = /^([A-Za-z0-9][A-Za-z0-9-]*)(.*)$/.exec(line) ?? [];
    if (keyword !== undefined) parameters.set(keyword.toUpperCase(), rest!.trim());
  }
  const limits = parameters.get('LIMITS') ?? '';
  // RFC 1870 §4: zero means that no fixed maximum is in force.
  const sizeMax = positiveInteger(parameters.get('SIZE') ?? '');
  return {
    pipelining: parameters.has('PIPELINING'),
    startTls: parameters.has('STARTTLS'),
    eightBitMime: parameters.has('8BITMIME'),
    smtpUtf8: parameters.has('SMTPUTF8'),
    chunking: parameters.has('CHUNKING'),
    dsn: parameters.has('DSN'),
    requireTls: parameters.has('REQUIRETLS'),
    enhancedStatusCodes: parameters.has('ENHANCEDSTATUSCODES'),
    size: parameters.has('SIZE'),
    sizeMax,
    transactionsMax: limitOf(limits, 'MAILMAX'),
    recipientsMax: limitOf(limits, 'RCPTMAX'),
  };
}

/** RFC 9422 §3: NAME=value pairs, separated by spaces. */
const limitOf = (limits: string, name: string): number | null =>
  positiveInteger(
    limits
      .split(' ')
      .find((pair) => pair.toUpperCase().startsWith(`${name}=`))
      ?.slice(name.length + 1) ?? '',
  );

function positiveInteger(text: string): number | null {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  return value > 0 ? value : null;
}
