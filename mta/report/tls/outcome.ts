/** What became of TLS in one session, or in finding out what TLS it needs: the facts behind TLS reports. */

/** RFC 8460 §4.3. */
export const RESULT_TYPES = [
  'starttls-not-supported',
  'certificate-host-mismatch',
  'certificate-expired',
  'certificate-not-trusted',
  'validation-failure',
  'tlsa-invalid',
  'dnssec-invalid',
  'sts-policy-fetch-error',
  'sts-policy-invalid',
  'sts-webpki-invalid',
] as const;
export type ResultType = (typeof RESULT_TYPES)[number];

/** The policy that a session was held to (RFC 8460 §4.4). */
export interface AppliedPolicy {
  readonly type: 'sts' | 'tlsa' | 'no-policy-found';
  /** Lines of the policy file, or TLSA RDATA in text; empty where none was to be had. */
  readonly strings: readonly string[];
  /** "mx" patterns of an MTA-STS policy, or the host of TLSA records. */
  readonly hosts: readonly string[];
}

export const NO_POLICY: AppliedPolicy = { type: 'no-policy-found', strings: [], hosts: [] };

export interface TlsFailure {
  readonly type: ResultType;
  /** MX host; '' where none was asked. */
  readonly host: string;
  /** Of the MX host; '' where none was called. */
  readonly address: string;
  /** Ours; '' where none was called. */
  readonly localAddress: string;
  /** A code of the TLS library or of ours, '' for none: never the peer's words. */
  readonly reason: string;
}

/** One session, or one attempt at it. */
export interface TlsOutcome {
  /** Policy domain: A-labels in lower case. */
  readonly domain: string;
  readonly policy: AppliedPolicy;
  /** null: the session was as the policy wants it. */
  readonly failure: TlsFailure | null;
}

export type TlsObserver = (outcome: TlsOutcome) => void;

/** Node's and OpenSSL's codes of what is wrong with a certificate, and our own of TLSA. */
const BY_FAULT: Readonly<Record<string, ResultType>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'certificate-host-mismatch',
  HOSTNAME_MISMATCH: 'certificate-host-mismatch',
  CERT_HAS_EXPIRED: 'certificate-expired',
  TLSA_MISMATCH: 'tlsa-invalid',
};

/** @param fault why a certificate was not accepted; null when nobody said */
export const certificateResult = (fault: string | null): ResultType =>
  BY_FAULT[fault ?? ''] ?? 'certificate-not-trusted';
