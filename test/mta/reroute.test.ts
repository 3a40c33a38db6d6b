/** Mail that an operator sends to another next hop: single messages, or all of a domain or site. */
import { afterEach, describe, expect, test } from 'vitest';
import { parseId } from '../../mta/envelope.ts';
import type { Selection } from '../../mta/running.ts';
import { Cleanup } from '../support/cleanup.ts';
import { waitFor } from '../support/process.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** Nobody listens at mx.down.example; relay.example takes everything. */
const WORLD: WorldOptions = {
  mail: {
    'down.example': ['mx.down.example'],
    'other.example': ['mx.down.example'],
    'well.example': ['mx.well.example'],
    'unused.example': ['relay.example'],
  },
  sinks: { 'relay.example': {}, 'mx.well.example': {} },
  mta: { retry: ['5h'] },
};
const world = (options: Partial<WorldOptions> = {}): Promise<World> =>
  createWorld({ ...WORLD, ...options }, cleanup);

const reroute = (
  { mta }: World,
  selection: Selection | string,
  to: string | null,
  dryRun = false,
) =>
  mta.operate(
    'reroute',
    typeof selection === 'string' ? { ids: [parseId(selection)!] } : selection,
    { dryRun, note: '', to },
  );
const came = ({ accepted }: World): string[] =>
  accepted.map(({ host, recipients }) => `${recipients.join(' ')} at ${host}`).sort();
/** Its first connection has failed. */
const stuck = (made: World, id: string): Promise<void> =>
  waitFor(async () => (await made.why(id))[0]?.wait.on === 'site', 'a site that is down');

describe('single messages', () => {
  test('go to the next hop at once, and only they', async () => {
    const made = await world();
    const [first, second] = await made.send([
      { to: ['a@down.example', 'b@down.example'] },
      { to: ['c@down.example'] },
    ]);
    await stuck(made, second!);
    expect(await reroute(made, first!, 'relay.example', true)).toMatchObject({
      verb: 'reroute',
      dryRun: true,
      matched: 2,
      done: 0,
    });
    expect(await reroute(made, first!, 'relay.example')).toMatchObject({ matched: 2, done: 2 });
    await waitFor(() => made.accepted.length === 1, 'the rerouted message');
    expect(came(made)).toEqual(['a@down.example b@down.example at relay.example']);
    expect((await made.why(second!))[0]).toMatchObject({ nextHop: null, wait: { on: 'site' } });
  });

  test('stay rerouted over a restart, are found by their domain, and go back to the MX', async () => {
    let made = await world({ sinks: { 'mx.well.example': {} } });
    const [id, other] = await made.send([{ to: ['a@well.example'] }, { to: ['b@down.example'] }]);
    await waitFor(() => made.accepted.length === 1, 'the mail that nothing holds');
    expect(await reroute(made, id!, 'relay.example')).toMatchObject({ matched: 0 });
    await stuck(made, other!);
    // Nobody listens there, for now.
    expect(await reroute(made, { domain: 'down.example' }, 'relay.example')).toMatchObject({
      done: 1,
    });
    made = await made.restart();
    await stuck(made, other!);
    const queue = await made.mta.queue({ domain: 'down.example', after: null, limit: 10 });
    expect(queue).toMatchObject([
      { id: `${other}.0`, domain: 'down.example', nextHop: 'relay.example' },
    ]);
    expect(queue[0]!.wait.text).toMatch(/^relay\.example~.* takes no mail now/);
    expect(await reroute(made, { domain: 'down.example' }, 'relay.example')).toMatchObject({
      matched: 0,
    });
    expect(await reroute(made, { domain: 'down.example' }, null)).toMatchObject({ done: 1 });
    await stuck(made, other!);
    expect((await made.why(other!))[0]).toMatchObject({
      nextHop: null,
      wait: { text: expect.stringContaining('mx.down.example') },
    });
  });

  test('that are held stay held', async () => {
    const made = await world();
    made.mta.suspend();
    const [id] = await made.send([{ to: ['a@down.example'] }]);
    await made.mta.operate('hold', { ids: [parseId(id!)!] }, { dryRun: false, note: '' });
    await reroute(made, id!, 'relay.example');
    made.mta.resume();
    expect((await made.why(id!))[0]).toMatchObject({
      nextHop: 'relay.example',
      wait: { on: 'operator' },
    });
    await made.mta.operate('release', { domain: 'down.example' }, { dryRun: false, note: '' });
    await made.drained();
    expect(came(made)).toEqual(['a@down.example at relay.example']);
  });

  test('wait for a next hop that is a mistake, and never come back for it', async () => {
    const made = await world();
    const [id] = await made.send([{ to: ['a@down.example'] }]);
    await stuck(made, id!);
    await reroute(made, id!, 'nowhere.example');
    await waitFor(
      async () => (await made.why(id!))[0]?.wait.on === 'dns',
      'the mistake to be told',
    );
    expect((await made.why(id!))[0]!.wait.text).toContain('nowhere.example');
    await reroute(made, id!, 'relay.example');
    await made.drained();
    expect(came(made)).toEqual(['a@down.example at relay.example']);
  });
});

describe('all mail', () => {
  test('of a domain, what waits and what comes, over a restart, until it is taken back', async () => {
    let made = await world({
      sinks: {
        'relay.example': {},
        'mx.well.example': { onRecipient: () => '450 4.2.1 not by this way' },
      },
    });
    const [id] = await made.send([{ to: ['a@well.example'] }]);
    await waitFor(async () => (await made.why(id!))[0]?.wait.on === 'retry', 'a deferral');
    made.mta.rerouteScope('domain', 'well.example', 'relay.example');
    await made.send([{ to: ['b@well.example'] }]);
    await waitFor(() => made.accepted.length === 1, 'what comes');
    expect((await made.why(id!))[0]).toMatchObject({ nextHop: 'relay.example' });
    made = await made.restart();
    expect((await made.mta.status()).reroutes).toMatchObject([
      { scope: 'domain', name: 'well.example', to: 'relay.example' },
    ]);
    expect(await made.mta.route('well.example')).toMatchObject({
      origin: 'operator',
      text: 'mail goes to the next hop that an operator chose',
    });
    await made.mta.operate('retry', { domain: 'well.example' }, { dryRun: false, note: '' });
    await made.drained();
    made.mta.rerouteScope('domain', 'well.example', null);
    expect(await made.mta.route('well.example')).toMatchObject({ origin: 'mx' });
    const [last] = await made.send([{ to: ['c@well.example'] }]);
    await waitFor(async () => (await made.why(last!))[0]?.wait.on === 'retry', 'the MX again');
    expect((await made.mta.status()).reroutes).toEqual([]);
    expect(came(made)).toEqual([
      'a@well.example at relay.example',
      'b@well.example at relay.example',
    ]);
  });

  test('of a site that is down, whatever its domains, goes at once', async () => {
    const made = await world();
    const [first] = await made.send([{ to: ['a@down.example'] }, { to: ['b@other.example'] }]);
    await stuck(made, first!);
    const { sites } = await made.mta.status();
    const { alias } = sites.find((site) => site.alias.startsWith('mx.down.example'))!;
    made.mta.rerouteScope('site', alias, 'relay.example');
    await made.drained();
    expect(came(made)).toEqual([
      'a@down.example at relay.example',
      'b@other.example at relay.example',
    ]);
    made.mta.rerouteScope('site', alias, null);
    const [last] = await made.send([{ to: ['c@other.example'] }]);
    await stuck(made, last!);
    expect((await made.why(last!))[0]!.wait.text).toContain('mx.down.example');
  });
});
