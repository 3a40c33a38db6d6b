/**
 * The vocabulary that every part of the mta shares: who sends what to whom, and under which id.
 *
 * Invariant: an address in an {@link Envelope} has no CR, LF, NUL, space outside quotes, or angle
 * bracket; intake is the one place that admits addresses, so that no later part can inject.
 */

/**
 * Identity of one accepted message: a safe integer, rising with acceptance, never reused.
 * The upper bits are milliseconds since {@link MESSAGE_EPOCH_MS}, the lower twelve count within one.
 */
export type MessageId = number;

/** 2025-01-01T00:00:00Z; 41 bits of milliseconds from here last until 2094. */
export const MESSAGE_EPOCH_MS = 1_735_689_600_000;
export const MESSAGES_PER_MS = 4096;

/** One recipient of one message; its public id is {@link formatRecipientId}. */
export interface RecipientKey {
  readonly message: MessageId;
  /** Index in the order of acceptance, from 0. */
  readonly index: number;
}

export interface Recipient {
  readonly index: number;
  /** Forward-path without angle brackets: local-part@domain as the client wrote it. */
  readonly address: string;
  /** Domain to route by: A-labels in lower case without final dot, or an address literal "[192.0.2.1]". */
  readonly domain: string;
  /** What the front door wants to know of it again, such as its NOTIFY and ORCPT; the spool keeps it unread. */
  readonly extra?: string;
}

/** Message classes, the first served first: 'urgent' is what somebody waits for, such as a password reset. */
export const PRIORITIES = ['urgent', 'normal', 'bulk'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** What a tenant or a campaign may be called. */
export const LABEL = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/**
 * When a message may be acknowledged. 'fsync': once it would survive loss of power. 'memory': once it is
 * written, so that it survives the end of this process; what the kernel has not put on the disk a moment
 * later goes with the machine.
 */
export const DURABILITIES = ['fsync', 'memory'] as const;
export type Durability = (typeof DURABILITIES)[number];

export type Body = '7bit' | '8bitmime';

export interface Envelope {
  /** Without angle brackets; '' is the null reverse-path (RFC 5321 §4.5.5). */
  readonly reversePath: string;
  readonly recipients: readonly Recipient[];
  readonly body: Body;
  /** The client used SMTPUTF8 (RFC 6531), so the next hop must offer it. */
  readonly smtpUtf8: boolean;
}

/** A message about to be accepted. `content` is owned by the receiver from here on. */
export interface Submission {
  readonly envelope: Envelope;
  /** Header and body, CRLF line endings, ends with CRLF, not dot-stuffed. */
  readonly content: Uint8Array;
  /** Octets before `content` in its own buffer that nobody else uses, to be written by whoever puts fields in front. */
  readonly headroom?: number;
  /** Wall milliseconds. */
  readonly receivedAtMs: number;
  /** Where it came from, for events and `why`: "smtp 192.0.2.1", "http", "dsn". */
  readonly origin: string;
  /** Default 'normal'. */
  readonly priority?: Priority;
  /** On whose behalf; tenants share a site's capacity equally. A {@link LABEL}; default '', nobody in particular. */
  readonly tenant?: string;
  /** A {@link LABEL}; default '', none. */
  readonly campaign?: string;
  /** Wall ms before which it is not tried; default receivedAtMs. */
  readonly notBeforeMs?: number;
  /** What the front door wants to know of it again, such as metadata, ENVID and RET; the spool keeps it unread. */
  readonly extra?: string;
  /** Default 'fsync'. */
  readonly durability?: Durability;
  /** Keeps a client's repetition from becoming a second message. */
  readonly once?: Once;
}

/** A client's name for its request: a second submission under it is refused with SubmittedBefore. */
export interface Once {
  /** Unique among all clients. */
  readonly key: string;
  /** Of the request, so that another request under the same key is seen to be another. */
  readonly digest: string;
  /** Wall ms until which the key is remembered, whatever becomes of the message. */
  readonly untilMs: number;
}

const BASE32 = '0123456789abcdefghjkmnpqrstvwxyz';
const ID_DIGITS = 11;
/** Two digits each. */
const BASE1024 = Array.from({ length: 1024 }, (_, n) => `${BASE32[n >>> 5]}${BASE32[n & 31]}`);

/** @returns eleven characters of Crockford base 32 in lower case; they sort as the ids do */
export function formatMessageId(id: MessageId): string {
  // In two parts, as integers of 32 bits are quicker to take apart: five digits, and six.
  const high = Math.floor(id / 2 ** 30);
  const low = id % 2 ** 30;
  const head = BASE32[high >>> 20]! + BASE1024[(high >>> 10) & 1023]! + BASE1024[high & 1023]!;
  return head + BASE1024[low >>> 20]! + BASE1024[(low >>> 10) & 1023]! + BASE1024[low & 1023]!;
}

/** @returns the id, or null when the text is none */
export function parseMessageId(text: string): MessageId | null {
  if (text.length !== ID_DIGITS) return null;
  let id = 0;
  for (const character of text.toLowerCase()) {
    const digit = BASE32.indexOf(character);
    if (digit === -1) return null;
    id = id * 32 + digit;
  }
  return Number.isSafeInteger(id) ? id : null;
}

export const formatRecipientId = (key: RecipientKey): string =>
  `${formatMessageId(key.message)}.${key.index}`;

/** @returns the key, with index null when the text names the whole message; null when it is no id */
export function parseId(text: string): { message: MessageId; index: number | null } | null {
  const [head, tail, ...rest] = text.split('.');
  const message = parseMessageId(head ?? '');
  if (message === null || rest.length > 0) return null;
  if (tail === undefined) return { message, index: null };
  return /^\d{1,6}$/.test(tail) ? { message, index: Number(tail) } : null;
}
