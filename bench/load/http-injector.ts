/**
 * An HTTP client that injects many messages by the own API, and survives the server's death: it repeats
 * a request under the same Idempotency-Key until it is answered.
 *
 * Invariant: a letter is acknowledged at most once, and is one message however often it was sent.
 */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Letter } from './injector.ts';

export interface HttpInjectionOptions {
  /** "http://127.0.0.1:…" */
  readonly base: string;
  readonly sessions: number;
  readonly letters: Iterator<Letter> | AsyncIterator<Letter>;
  readonly onAcknowledged: (letter: Letter) => void;
  /** Ends injection at once; letters under way are left as they are. */
  readonly signal: AbortSignal;
}

export interface HttpInjectionResult {
  readonly acknowledged: number;
  /** Requests sent again because the connection died before the answer. */
  readonly repeated: number;
  /** Answered as there already: the message of a request whose first answer was lost. */
  readonly recognised: number;
  /** Answers that refuse for good: letter → status. */
  readonly refused: ReadonlyMap<string, number>;
}

const RETRY_MS = 50;
const TIMEOUT_MS = 30_000;

interface Reply {
  readonly status: number;
  readonly text: string;
}

function post(url: string, agent: Agent, { id, content }: Letter): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'message/rfc822', 'idempotency-key': id };
    const sent = request(url, { method: 'POST', agent, headers, timeout: TIMEOUT_MS });
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (text += chunk));
      answer.on('error', reject);
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
      answer.on('close', () => reject(new Error('cut off in the answer')));
    });
    for (const part of content) sent.write(part);
    sent.end();
  });
}

function urlOf(base: string, { reversePath, recipients }: Letter): string {
  const query = new URLSearchParams({ from: reversePath });
  for (const to of recipients) query.append('to', to);
  return `${base}/v1/messages?${query}`;
}

/** Injects every letter; resolves when each is answered, or injection was ended. */
export async function injectByHttp(options: HttpInjectionOptions): Promise<HttpInjectionResult> {
  const { base, sessions, letters, onAcknowledged, signal } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: sessions });
  signal.addEventListener('abort', () => agent.destroy());
  const refused = new Map<string, number>();
  let [acknowledged, repeated, recognised] = [0, 0, 0];
  const deliver = async (letter: Letter): Promise<void> => {
    const url = urlOf(base, letter);
    while (!signal.aborted) {
      try {
        const { status, text } = await post(url, agent, letter);
        if (status === 200) {
          acknowledged += 1;
          if (text.includes('"repeated":true')) recognised += 1;
          onAcknowledged(letter);
          return;
        }
        if (status < 500 && status !== 429) return void refused.set(letter.id, status);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED'))
          repeated += 1;
      }
      await sleep(RETRY_MS);
    }
  };
  const work = async (): Promise<void> => {
    for (let next = await letters.next(); next.done !== true; next = await letters.next()) {
      await deliver(next.value);
      if (signal.aborted) return;
    }
  };
  await Promise.all(Array.from({ length: sessions }, work));
  agent.destroy();
  return { acknowledged, repeated, recognised, refused };
}
