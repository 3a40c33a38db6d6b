/** Postfix's smtp-source injects into the mta, Postfix's smtpd with STARTTLS is the remote MX. */
import { expect, test } from 'vitest';
import { runSmtpSource } from '../../bench/scenarios/smtp-source.ts';
import { requirePeer } from '../support/peers.ts';

const MESSAGES = 1_000;

requirePeer(
  'postfix',
  'smtp-source',
  'root',
)('smtp-source into the mta, Postfix behind it', () => {
  test(`${MESSAGES} messages over 20 sessions are all delivered, over TLS`, async () => {
    const run = await runSmtpSource({ messages: MESSAGES, timeoutMs: 25_000 });
    console.log(JSON.stringify(run));
    expect(run.delivered).toBe(MESSAGES);
    expect(run.protocolWarnings).toBe(0);
    expect(run.connections).toBeGreaterThan(0);
    expect(run.connections).toBeLessThanOrEqual(60);
  }, 60_000);
});
