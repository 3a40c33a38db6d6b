/** Whether a program answers /readyz as the one before it did. */
import { formatEndpoint, parseEndpoint } from '../runtime/settings.ts';
import { reachable } from './config/checks.ts';

const ANSWER_TIMEOUT_MS = 2_000;

/** @returns why it is not ready, null when it is */
async function unreadiness(http: string): Promise<string | null> {
  const endpoint = parseEndpoint(http, 0);
  const at = endpoint === null ? http : formatEndpoint(reachable(endpoint));
  try {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    // A connection of its own: one that is kept may lead to another process.
    const headers = { connection: 'close' };
    const response = await fetch(`http://${at}/readyz`, { signal, headers });
    const body: unknown = await response.json();
    if (response.ok) return null;
    return `not ready: ${isReason(body) ? body.reason : `/readyz says ${response.status}`}`;
  } catch (error) {
    return `/readyz does not answer: ${error instanceof Error ? error.message : String(error)}`;
  }
}

const isReason = (body: unknown): body is { readonly reason: string } =>
  typeof body === 'object' && body !== null && 'reason' in body && typeof body.reason === 'string';

export class Health {
  /** What ails the one before cannot be held against its successor. */
  readonly #wasReady: boolean;

  private constructor(wasReady: boolean) {
    this.#wasReady = wasReady;
  }

  /** @param http of the program as it is, or null when it has never been ready */
  static async of(http: string | null): Promise<Health> {
    return new Health(http !== null && (await unreadiness(http)) === null);
  }

  /** @returns why the program there is worse than the one before, or null */
  async faultAt(http: string): Promise<string | null> {
    return this.#wasReady ? unreadiness(http) : null;
  }
}
