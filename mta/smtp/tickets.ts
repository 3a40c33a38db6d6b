/**
 * TLS towards MX hosts: what was verified, and the tickets that let a later connection resume.
 *
 * Invariant: a resumed session shows no certificate, so a ticket is kept only with the verdict of the
 * full handshake it descends from, under a key that names host and policy: a ticket won without
 * verification never opens a connection that asks for it.
 */
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../runtime/clock.ts';

export interface TlsVerdict {
  /** "TLSv1.3" */
  readonly protocol: string;
  readonly cipher: string;
  readonly resumed: boolean;
  /** The certificate chains to a trusted authority and names the MX host. */
  readonly verified: boolean;
  /** OpenSSL's or Node's code why not, such as DEPTH_ZERO_SELF_SIGNED_CERT; null when verified. */
  readonly fault: string | null;
}

export interface Ticket {
  readonly session: Buffer;
  readonly verdict: TlsVerdict;
}

const TICKETS_MAX = 5_000;
/** Servers keep ticket keys for hours at most; RFC 8446 §4.6.1 caps a ticket at seven days. */
const TICKET_AGE_MS_MAX = 2 * 3_600_000;

export class TicketCache {
  readonly #tickets: LRUCache<string, Ticket>;

  constructor(clock: Clock) {
    this.#tickets = new LRUCache({
      max: TICKETS_MAX,
      ttl: TICKET_AGE_MS_MAX,
      ttlResolution: 0,
      // lru-cache takes instant 0 for "no time set".
      perf: { now: () => clock.monotonicMs() + 1 },
    });
  }

  get(key: string): Ticket | undefined {
    return this.#tickets.get(key);
  }

  set(key: string, ticket: Ticket): void {
    this.#tickets.set(key, ticket);
  }

  /** After a handshake that failed with it. */
  delete(key: string): void {
    this.#tickets.delete(key);
  }

  get size(): number {
    return this.#tickets.size;
  }
}

/**
 * One for all connections: reading the authorities costs milliseconds.
 * @param extraCa PEM of authorities to trust besides the built-in ones; '' for none
 */
export const createClientContext = (extraCa: string): SecureContext =>
  createSecureContext({
    minVersion: 'TLSv1.2',
    ...(extraCa === '' ? {} : { ca: [...rootCertificates, extraCa] }),
  });
