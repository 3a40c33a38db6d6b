/** The same letter as each of the three injection APIs takes it. */
import type { HttpRequest } from './http-load.ts';
import { domainName, REVERSE_PATH_DOMAIN } from './mail-workload.ts';

const LINE = `${'The quick brown fox jumps over the lazy dog, as it has always done.'.padEnd(76)}\r\n`;

/** @param base "http://ADDRESS:PORT" of the mta. @param octets of text, to a line */
export function injectionRequests(base: string, octets: number): ReadonlyMap<string, HttpRequest> {
  const from = `sender@${REVERSE_PATH_DOMAIN}`;
  const to = `user@${domainName(0)}`;
  const subject = 'Your order';
  const text = LINE.repeat(Math.max(1, Math.ceil(octets / LINE.length)));
  const raw = `From: <${from}>\r\nTo: <${to}>\r\nSubject: ${subject}\r\n\r\n${text}`;
  const json = (path: string, body: object): HttpRequest => ({
    url: base + path,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const query = new URLSearchParams({ from, to });
  return new Map<string, HttpRequest>([
    ['own API, JSON', json('/v1/messages', { from, to: [to], subject, text })],
    [
      'own API, message/rfc822',
      {
        url: `${base}/v1/messages?${query}`,
        method: 'POST',
        headers: { 'content-type': 'message/rfc822' },
        body: raw,
      },
    ],
    [
      'KumoMTA, whole message',
      json('/api/inject/v1', { envelope_sender: from, content: raw, recipients: [{ email: to }] }),
    ],
    [
      'KumoMTA, parts',
      json('/api/inject/v1', {
        envelope_sender: from,
        content: { from, subject, text_body: text },
        recipients: [{ email: to }],
      }),
    ],
    [
      'SparkPost, parts',
      json('/api/v1/transmissions', {
        recipients: [{ address: to }],
        content: { from, subject, text },
      }),
    ],
  ]);
}
