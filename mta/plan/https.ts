/**
 * HTTPS to hosts that mail domains name: verified by name and authority, bounded in time and size, with
 * names looked up through the mta's own resolver. That a certificate must hold is also what keeps a
 * domain from pointing us at hosts of our own network.
 */
import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import { Agent } from 'undici';
import type { Dns } from './dns.ts';

export interface HttpsParts {
  readonly dns: Pick<Dns, 'addresses'>;
  /** PEM of authorities to trust besides the built-in ones; empty for none. */
  readonly extraCa: readonly string[];
  readonly timeoutMs: number;
  readonly answerOctetsMax: number;
}

export function createAgent({ dns, extraCa, timeoutMs, answerOctetsMax }: HttpsParts): Agent {
  return new Agent({
    connect: {
      lookup: lookupThrough(dns),
      timeout: timeoutMs,
      ...(extraCa.length === 0 ? {} : { ca: [...extraCa] }),
    },
    maxResponseSize: answerOctetsMax,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    // Asked once a day: nothing is gained by keeping connections.
    pipelining: 0,
  });
}

/** A and AAAA from our resolver, in the shape of dns.lookup. */
function lookupThrough(dns: Pick<Dns, 'addresses'>): LookupFunction {
  const find = callbackify((name: string) => addressesOf(dns, name));
  return (name, options, callback) =>
    find(name, (error, addresses) => {
      if (error !== null) callback(error, '', 0);
      else if (options.all === true) callback(null, addresses);
      else callback(null, addresses[0]!.address, addresses[0]!.family);
    });
}

/** @throws Error ENOTFOUND when there is none */
async function addressesOf(dns: Pick<Dns, 'addresses'>, name: string): Promise<LookupAddress[]> {
  const families = [4, 6] as const;
  const lookups = await Promise.all(families.map((family) => dns.addresses(name, family)));
  const addresses = lookups.flatMap((lookup, at) =>
    lookup.kind === 'answer'
      ? lookup.records.map((address) => ({ address, family: families[at]! }))
      : [],
  );
  if (addresses.length > 0) return addresses;
  throw Object.assign(new Error(`${name} has no address`), { code: 'ENOTFOUND' });
}
