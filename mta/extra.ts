/**
 * What the mta keeps with a message and its recipients in the spool's `extra`, which the spool never
 * reads: what a client asked to be told (RFC 3461), and its own metadata.
 *
 * Invariant: only what was checked at intake is written here, so that reading trusts it.
 */

/** RFC 3461 §4.1; none of them is NEVER. */
export type NotifyCondition = 'SUCCESS' | 'FAILURE' | 'DELAY';

export interface MessageExtra {
  /** Whether a notice is to return the whole message or its header alone. */
  readonly ret?: 'FULL' | 'HDRS';
  /** xtext, as the client wrote it. */
  readonly envid?: string;
  /** REQUIRETLS (RFC 8689): only over TLS that proves the host, to hosts that promise the same. */
  readonly requireTls?: true;
  /** The client's own, repeated in events. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface RecipientExtra {
  /** Absent: the default, which is failure and perhaps delay. Empty: NEVER. */
  readonly notify?: readonly NotifyCondition[];
  /** "rfc822;" and xtext, as the client wrote it. */
  readonly orcpt?: string;
  /** Wall ms before which its sender does not want it tried; kept while an operator holds it. */
  readonly notBeforeMs?: number;
  /** Wall ms at which the sender was told that it is late. */
  readonly warnedAtMs?: number;
}

/** @returns undefined when there is nothing to keep, which costs nothing */
export const writeExtra = (extra: MessageExtra | RecipientExtra): string | undefined =>
  Object.keys(extra).length === 0 ? undefined : JSON.stringify(extra);

const NOTHING = {};

export const readMessageExtra = (text: string | undefined): MessageExtra =>
  text === undefined ? NOTHING : (JSON.parse(text) as MessageExtra);

export const readRecipientExtra = (text: string | undefined): RecipientExtra =>
  text === undefined ? NOTHING : (JSON.parse(text) as RecipientExtra);

/** Does the client of this recipient want to hear of that? (RFC 3461 §4.1) */
export const wantsNotice = ({ notify }: RecipientExtra, condition: NotifyCondition): boolean =>
  notify === undefined ? condition === 'FAILURE' : notify.includes(condition);

/** " RET=… ENVID=…" as far as they are given (RFC 3461 §4.3, §4.4). */
export const mailParameters = ({ ret, envid }: MessageExtra): string =>
  `${ret === undefined ? '' : ` RET=${ret}`}${envid === undefined ? '' : ` ENVID=${envid}`}`;

/** " NOTIFY=… ORCPT=…" as far as they are given (RFC 3461 §4.1, §4.2). */
export const rcptParameters = ({ notify, orcpt }: RecipientExtra): string => {
  const conditions = notify?.length === 0 ? 'NEVER' : notify?.join(',');
  const asked = conditions === undefined ? '' : ` NOTIFY=${conditions}`;
  return orcpt === undefined ? asked : `${asked} ORCPT=${orcpt}`;
};

/** What xtext stands for (RFC 3461 §4); octets as latin1 characters. */
export const decodeXtext = (text: string): string =>
  text.replaceAll(/\+([0-9A-F]{2})/g, (_all, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
