/** Owns the parameters of MAIL (RFC 5321 §4.1.2 and its extensions): what they say, and which are refused. */
import type { Priority } from '../envelope.ts';
import type { MessageExtra } from '../extra.ts';
import { readMailDsn } from './dsn-parameters.ts';
import { readPriority } from './mt-priority.ts';
import { type Refused, refused } from './replies.ts';

export interface MailParameters {
  readonly utf8: boolean;
  /** SIZE as announced, 0 when it was not. */
  readonly octets: number;
  /** RET, ENVID and REQUIRETLS. */
  readonly extra: MessageExtra;
  readonly priority: Priority;
}

const NONE: MailParameters = { utf8: false, octets: 0, extra: {}, priority: 'normal' };
/** Their bad values are told from parameters that nobody knows. */
const KNOWN: ReadonlySet<string> = new Set(['SIZE', 'SMTPUTF8', 'BODY', 'AUTH', 'MT-PRIORITY']);

/** @param secure over TLS, where REQUIRETLS is offered (RFC 8689 §4.1) */
export function readMailParameters(
  parameters: ReadonlyMap<string, string>,
  secure: boolean,
): MailParameters | Refused {
  if (parameters.size === 0) return NONE;
  let { utf8, octets, priority } = NONE;
  let requireTls = false;
  for (const [name, value] of parameters) {
    if (name === 'SIZE' && /^\d{1,20}$/.test(value)) octets = Number(value);
    else if (name === 'SMTPUTF8' && value === '') utf8 = true;
    // What the body is, the body will tell; a client that declares 7BIT and sends octets above 127 is
    // believed about neither, as refusing would lose mail that every server carries.
    else if (name === 'BODY' && /^(7BIT|8BITMIME)$/i.test(value)) continue;
    // RFC 4954 §5: must be understood where AUTH is offered; we vouch for no one, so it goes no further.
    else if (name === 'AUTH' && value !== '') continue;
    else if (name === 'RET' || name === 'ENVID') continue;
    else if (name === 'REQUIRETLS' && value === '' && secure) requireTls = true;
    else if (name === 'MT-PRIORITY' && readPriority(value) !== null) {
      priority = readPriority(value)!;
    } else if (KNOWN.has(name)) return refused('syntax', `501 5.5.4 bad value of ${name}`);
    else return refused('syntax', '555 5.5.4 MAIL parameter not recognized');
  }
  const dsn = readMailDsn(parameters);
  if (dsn === null) return refused('syntax', '501 5.5.4 bad value of RET or ENVID');
  return { utf8, octets, extra: requireTls ? { ...dsn, requireTls } : dsn, priority };
}
