/**
 * Gets MTA-STS policies over HTTPS (RFC 8461 §3.3): one request, verified by name and authority, no
 * redirects, bounded in size and time. Names are looked up through the mta's own resolver.
 */
import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import { Agent, errors, request } from 'undici';
import type { Dns } from './dns.ts';
import { parseStsPolicy, type StsPolicy } from './sts-policy.ts';

/** §3.3 suggests a minute and 64 KB; a domain's first mail waits for this, so it is shorter. */
const FETCH_MS_MAX = 10_000;
const POLICY_OCTETS_MAX = 65_536;

/** @returns the policy, or why there is none; never rejects */
export type StsFetch = (domain: string) => Promise<StsPolicy | string>;

export interface StsFetchParts {
  readonly dns: Pick<Dns, 'addresses'>;
  /** TCP port; 443 outside of tests. */
  readonly port: number;
  /** PEM of authorities to trust besides the built-in ones; '' for none. */
  readonly extraCa: readonly string[];
}

export interface StsClient {
  readonly fetch: StsFetch;
  close(): Promise<void>;
}

export function createStsClient({ dns, port, extraCa }: StsFetchParts): StsClient {
  const agent = new Agent({
    connect: {
      lookup: lookupThrough(dns),
      timeout: FETCH_MS_MAX,
      ...(extraCa.length === 0 ? {} : { ca: [...extraCa] }),
    },
    maxResponseSize: POLICY_OCTETS_MAX,
    headersTimeout: FETCH_MS_MAX,
    bodyTimeout: FETCH_MS_MAX,
    // Policies are fetched once a day: nothing is gained by keeping connections.
    pipelining: 0,
  });
  const fetch: StsFetch = async (domain) => {
    const url = `https://mta-sts.${domain}:${port}/.well-known/mta-sts.txt`;
    try {
      const signal = AbortSignal.timeout(FETCH_MS_MAX);
      const { statusCode, headers, body } = await request(url, { dispatcher: agent, signal });
      if (statusCode !== 200) {
        await body.dump();
        return `HTTP status ${statusCode}`;
      }
      const type = String(headers['content-type'] ?? '');
      const text = await body.text();
      if (!/^text\/plain\b/i.test(type)) return 'its media type is not text/plain';
      return parseStsPolicy(text);
    } catch (error) {
      return failureOf(error);
    }
  };
  return { fetch, close: () => agent.close() };
}

function failureOf(error: unknown): string {
  if (error instanceof errors.ResponseExceededMaxSizeError) {
    return `it is larger than ${POLICY_OCTETS_MAX} octets`;
  }
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code}: ` : '';
  return `${code}${error.message}`.slice(0, 200);
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
