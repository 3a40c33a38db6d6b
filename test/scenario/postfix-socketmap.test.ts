/** A real Postfix that asks the mta for its transports. */
import { expect, test } from 'vitest';
import { runPostfixSocketmap } from '../../bench/scenarios/postfix-socketmap.ts';
import { requirePeer } from '../support/peers.ts';

const needs = ['postfix', 'smtp-sink', 'nsd', 'unbound', 'root', 'loopback-network'] as const;

requirePeer(...needs)('Postfix with transport_maps of the mta', () => {
  test('opens fewer connections and asks DNS less', async () => {
    const { before, after } = await runPostfixSocketmap({
      messages: 600,
      // Three messages a domain, and a hundred for each provider: too few by themselves for a connection
      // to be kept, and enough together. On a busy machine 0.32 to 0.40 of the connections were seen.
      domains: 200,
      concurrency: 2,
      timeoutMs: 40_000,
    });
    console.log(JSON.stringify({ before, after }));
    expect([before.sent, after.sent]).toEqual([600, 600]);
    expect(after.connections).toBeLessThan(0.85 * before.connections);
    expect(after.queries).toBeLessThan(0.6 * before.queries);
  }, 90_000);
});
