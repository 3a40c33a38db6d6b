/** Owns the replies of the SMTP door: their form, one table for content, one for what acceptance may throw. */
import { IntakeBusy, MessageNotSigned, type SpoolTrouble, SpoolUnavailable } from '../errors.ts';
import { type ContentFault, FAULT_TEXT } from './content.ts';
import type { Refusal } from './counters.ts';

export interface Refused {
  readonly reason: Refusal;
  /** Code, enhanced status code (RFC 3463), text; printable ASCII, no line end. */
  readonly reply: string;
}

export interface Step {
  /** Lines without the last CRLF; '' says nothing. */
  readonly reply: string;
  /** What the session does when the reply is on its way; verify: ask verify() for the next step. */
  readonly next: 'command' | 'content' | 'secure' | 'verify' | 'close';
}

export const say = (reply: string): Step => ({ reply, next: 'command' });

export const refused = (reason: Refusal, reply: string): Refused => ({ reason, reply });

/** 554 and not 500: that is for command lines, and after DATA it is not a reply a client expects (RFC 5321 §4.3.2). */
const CONTENT: Readonly<Record<ContentFault, Refused>> = {
  'bare-cr': refused('line-ending', `554 5.6.0 ${FAULT_TEXT['bare-cr']}`),
  'bare-lf': refused('line-ending', `554 5.6.0 ${FAULT_TEXT['bare-lf']}`),
  nul: refused('nul', `554 5.6.0 ${FAULT_TEXT.nul}`),
  'line-length': refused('line-length', `554 5.6.0 ${FAULT_TEXT['line-length']}`),
  size: refused('size', `552 5.3.4 ${FAULT_TEXT.size}`),
  header: refused('header', `554 5.6.0 ${FAULT_TEXT.header}`),
  'header-size': refused('header', `552 5.3.4 ${FAULT_TEXT['header-size']}`),
  loop: refused('loop', `554 5.4.6 ${FAULT_TEXT.loop}`),
};

const SPOOL: Readonly<Record<SpoolTrouble, string>> = {
  full: '452 4.3.1 no space left to keep mail',
  reserve: '452 4.3.1 too little space left to keep mail (spool_reserve)',
  'read-only': '451 4.3.0 the spool is read-only',
  'not-writable': '451 4.3.0 the spool cannot be written',
  'in-use': '451 4.3.0 the spool is in use by another process',
  io: '451 4.3.0 the spool cannot be written',
  closed: '421 4.3.2 shutting down',
};

export const refusedContent = (fault: ContentFault): Refused => CONTENT[fault];

export const busyReply = (bound: string): Refused =>
  refused('busy', `452 4.3.1 too much mail at once, try again later (bound ${bound})`);

/** What the client is told when acceptance fails; all temporary, for nothing of it is the message's fault. */
export function refusedAcceptance(error: unknown): Refused {
  if (error instanceof SpoolUnavailable) return refused('spool', SPOOL[error.trouble]);
  if (error instanceof IntakeBusy) return busyReply(error.bound);
  if (error instanceof MessageNotSigned) {
    return refused('signing', '451 4.7.5 the message cannot be signed (DKIM), try again later');
  }
  return refused('internal', '451 4.3.0 local error, try again later');
}
