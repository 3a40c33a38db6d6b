/**
 * Command lines, with their CRLF. By construction no argument can end a line or leave its angle
 * brackets: what is not a plain mailbox is refused with {@link UnwritableArgument}, a mistake of
 * ours, since intake admits only clean addresses.
 */
import { isAscii } from 'node:buffer';
import type { Capabilities } from './capabilities.ts';
import type { Reply } from './reply.ts';
import type { Transaction } from './transaction.ts';

/** RFC 5321 §4.5.3.1.3 says 256; some writers need more, and 512 is the whole line. */
const PATH_OCTETS_MAX = 500;

/** An argument that cannot be part of a command line. */
export class UnwritableArgument extends Error {
  override readonly name = 'UnwritableArgument';
  readonly code = 'MTA_UNWRITABLE_ARGUMENT';
  constructor(what: string, argument: string) {
    super(`${what} cannot be written in a command: ${JSON.stringify(argument.slice(0, 100))}`);
  }
}

/** A quoted pair stays ASCII under SMTPUTF8 too (RFC 6531 §3.3). */
const QUOTED = String.raw`"(?:[^\p{Cc}\p{Zl}\p{Zp}"\\]|\\[\x20-\x7e])*"`;
const ATOMS = String.raw`[^\p{Cc}\p{Z}<>()\[\]\\,;:@"]+`;
const DOMAIN = String.raw`[^\p{Cc}\p{Z}<>()\[\]\\,;:@"]+|\[[A-Za-z0-9:.-]+\]`;
/** Local part (dot-string or quoted string), "@", domain or address literal (RFC 5321 §4.1.2). */
const MAILBOX = new RegExp(`^(?:${QUOTED}|${ATOMS})@(?:${DOMAIN})$`, 'u');
/** What nearly every address is; nine times faster to test than MAILBOX. */
const PLAIN_MAILBOX = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$/;
const CLIENT_NAME = /^(?:[A-Za-z0-9._-]+|\[[A-Za-z0-9:.-]+\])$/;
const ASCII = /^[\x20-\x7e]*$/;

/** @param smtpUtf8 the transaction says SMTPUTF8, so that UTF-8 may stand in addresses (RFC 6531 §3.3) */
export const isWritable = (address: string, smtpUtf8: boolean): boolean =>
  address.length <= PATH_OCTETS_MAX &&
  (PLAIN_MAILBOX.test(address) || isWritableRarely(address, smtpUtf8));

const isWritableRarely = (address: string, smtpUtf8: boolean): boolean =>
  MAILBOX.test(address) && (ASCII.test(address) || (smtpUtf8 && address.isWellFormed()));

/** The null reverse-path is writable too. */
export const isWritableReversePath = (address: string, smtpUtf8: boolean): boolean =>
  address === '' || isWritable(address, smtpUtf8);

export const DATA = 'DATA\r\n';
export const RSET = 'RSET\r\n';
export const QUIT = 'QUIT\r\n';
export const STARTTLS = 'STARTTLS\r\n';

/** @throws UnwritableArgument */
export const ehlo = (clientName: string): string => `EHLO ${checkedName(clientName)}\r\n`;
/** @throws UnwritableArgument */
export const helo = (clientName: string): string => `HELO ${checkedName(clientName)}\r\n`;

/**
 * The parameters say only what the host offers (RFC 1870, 3461, 6152, 6531).
 * @throws UnwritableArgument
 */
export function mail(transaction: Transaction, offered: Capabilities): string {
  const { reversePath, smtpUtf8 } = transaction;
  if (!isWritableReversePath(reversePath, smtpUtf8)) {
    throw new UnwritableArgument('reverse-path', reversePath);
  }
  const size = offered.size ? ` SIZE=${transaction.content.length}` : '';
  const body = transaction.body === '8bitmime' && offered.eightBitMime ? ' BODY=8BITMIME' : '';
  const utf8 = smtpUtf8 && offered.smtpUtf8 ? ' SMTPUTF8' : '';
  const dsn = offered.dsn ? (transaction.dsn?.mail ?? '') : '';
  const requireTls = transaction.requireTls === true && offered.requireTls ? ' REQUIRETLS' : '';
  return `MAIL FROM:<${reversePath}>${size}${body}${utf8}${dsn}${requireTls}\r\n`;
}

/**
 * @param parameters "" or, each behind a space, what the host offers to understand
 * @throws UnwritableArgument
 */
export function rcpt(address: string, smtpUtf8: boolean, parameters = ''): string {
  if (!isWritable(address, smtpUtf8)) throw new UnwritableArgument('forward-path', address);
  return `RCPT TO:<${address}>${parameters}\r\n`;
}

/** The whole message as one chunk (RFC 3030 §2). */
export const bdatLast = (octets: number): string => `BDAT ${octets} LAST\r\n`;

function checkedName(clientName: string): string {
  if (!CLIENT_NAME.test(clientName)) throw new UnwritableArgument('client name', clientName);
  return clientName;
}

/**
 * Why this host cannot take this message at all, worded as the reply it would have given to MAIL;
 * null when it can. A message declared 8BITMIME that is plain ASCII goes anywhere.
 *
 * @param proven TLS is up and the host has proven its name, to authorities or by DANE
 */
export function unfit(
  transaction: Transaction,
  offered: Capabilities,
  proven: boolean,
): Reply | null {
  if (!isWritableReversePath(transaction.reversePath, transaction.smtpUtf8)) {
    return localReply(553, '5.1.7', 'the reverse-path cannot be written in an SMTP command');
  }
  if (transaction.smtpUtf8 && !offered.smtpUtf8) {
    return localReply(550, '5.6.7', 'the message needs SMTPUTF8, which the host does not offer');
  }
  // A notice goes on without it rather than be lost (RFC 8689 §5).
  const mustProve = transaction.requireTls === true && transaction.reversePath !== '';
  if (mustProve && !(proven && offered.requireTls)) {
    const why = proven ? 'which the host does not offer' : 'and the host has not proven its name';
    return localReply(550, '5.7.30', `the message asks for REQUIRETLS (RFC 8689), ${why}`);
  }
  if (offered.sizeMax !== null && transaction.content.length > offered.sizeMax) {
    return localReply(
      552,
      '5.3.4',
      `the message has ${transaction.content.length} octets, the host takes ${offered.sizeMax}`,
    );
  }
  if (transaction.body === '8bitmime' && !offered.eightBitMime && !isAscii(transaction.content)) {
    return localReply(554, '5.6.3', 'the message needs 8BITMIME, which the host does not offer');
  }
  return null;
}

export const localReply = (code: number, enhanced: string, text: string): Reply => ({
  code,
  enhanced,
  lines: [text],
});
