/** Posts TLS reports to where domains want them (RFC 8460 §5.4). */
import { request } from 'undici';
import type { Dns } from './dns.ts';
import { createAgent } from './https.ts';

const POST_MS_MAX = 30_000;
const ANSWER_OCTETS_MAX = 65_536;

export interface ReportPoster {
  /** @returns the HTTP status; redirects are not followed. @throws when there was none */
  post(url: string, content: Buffer): Promise<number>;
  close(): Promise<void>;
}

export function createReportPoster(parts: {
  readonly dns: Pick<Dns, 'addresses'>;
  readonly extraCa: readonly string[];
}): ReportPoster {
  const agent = createAgent({
    ...parts,
    timeoutMs: POST_MS_MAX,
    answerOctetsMax: ANSWER_OCTETS_MAX,
  });
  return {
    async post(url, content) {
      const { statusCode, body } = await request(url, {
        dispatcher: agent,
        method: 'POST',
        headers: { 'content-type': 'application/tlsrpt+gzip' },
        body: content,
        signal: AbortSignal.timeout(POST_MS_MAX),
      });
      await body.dump();
      return statusCode;
    },
    close: () => agent.close(),
  };
}
