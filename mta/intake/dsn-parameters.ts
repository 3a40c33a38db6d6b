/** Owns the parameters of the DSN extension (RFC 3461 §4): RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT. */
import type { MessageExtra, NotifyCondition, RecipientExtra } from '../extra.ts';

/** RFC 3461 §4.4 and §4.2, in characters. */
const ENVID_LENGTH_MAX = 100;
const ORCPT_LENGTH_MAX = 500;
/** Printable ASCII but "+" and "=", or "+" and two hex digits (§4). */
const XTEXT = /^(?:[!-*,-<>-~]|\+[0-9A-F]{2})+$/;
const CONDITIONS: ReadonlySet<string> = new Set(['SUCCESS', 'FAILURE', 'DELAY']);

/** @returns null when a value is none the extension has; other parameters are passed over */
export function readMailDsn(parameters: ReadonlyMap<string, string>): MessageExtra | null {
  const ret = parameters.get('RET')?.toUpperCase();
  const envid = parameters.get('ENVID');
  if (ret !== undefined && ret !== 'FULL' && ret !== 'HDRS') return null;
  if (envid !== undefined && (envid.length > ENVID_LENGTH_MAX || !XTEXT.test(envid))) return null;
  return { ...(ret === undefined ? {} : { ret }), ...(envid === undefined ? {} : { envid }) };
}

/** @returns as {@link readMailDsn} */
export function readRcptDsn(parameters: ReadonlyMap<string, string>): RecipientExtra | null {
  const notify = parameters.get('NOTIFY');
  const orcpt = parameters.get('ORCPT');
  const conditions = notify === undefined ? undefined : readNotify(notify);
  if (conditions === null) return null;
  if (orcpt !== undefined && !isOrcpt(orcpt)) return null;
  return {
    ...(conditions === undefined ? {} : { notify: conditions }),
    ...(orcpt === undefined ? {} : { orcpt }),
  };
}

function readNotify(value: string): NotifyCondition[] | null {
  const words = value.toUpperCase().split(',');
  if (words.length === 1 && words[0] === 'NEVER') return [];
  const isList =
    words.every((word) => CONDITIONS.has(word)) && new Set(words).size === words.length;
  return isList ? (words as NotifyCondition[]) : null;
}

/** addr-type ";" xtext; the type is an atom. */
function isOrcpt(value: string): boolean {
  const split = value.indexOf(';');
  if (value.length > ORCPT_LENGTH_MAX || split < 1) return false;
  return /^[A-Za-z0-9-]+$/.test(value.slice(0, split)) && XTEXT.test(value.slice(split + 1));
}
