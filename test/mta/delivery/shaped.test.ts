/** Limits and rules as an operator sees them: the mta whole, embedded DNS, sinks. */
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { waitFor } from '../../support/process.ts';
import { createWorld, type WorldOptions } from '../world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const letters = (count: number, domain: string) =>
  Array.from({ length: count }, (_, index) => ({ to: [`u${index}@${domain}`] }));

const shaped = (shaping: object, options: WorldOptions) =>
  createWorld({ ...options, mta: { shaping, ...options.mta } }, cleanup);

describe('limits', () => {
  test('messages a second, told by why; another domain at the same site goes on', async () => {
    const world = await shaped(
      { domain: { 'slow.example': { messages_per_second: 0.01 } } },
      {
        mail: { 'slow.example': ['mx.one.example'], 'fast.example': ['mx.one.example'] },
        sinks: { 'mx.one.example': {} },
        clock: systemClock(),
      },
    );
    const ids = await world.send(letters(3, 'slow.example'));
    await waitFor(() => world.accepted.length === 1, 'the first');
    await world.send(letters(200, 'fast.example'));
    await waitFor(() => world.accepted.length === 201, 'all of the fast domain');
    await waitFor(async () => {
      const left = (await Promise.all(ids.map((id) => world.why(id)))).flat();
      return left.length === 2 && left.some(({ wait }) => wait.on === 'rate');
    }, 'the explanation');
    const site = (await world.mta.status()).sites[0]!;
    expect(site.buffered).toBe(2);
  });

  test('connections and messages per connection of a provider, over its sites', async () => {
    const world = await shaped(
      {
        provider: { farm: { mx: ['*.farm.example'], connections: 2, messages_per_connection: 5 } },
      },
      {
        mail: {
          'a.example': ['mx1.farm.example'],
          'b.example': ['mx2.farm.example'],
          'c.example': ['mx3.farm.example'],
        },
        sinks: {
          'mx1.farm.example': { delayMs: 2 },
          'mx2.farm.example': { delayMs: 2 },
          'mx3.farm.example': { delayMs: 2 },
        },
      },
    );
    let most = 0;
    const watch = setInterval(() => {
      let open = 0;
      for (const sink of world.sinks.values()) open += sink.connections();
      most = Math.max(most, open);
    }, 1);
    await world.send(['a', 'b', 'c'].flatMap((name) => letters(20, `${name}.example`)));
    await world.drained();
    clearInterval(watch);
    expect(world.accepted).toHaveLength(60);
    const made = [...world.sinks.values()].map(({ counts }) => counts.connections);
    // Twenty messages, five a connection.
    for (const connections of made) expect(connections).toBeGreaterThanOrEqual(4);
    // One that is being closed on our side may still be open on the other.
    expect(most).toBeLessThanOrEqual(4);
  });

  test('recipients in one transaction, domain by domain', async () => {
    const world = await shaped(
      { domain: { 'few.example': { recipients_per_message: 2 } } },
      {
        mail: { 'few.example': ['mx.one.example'], 'many.example': ['mx.one.example'] },
        sinks: { 'mx.one.example': {} },
      },
    );
    const to = ['few', 'many'].flatMap((name) =>
      Array.from({ length: 5 }, (_, n) => `u${n}@${name}.example`),
    );
    await world.send([{ to }]);
    await world.drained();
    const sizes = world.accepted.map(({ recipients }) => [
      recipients[0]!.split('@')[1],
      recipients.length,
    ]);
    expect(sizes.sort()).toEqual([
      ['few.example', 1],
      ['few.example', 2],
      ['few.example', 2],
      ['many.example', 5],
    ]);
  });

  test('MX names of customers that lead to the same servers are one site', async () => {
    const world = await createWorld(
      {
        mail: { 'a.example': ['a-com.farm.example'], 'b.example': ['b-com.farm.example'] },
        sinks: { 'a-com.farm.example': {} },
        sameAddress: [['a-com.farm.example', 'b-com.farm.example']],
      },
      cleanup,
    );
    await world.send([...letters(5, 'a.example'), ...letters(5, 'b.example')]);
    await world.drained();
    expect(world.accepted).toHaveLength(10);
    expect(world.sinks.get('a-com.farm.example')!.counts.connections).toBe(1);
  });
});

describe('rules', () => {
  test('a site that refuses by policy rests, and why says so', async () => {
    const world = await createWorld(
      {
        mail: { 'a.example': ['mx.strict.example'], 'sender.example': ['mx.sender.example'] },
        sinks: {
          'mx.strict.example': { onMessage: () => '550 5.7.1 your address is listed' },
          'mx.sender.example': {},
        },
        delivery: { connections: 1 },
      },
      cleanup,
    );
    const ids = await world.send(letters(60, 'a.example'));
    await waitFor(
      async () => (await world.mta.status()).sites.some(({ hold }) => hold?.on === 'rule'),
      'the rest',
    );
    await waitFor(async () => (await world.mta.status()).leased === 0, 'leases given back');
    const [last] = await world.why(ids.at(-1)!);
    expect(last?.wait).toMatchObject({ on: 'rule' });
    expect(last?.wait.text).toMatch(
      /rests by rule: listed, after 550 5\.7\.1 your address is listed$/,
    );
    expect(last!.wait.untilMs! - last!.wait.sinceMs).toBe(1_800_000);
    // What was refused is returned; the rest was kept from it.
    const { bounced } = (await world.mta.status()).outcomes;
    expect(bounced).toBeGreaterThanOrEqual(10);
    expect(bounced).toBeLessThan(30);
  });
});
