/** A real Postfix whose resolv.conf points at the resolver. */
import { expect, test } from 'vitest';
import { runPostfixThroughResolver } from '../../bench/scenarios/postfix-through-resolver.ts';
import { requirePeer } from '../support/peers.ts';

const needs = ['postfix', 'smtp-sink', 'nsd', 'unbound', 'root', 'loopback-network'] as const;

requirePeer(...needs)('Postfix through the resolver', () => {
  test('delivers by MX, and nearly all its queries are answered from cache', async () => {
    const result = await runPostfixThroughResolver({
      messages: 200,
      domains: 30,
      timeoutMs: 40_000,
    });
    console.log(JSON.stringify(result));
    expect(result.sent).toBe(200);
    expect(result.queriesAsked).toBeGreaterThan(400);
    // An MX for each of 30 domains, an A and an AAAA for each of 14 hosts.
    expect(result.packetsUpstream).toBeLessThanOrEqual(Math.ceil((30 + 2 * 14) * 1.1));
    expect(result.queriesAtUnbound).toBe(result.packetsUpstream);
  }, 60_000);
});
