/** A real Postfix that asks the mta for its transports. */
import { expect, test } from 'vitest';
import { runPostfixSocketmap } from '../../bench/scenarios/postfix-socketmap.ts';
import { requirePeer } from '../support/peers.ts';

const needs = ['postfix', 'smtp-sink', 'nsd', 'unbound', 'root', 'loopback-network'] as const;

requirePeer(...needs)('Postfix with transport_maps of the mta', () => {
  test('opens fewer connections and asks DNS less', async () => {
    const { before, after } = await runPostfixSocketmap({
      messages: 300,
      domains: 60,
      // Few, so that mail queues up even in so short a run: Postfix keeps connections only then. How many
      // it saves depends on the pace of the machine; the scenario of this name measures that.
      concurrency: 2,
      timeoutMs: 40_000,
    });
    console.log(JSON.stringify({ before, after }));
    expect([before.sent, after.sent]).toEqual([300, 300]);
    expect(after.connections).toBeLessThanOrEqual(before.connections);
    expect(after.queries).toBeLessThan(0.6 * before.queries);
  }, 90_000);
});
