/** The TXT record by which a domain asks for TLS reports (RFC 8460 §3). Everything in it is untrusted. */

/** Destinations of one record that are served; more would make us a cannon for whoever writes it. */
export const DESTINATIONS_MAX = 4;
const RECORD_LENGTH_MAX = 2_048;
const URI_LENGTH_MAX = 1_024;

export type Destination =
  /** An address, still to be admitted by whoever sends mail to it. */
  | { readonly kind: 'mail'; readonly address: string }
  | { readonly kind: 'web'; readonly url: string };

/**
 * @param records of _smtp._tls.DOMAIN, each as its character-strings
 * @returns where reports are wanted, first DESTINATIONS_MAX; empty when there is not exactly one record
 *   of version TLSRPTv1, or it names nothing that can be served
 */
export function parseTlsRptRecord(records: readonly (readonly string[])[]): Destination[] {
  const ours = records
    .map((strings) => strings.join(''))
    .filter((text) => /^v=TLSRPTv1[ \t]*;/.test(text));
  if (ours.length !== 1 || ours[0]!.length > RECORD_LENGTH_MAX) return [];
  const [, ...fields] = ours[0]!.split(';');
  const rua = fields.map((field) => /^[ \t]*rua[ \t]*=(.*)$/s.exec(field)?.[1]);
  const uris = rua.find((value) => value !== undefined)?.split(',') ?? [];
  return uris.flatMap((uri) => destinationOf(uri.trim()) ?? []).slice(0, DESTINATIONS_MAX);
}

function destinationOf(uri: string): Destination | null {
  if (uri.length > URI_LENGTH_MAX || !/^[\x21-\x7e]+$/.test(uri)) return null;
  if (/^https:\/\/[^/@]/i.test(uri)) return webOf(uri);
  const address = /^mailto:([^?]+)/i.exec(uri)?.[1];
  if (address === undefined) return null;
  try {
    // RFC 6068 §2: one address; commas and "!" are written in percent, as in "," for the list itself.
    return { kind: 'mail', address: decodeURIComponent(address) };
  } catch {
    return null;
  }
}

function webOf(uri: string): Destination | null {
  if (!URL.canParse(uri)) return null;
  const { protocol, username, password, href } = new URL(uri);
  if (protocol !== 'https:' || username !== '' || password !== '') return null;
  return { kind: 'web', url: href };
}
