/**
 * The one place where it is known what became of TLS on a connection, and for whose mail: tells the
 * observer of TLS reports, once for each connection and policy domain (RFC 8460 §4.3).
 *
 * What counts as a failure is what the domain's policy asks for, also where the policy is only being
 * tested and mail goes on: a certificate is judged where DANE or MTA-STS speak of it, or where we ourselves
 * insist; otherwise TLS of any kind is a success.
 */

import { isRouted } from '../next-hop.ts';
import type { Target } from '../plan/route.ts';
import type { TlsaFault } from '../plan/security.ts';
import { type StsPolicy, stsNames } from '../plan/sts-policy.ts';
import {
  type AppliedPolicy,
  certificateResult,
  NO_POLICY,
  type ResultType,
  type TlsFailure,
  type TlsObserver,
} from '../report/tls/outcome.ts';
import type { CloseCause } from '../smtp/transaction.ts';
import type { Tlsa } from '../tlsa.ts';
import { isUnguarded } from '../unguarded.ts';
import type { Link } from './link.ts';

/** Domains that one failed call is told of. */
export const TOLD_DOMAINS_MAX = 64;
/** MX patterns repeated in a report. */
const PATTERNS_MAX = 32;

export class TlsWatch {
  readonly #observe: TlsObserver;
  readonly #policyOf: (domain: string) => StsPolicy | null;
  readonly #isRerouted: (domain: string) => boolean;

  /**
   * @param policyOf the MTA-STS policy in force, as far as known without asking
   * @param isRerouted an operator sends the mail of the domain elsewhere than to its MX hosts
   */
  constructor(
    observe: TlsObserver,
    policyOf: (domain: string) => StsPolicy | null,
    isRerouted: (domain: string) => boolean,
  ) {
    this.#observe = observe;
    this.#policyOf = policyOf;
    this.#isRerouted = isRerouted;
  }

  /** A connection was not to be had. @param domains whose mail it was for, at most TOLD_DOMAINS_MAX */
  failed(link: Link, cause: CloseCause, domains: Iterable<string>): void {
    const failure = failureOf(cause);
    if (failure === null) return;
    for (const domain of domains) {
      this.#tell(domain, this.#policyFor(domain, link.target), { ...failure, ...ends(link) });
    }
  }

  /** A ready connection takes up mail of these domains. */
  carries(link: Link, recipients: readonly { readonly domain: string }[]): void {
    // In clear by our own choice, or since TLS failed just now, which was told then.
    if (link.mode === 'none') return;
    for (const { domain } of recipients) {
      if (link.carried.has(domain)) continue;
      link.carried.add(domain);
      const policy = this.#policyFor(domain, link.target);
      const fault = this.#faultOf(link, domain, policy);
      this.#tell(domain, policy, fault === null ? null : { ...fault, ...ends(link) });
    }
  }

  /** A host that no mail may go to, since the policy does not name it. */
  unnamed(domain: string, host: string, policy: StsPolicy): void {
    this.#tell(domain, appliedSts(policy), { ...UNNAMED, host, address: '', localAddress: '' });
  }

  /** TLSA records of a host that are of no use; "invalid" is what the resolver does not vouch for. */
  tlsaFault(domain: string, host: string, fault: TlsaFault): void {
    const type = fault === 'unusable' ? 'tlsa-invalid' : 'dnssec-invalid';
    const policy: AppliedPolicy = { type: 'tlsa', strings: [], hosts: [host] };
    this.#tell(domain, policy, { type, host, address: '', localAddress: '', reason: '' });
  }

  /** The policy of a domain is announced and cannot be had. */
  policyFault(domain: string, type: ResultType, reason: string): void {
    const nobody = { host: '', address: '', localAddress: '' };
    this.#tell(domain, { type: 'sts', strings: [], hosts: [] }, { type, reason, ...nobody });
  }

  #faultOf(link: Link, domain: string, policy: AppliedPolicy): Fault | null {
    if (link.tls === null) return { type: 'starttls-not-supported', reason: '' };
    if (policy.type !== 'sts') return null;
    const sts = this.#policyOf(domain);
    if (sts !== null && !stsNames(sts, link.target.host)) return UNNAMED;
    const { verified, fault } = link.tls;
    return verified ? null : { type: certificateResult(fault), reason: fault ?? '' };
  }

  #policyFor(domain: string, { host, tls, tlsa = [] }: Target): AppliedPolicy {
    if (tls === 'dane') return { type: 'tlsa', strings: tlsa.map(tlsaText), hosts: [host] };
    const sts = this.#policyOf(domain);
    return sts === null ? NO_POLICY : appliedSts(sts);
  }

  #tell(domain: string, policy: AppliedPolicy, failure: TlsFailure | null): void {
    // Nobody has a policy for an address or for our operator's hosts; and reports are not reported on.
    if (domain.startsWith('[') || isRouted(domain) || isUnguarded(domain)) return;
    if (this.#isRerouted(domain)) return;
    this.#observe({ domain, policy, failure });
  }
}

type Fault = Pick<TlsFailure, 'type' | 'reason'>;

const UNNAMED: Fault = { type: 'validation-failure', reason: 'mx-not-in-sts-policy' };

const ends = ({ target, localAddress }: Link): Omit<TlsFailure, keyof Fault> => ({
  host: target.host,
  address: target.address,
  localAddress,
});

/** @returns null when it is not for TLS that the connection came to nothing */
function failureOf(cause: CloseCause): Fault | null {
  if (cause.kind === 'timeout') {
    const { phase } = cause;
    const isTls = phase === 'handshake' || phase === 'starttls';
    return isTls ? { type: 'validation-failure', reason: `${phase}-timeout` } : null;
  }
  if (cause.kind !== 'tls') return null;
  switch (cause.fault) {
    case 'not-offered':
    case 'refused':
      return { type: 'starttls-not-supported', reason: '' };
    case 'untrusted':
      return { type: certificateResult(cause.code ?? null), reason: cause.code ?? '' };
    case 'injected':
    case 'handshake':
      return { type: 'validation-failure', reason: cause.code ?? cause.fault };
  }
}

/** As in the policy file (RFC 8461 §3.2). */
const appliedSts = ({ mode, mx, maxAgeSeconds }: StsPolicy): AppliedPolicy => {
  const hosts = mx.slice(0, PATTERNS_MAX);
  const patterns = hosts.map((pattern) => `mx: ${pattern}`);
  return {
    type: 'sts',
    strings: ['version: STSv1', `mode: ${mode}`, ...patterns, `max_age: ${maxAgeSeconds}`],
    hosts,
  };
};

const tlsaText = ({ usage, selector, matching, data }: Tlsa): string =>
  `${usage} ${selector} ${matching} ${data}`;
