/** One password reset behind a campaign. */
import { afterEach, expect, test } from 'vitest';
import { Cleanup } from '../../support/cleanup.ts';
import { waitFor } from '../../support/process.ts';
import { createWorld } from '../world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const campaignTo = (domain: string, count: number) => ({
  to: Array.from({ length: count }, (_, n) => `u${n}@${domain}`),
  parameters: 'MT-PRIORITY=-9',
});

test('urgent mail overtakes what is queued, buffered, and due at other domains of the site', async () => {
  const domains = Array.from({ length: 5 }, (_, n) => `d${n}.example`);
  const world = await createWorld(
    {
      mail: Object.fromEntries(
        [...domains, 'late.example'].map((domain) => [domain, ['mx.one.example']]),
      ),
      sinks: { 'mx.one.example': { delayMs: 10 } },
      delivery: { recipients_per_message: 1, connections: 1 },
    },
    cleanup,
  );
  await world.send(domains.map((domain) => campaignTo(domain, 400)));
  await waitFor(() => world.accepted.length > 20, 'the campaign to be on its way');
  await world.send([
    { to: ['you@d3.example'], parameters: 'MT-PRIORITY=9' },
    { to: ['you@late.example'], parameters: 'MT-PRIORITY=9' },
  ]);
  const before = world.accepted.length;
  const arrived = (): number =>
    world.accepted.filter(({ recipients }) => recipients[0]?.startsWith('you@')).length;
  await waitFor(() => arrived() === 2, 'both');
  // What was under way, sent ahead, and what went while DNS was asked: far from two thousand.
  expect(world.accepted.length - before).toBeLessThan(120);
});

test('a site without a connection gets one from the site that has most', async () => {
  const world = await createWorld(
    {
      mail: { 'big.example': ['mx.big.example'], 'small.example': ['mx.small.example'] },
      sinks: { 'mx.big.example': { delayMs: 20 }, 'mx.small.example': {} },
      delivery: { recipients_per_message: 1, connections_total: 2, connections: 2 },
    },
    cleanup,
  );
  await world.send([campaignTo('big.example', 900)]);
  await waitFor(() => world.sinks.get('mx.big.example')!.connections() === 2, 'all connections');
  await world.send([{ to: ['you@small.example'] }]);
  await waitFor(() => world.accepted.some(({ host }) => host === 'mx.small.example'), 'the small');
  expect(world.accepted.length).toBeLessThan(900);
});
