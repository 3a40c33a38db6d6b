/**
 * Asks a list that is kept elsewhere, over HTTP, which recipients are to get no mail.
 *
 *   POST {"tenant": "acme", "reverse_path": "a@b", "recipients": ["c@d", …]}
 *   200  {"suppressed": [{"recipient": "c@d", "reason": "unsubscribed"}]}
 */
import { z } from 'zod';
import type { Log } from '../../../runtime/log.ts';
import { fieldText } from '../mime.ts';

const REASON_MAX = 200;
const ANSWER_OCTETS_MAX = 4_194_304;

const answerSchema = z.object({
  suppressed: z.array(z.object({ recipient: z.string(), reason: z.string().default('') })),
});

export interface HookQuestion {
  readonly tenant: string;
  readonly reversePath: string;
  readonly recipients: readonly string[];
}

export interface HookOptions {
  readonly url: string;
  readonly timeoutMs: number;
  /** @returns status and body. @throws when there was no answer in time */
  readonly ask: (url: string, body: string, limits: HookLimits) => Promise<HookAnswer>;
  readonly log: Log;
}

export interface HookLimits {
  readonly timeoutMs: number;
  readonly octetsMax: number;
}
export interface HookAnswer {
  readonly status: number;
  readonly body: string;
}

export class SuppressionHook {
  readonly #options: HookOptions;
  /** Questions that got no answer to go by, since start. */
  failures = 0;

  constructor(options: HookOptions) {
    this.#options = options;
  }

  /** @returns reasons by recipient; null when nothing was to be learned */
  async ask({
    tenant,
    reversePath,
    recipients,
  }: HookQuestion): Promise<ReadonlyMap<string, string> | null> {
    const { url, timeoutMs, ask, log } = this.#options;
    const question = JSON.stringify({ tenant, reverse_path: reversePath, recipients });
    try {
      const { status, body } = await ask(url, question, {
        timeoutMs,
        octetsMax: ANSWER_OCTETS_MAX,
      });
      if (status !== 200) throw new Error(`it answered ${status}`);
      const { suppressed } = answerSchema.parse(JSON.parse(body));
      return new Map(
        suppressed.map(({ recipient, reason }) => [recipient, fieldText(reason, REASON_MAX)]),
      );
    } catch (error) {
      this.failures += 1;
      log.warn({ error: String(error).slice(0, REASON_MAX) }, 'the suppression hook says nothing');
      return null;
    }
  }
}

/** An HTTP POST by undici, which is loaded when there is one to make. */
export async function askByHttp(
  url: string,
  body: string,
  { timeoutMs, octetsMax }: HookLimits,
): Promise<HookAnswer> {
  const { request } = await import('undici');
  const answer = await request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    signal: AbortSignal.timeout(timeoutMs),
  });
  const chunks: Buffer[] = [];
  let octets = 0;
  for await (const chunk of answer.body) {
    chunks.push(chunk as Buffer);
    octets += (chunk as Buffer).length;
    if (octets > octetsMax) throw new Error(`more than ${octetsMax} octets`);
  }
  return { status: answer.statusCode, body: Buffer.concat(chunks).toString('utf8') };
}
