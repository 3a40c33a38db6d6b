/** A host that says 421 to the first thing it is asked: the site waits as a whole, its mail does not pay. */
import { afterEach, expect, test } from 'vitest';
import { Cleanup } from '../../support/cleanup.ts';
import { waitFor } from '../../support/process.ts';
import { briskClock, createWorld } from '../world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

test('one connection finds out, one message is put off, the rest waits for the site', async () => {
  let isWell = false;
  const world = await createWorld(
    {
      mail: { 'a.example': ['mx.busy.example'] },
      sinks: { 'mx.busy.example': { onRecipient: () => (isWell ? null : '421 4.3.2 not now') } },
      // The messages are acknowledged well before the site is probed again.
      clock: briskClock(5),
      mta: { retry: ['10m'] },
    },
    cleanup,
  );
  const ids = await world.send(
    Array.from({ length: 20 }, (_, index) => ({ to: [`u${index}@a.example`] })),
  );
  await waitFor(async () => (await world.mta.status()).sites[0]?.hold !== null, 'the hold');
  await waitFor(async () => (await world.mta.status()).leased === 0, 'leases given back');
  const waits = await Promise.all(ids.map(async (id) => (await world.why(id))[0]!));
  expect(waits.map(({ attempts }) => attempts).sort()).toEqual([...Array(19).fill(0), 1]);
  const held = waits.filter(({ attempts }) => attempts === 0);
  for (const { wait } of held) {
    expect(wait).toMatchObject({ on: 'site' });
    expect(wait.text).toContain('421 4.3.2 not now');
  }
  const { counts } = world.sinks.get('mx.busy.example')!;
  expect(counts.connections).toBe(1);

  isWell = true;
  await waitFor(() => world.accepted.length >= 19, 'the mail behind the hold');
  const kinds = world.mta.changes().map(({ kind }) => kind);
  expect(kinds.filter((kind) => kind !== 'connections')).toEqual(['well', 'hold']);
});

test('a host that says so between two messages is called again at once', async () => {
  const taken: number[] = [];
  let ofSession = 0;
  const world = await createWorld(
    {
      mail: { 'a.example': ['mx.tired.example'] },
      sinks: {
        'mx.tired.example': {
          onRecipient() {
            ofSession += 1;
            if (ofSession <= 2) return null;
            taken.push(ofSession);
            ofSession = 0;
            return '421 4.3.2 enough for now';
          },
        },
      },
      mta: { retry: ['10s'] },
    },
    cleanup,
  );
  await world.send(Array.from({ length: 9 }, (_, index) => ({ to: [`u${index}@a.example`] })));
  await world.drained();
  expect(world.accepted).toHaveLength(9);
  expect(taken.length).toBeGreaterThan(1);
  expect(world.mta.changes().filter(({ kind }) => kind === 'hold')).toEqual([]);
});

test('a site that was told to go slowly is remembered while it has nothing to do', async () => {
  const clock = briskClock();
  let grumbles = 1;
  const world = await createWorld(
    {
      mail: { 'a.example': ['mx.slow.example'] },
      sinks: {
        'mx.slow.example': {
          onRecipient: () => (grumbles-- > 0 ? '451 4.7.28 unusual rate' : null),
        },
      },
      delivery: { idle: '1s' },
      mta: { retry: ['1s'] },
      clock,
    },
    cleanup,
  );
  await world.send([{ to: ['u@a.example'] }]);
  await world.drained();
  await waitFor(async () => (await world.mta.status()).connections === 0, 'the connection to end');
  // Sites are looked through every second.
  await new Promise<void>((resolve) => clock.after(3_000, resolve));
  const alias = world.mta.changes()[0]!.site;
  expect(world.mta.site(alias)!.slowed?.text).toContain('451 4.7.28 unusual rate');
});
