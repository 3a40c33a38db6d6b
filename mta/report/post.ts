/** An HTTP POST by undici, which is loaded when there is one to make. */
import { REQUEST_TIMEOUT_MS } from './webhooks.ts';

/** @returns the status code; the body of the answer is dropped. Redirects are not followed. */
export async function post(
  url: string,
  headers: Record<string, string>,
  body: string,
): Promise<number> {
  const { request } = await import('undici');
  const { statusCode, body: answer } = await request(url, {
    method: 'POST',
    headers,
    body,
    headersTimeout: REQUEST_TIMEOUT_MS,
    bodyTimeout: REQUEST_TIMEOUT_MS,
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  await answer.dump();
  return statusCode;
}
