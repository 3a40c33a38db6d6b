/**
 * Gets MTA-STS policies over HTTPS (RFC 8461 §3.3): one request, verified by name and authority, no
 * redirects, bounded in size and time.
 */
import { errors, request } from 'undici';
import type { Dns } from './dns.ts';
import { createAgent } from './https.ts';
import { parseStsPolicy, type StsPolicy } from './sts-policy.ts';

/** §3.3 suggests a minute and 64 KB; a domain's first mail waits for this, so it is shorter. */
const FETCH_MS_MAX = 10_000;
const POLICY_OCTETS_MAX = 65_536;

/** Why there is no policy; the kinds are those of RFC 8460 §4.3.2.2. */
export interface StsFault {
  readonly fault: 'fetch' | 'webpki' | 'invalid';
  readonly text: string;
}

/** Never rejects. */
export type StsFetch = (domain: string) => Promise<StsPolicy | StsFault>;

export interface StsFetchParts {
  readonly dns: Pick<Dns, 'addresses'>;
  /** TCP port; 443 outside of tests. */
  readonly port: number;
  /** PEM of authorities to trust besides the built-in ones; empty for none. */
  readonly extraCa: readonly string[];
}

export interface StsClient {
  readonly fetch: StsFetch;
  close(): Promise<void>;
}

export function createStsClient({ dns, port, extraCa }: StsFetchParts): StsClient {
  const agent = createAgent({
    dns,
    extraCa,
    timeoutMs: FETCH_MS_MAX,
    answerOctetsMax: POLICY_OCTETS_MAX,
  });
  const fetch: StsFetch = async (domain) => {
    const url = `https://mta-sts.${domain}:${port}/.well-known/mta-sts.txt`;
    try {
      const signal = AbortSignal.timeout(FETCH_MS_MAX);
      const { statusCode, headers, body } = await request(url, { dispatcher: agent, signal });
      if (statusCode !== 200) {
        await body.dump();
        return { fault: 'fetch', text: `HTTP status ${statusCode}` };
      }
      const type = String(headers['content-type'] ?? '');
      const text = await body.text();
      if (!/^text\/plain\b/i.test(type)) return invalid('its media type is not text/plain');
      const policy = parseStsPolicy(text);
      return typeof policy === 'string' ? invalid(policy) : policy;
    } catch (error) {
      return failureOf(error);
    }
  };
  return { fetch, close: () => agent.close() };
}

const invalid = (text: string): StsFault => ({ fault: 'invalid', text });

/** OpenSSL's and Node's codes for a certificate that does not hold. */
const CERTIFICATE =
  /^(?:ERR_TLS_CERT_|CERT_|UNABLE_TO_(?:GET|VERIFY)_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_(?:CA|PURPOSE)|PATH_LENGTH_)/;

function failureOf(error: unknown): StsFault {
  if (error instanceof errors.ResponseExceededMaxSizeError) {
    return invalid(`it is larger than ${POLICY_OCTETS_MAX} octets`);
  }
  if (!(error instanceof Error)) return { fault: 'fetch', text: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const text = `${code === '' ? '' : `${code}: `}${error.message}`.slice(0, 200);
  return { fault: CERTIFICATE.test(code) ? 'webpki' : 'fetch', text };
}
