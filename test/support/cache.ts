/** Upstream responses for tests of the cache, written by dns-packet. */
import { type Answer, encode, type Packet } from 'dns-packet';
import { type AdmissionLimits, admit } from '../../resolver/cache/admission.ts';
import type { CacheEntry } from '../../resolver/cache/entry.ts';
import { FLAG } from '../../resolver/wire/constants.ts';

export const LIMITS: AdmissionLimits = {
  minTtlMs: 0,
  maxTtlMs: 86_400_000,
  maxNegativeTtlMs: 10_800_000,
  failureTtlMs: 5_000,
  staleMs: 259_200_000,
};

/** A response with RD and RA, and the RCODE given. */
export const respond = (
  name: string,
  type: string,
  rcode: number,
  sections: Pick<Packet, 'answers' | 'authorities' | 'additionals'> = {},
  flags: number = FLAG.RD | FLAG.RA,
): Uint8Array =>
  encode({
    type: 'response',
    id: 0x7777,
    flags: flags | rcode,
    questions: [{ name, type }],
    ...sections,
  });

export const mx = (name: string, ttl: number, exchange = 'mx.a.org'): Answer => ({
  name,
  type: 'MX',
  ttl,
  data: { preference: 10, exchange },
});

export const cname = (name: string, ttl: number, data: string): Answer => ({
  name,
  type: 'CNAME',
  ttl,
  data,
});

export const soa = (name: string, ttl: number, minimum: number): Answer => ({
  name,
  type: 'SOA',
  ttl,
  data: {
    mname: 'ns.a.org',
    rname: 'h.a.org',
    serial: 1,
    refresh: 2,
    retry: 3,
    expire: 4,
    minimum,
  },
});

/** The entry of a response, kept or passed on. */
export function entryOf(response: Uint8Array, nowMs: number, limits = LIMITS): CacheEntry {
  const admission = admit(response, nowMs, limits);
  if (admission.verdict === 'malformed') throw new Error(`fault ${admission.fault}`);
  return admission.entry;
}
