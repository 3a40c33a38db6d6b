/** What operators are told of a site: causes of deferrals, changes of its pace, last replies, limits. */
import { afterEach, expect, test } from 'vitest';
import { Cleanup } from '../../support/cleanup.ts';
import { waitFor } from '../../support/process.ts';
import { createWorld } from '../world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function deferrals(mta: { metrics: { metrics(): Promise<string> } }): Promise<string[]> {
  const text = await mta.metrics.metrics();
  return text.split('\n').filter((line) => line.startsWith('postilion_mta_deferrals_total{'));
}

test('a site that grumbles, is slowed, and takes the mail at last', async () => {
  let grumbles = 1;
  const world = await createWorld(
    {
      mail: { 'a.example': ['mx.one.example'] },
      sinks: {
        'mx.one.example': {
          onRecipient: () => (grumbles-- > 0 ? '421 4.7.28 unusual rate, <b>slow down</b>' : null),
        },
      },
      mta: { retry: ['10s'] },
    },
    cleanup,
  );
  await world.send([{ to: ['u@a.example'] }]);
  await world.drained();
  const slowed = world.mta.changes().find(({ kind }) => kind === 'slow');
  const alias = slowed!.site;
  expect(alias).toMatch(/^mx\.one\.example~/);
  expect(slowed!.text).toContain('421 4.7.28 unusual rate, <b>slow down</b>');
  expect(await deferrals(world.mta)).toEqual([
    'postilion_mta_deferrals_total{reason="throttled"} 1',
  ]);

  const detail = world.mta.site(alias)!;
  expect(world.mta.site(detail.id)).toEqual(detail);
  expect(detail).toMatchObject({ ranks: [['mx.one.example']], tls: 'opportunistic', dane: false });
  expect(detail.limits.connections).toEqual({ max: 20, scope: `site ${detail.id}` });
  expect(detail.replies.map(({ outcome, domain }) => [outcome, domain])).toEqual([
    ['delivered', null],
    ['deferred', 'a.example'],
  ]);
  expect(detail.replies[1]!.text).toContain('421 4.7.28');
});

test('a site that nobody answers for is held, and well again once somebody does', async () => {
  const world = await createWorld(
    { mail: { 'dead.example': ['mx.dead.example'] }, sinks: {} },
    cleanup,
  );
  await world.send([{ to: ['u@dead.example'] }]);
  await waitFor(() => world.mta.changes().length > 0, 'the hold');
  const kinds = world.mta.changes().map(({ kind }) => kind);
  expect(kinds).toEqual(['hold']);
  expect(world.mta.changes()[0]!.text).toMatch(/ECONNREFUSED|refused/i);
});

test('no site of that name', async () => {
  const world = await createWorld({ mail: {}, sinks: {} }, cleanup);
  expect(world.mta.site('mx.nowhere.example~0000')).toBeNull();
});

test('a census counts waiting mail by site, and remembers where a domain belongs', async () => {
  const busy = { onRecipient: () => '450 4.2.1 later' };
  const world = await createWorld(
    {
      mail: {
        'a.example': ['mx.one.example'],
        'b.example': ['mx.one.example'],
        'c.example': ['mx.two.example'],
      },
      sinks: { 'mx.one.example': busy, 'mx.two.example': busy },
      mta: { retry: ['1h'] },
    },
    cleanup,
  );
  await world.send([
    { to: ['u@a.example', 'v@a.example'] },
    { to: ['u@b.example', 'u@c.example'] },
  ]);
  await waitFor(async () => (await world.mta.status()).outcomes.deferred === 4, 'all deferred');
  const { sites, isMore } = await world.mta.census();
  const brief = sites.map(({ alias, recipients }) => [alias?.replace(/~.*/, ''), recipients]);
  expect(brief).toEqual([
    ['mx.one.example', 3],
    ['mx.two.example', 1],
  ]);
  expect(isMore).toBe(false);
});
