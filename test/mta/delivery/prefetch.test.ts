/** A route that has gone stale is looked up before mail falls due, and mail then waits for nothing. */
import { afterEach, expect, test } from 'vitest';
import { greylist } from '../../../bench/load/sink.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { waitFor } from '../../support/process.ts';
import { createWorld } from '../world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

test('asked a while before the retry, once', async () => {
  const world = await createWorld(
    {
      mail: { 'grey.example': ['mx.grey.example'] },
      sinks: { 'mx.grey.example': { onRecipient: greylist(0) } },
      // The shortest that a route is fresh is a minute.
      ttlSeconds: 1,
      mta: { retry: ['3m'] },
    },
    cleanup,
  );
  const [id] = await world.send([{ to: ['user@grey.example'] }]);
  await waitFor(async () => (await world.why(id!))[0]?.wait.on === 'retry', 'the deferral');
  const asked = () => world.authority.questions.get('grey.example MX') ?? 0;
  expect(asked()).toBe(1);
  await waitFor(() => asked() === 2, 'the lookup ahead of time');
  const [recipient] = await world.why(id!);
  expect(recipient).toMatchObject({ attempts: 1, wait: { on: 'retry' } });
  await world.drained();
  expect(asked()).toBe(2);
  const text = await world.mta.metrics.getSingleMetricAsString(
    'postilion_mta_dns_queries_per_delivery',
  );
  expect(Number(text.split(' ').at(-1))).toBeGreaterThanOrEqual(3);
});
