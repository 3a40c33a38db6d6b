/** Real mail servers behind the resolver: what bundles cost them, and what they bring. */
import { expect, test } from 'vitest';
import { type Mode, runMtasThroughResolver } from '../../bench/scenarios/mtas-through-resolver.ts';
import { requireExim } from '../support/exim.ts';
import { requirePeer } from '../support/peers.ts';

const SIZE = { messages: 60, domains: 10, ttlSeconds: 8, timeoutMs: 60_000 };
/** An MX for each of 10 domains, an A and an AAAA for each of 6 hosts. */
const DISTINCT = 10 + 2 * 6;

const run = async (sender: string, mode: Mode) => {
  const [{ rounds }] = (await runMtasThroughResolver({
    ...SIZE,
    senders: [sender],
    modes: [mode],
  })) as [Awaited<ReturnType<typeof runMtasThroughResolver>>[number]];
  console.log(sender, mode, JSON.stringify(rounds));
  return rounds;
};

const check = async (sender: string): Promise<void> => {
  const [cold, warm, expired] = await run(sender, 'again');
  expect(cold).toMatchObject({ delivered: 60, bundlePackets: 0 });
  expect(cold!.packets).toBeLessThanOrEqual(DISTINCT * 1.1);
  expect(warm!.delivered).toBe(60);
  // What is asked again comes back together, and costs hardly more than asking for it one by one.
  expect(expired!.bundlePackets).toBeGreaterThan(0);
  expect(expired!.packets).toBeLessThanOrEqual(DISTINCT * 1.1);
};

requirePeer(
  'postfix',
  'nsd',
  'root',
  'loopback-network',
)('Postfix', () => {
  test('bundles = "again" cost it nothing', () => check('postfix'), 120_000);
});

requireExim()('Exim', () => {
  test('bundles = "again" cost it nothing', () => check('exim'), 120_000);
});
