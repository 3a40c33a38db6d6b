/**
 * Judges a host's certificate by its TLSA records (RFC 7671, RFC 7672 §3), in place of any authority.
 * Pure: certificates and the present are handed in.
 */
import { createHash, type X509Certificate } from 'node:crypto';
import type { Tlsa } from '../tlsa.ts';

/** Certificates of a chain that are looked at. */
export const CHAIN_MAX = 10;

/**
 * @param chain as the host sent it, its own certificate first; each the issuer of the one before
 * @param nowMs wall
 * @returns null when a record vouches for the host, else a code why not
 */
export function daneFault(
  records: readonly Tlsa[],
  chain: readonly X509Certificate[],
  host: string,
  nowMs: number,
): string | null {
  const own = chain[0];
  if (own === undefined) return 'NO_CERTIFICATE';
  // RFC 7672 §3.1.1: the key is what counts, neither name nor validity.
  if (records.some((record) => record.usage === 3 && matches(record, own))) return null;
  let fault = 'TLSA_MISMATCH';
  for (let at = 1; at < Math.min(chain.length, CHAIN_MAX); at += 1) {
    const anchor = chain[at]!;
    if (!records.some((record) => record.usage === 2 && matches(record, anchor))) continue;
    const problem = chainFault(chain.slice(0, at + 1), host, nowMs);
    if (problem === null) return null;
    fault = problem;
  }
  return fault;
}

/** RFC 7672 §3.1.2: below the anchor the usual rules hold: signatures, validity, and the host's name. */
function chainFault(chain: readonly X509Certificate[], host: string, nowMs: number): string | null {
  for (const [at, certificate] of chain.entries()) {
    if (nowMs < certificate.validFromDate.getTime()) return 'CERT_NOT_YET_VALID';
    if (nowMs > certificate.validToDate.getTime()) return 'CERT_HAS_EXPIRED';
    const issuer = chain[at + 1];
    if (issuer === undefined) break;
    const issued = issuer.ca && certificate.checkIssued(issuer);
    if (!issued || !certificate.verify(issuer.publicKey)) return 'CERT_SIGNATURE_FAILURE';
  }
  return chain[0]!.checkHost(host) === undefined ? 'ERR_TLS_CERT_ALTNAME_INVALID' : null;
}

function matches({ selector, matching, data }: Tlsa, certificate: X509Certificate): boolean {
  const octets =
    selector === 0
      ? certificate.raw
      : certificate.publicKey.export({ type: 'spki', format: 'der' });
  if (matching === 0) return octets.toString('hex') === data;
  return (
    createHash(matching === 1 ? 'sha256' : 'sha512')
      .update(octets)
      .digest('hex') === data
  );
}
