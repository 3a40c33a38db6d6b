/** Connections that run out: who lets go, and when. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Allotment } from '../../../mta/delivery/allotment.ts';
import { Crowding, type Holder } from '../../../mta/delivery/crowding.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/clock.ts';
import { waitFor } from '../../support/process.ts';
import { createWorld } from '../world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

class FakeSite implements Holder {
  readonly connections: number;
  idle: number;
  silent: number;
  yielded = 0;

  constructor(connections: number, idle = 0, silent = 0) {
    this.connections = connections;
    this.idle = idle;
    this.silent = silent;
  }

  closeIdle(): boolean {
    return this.idle-- > 0;
  }

  giveUpCall(patienceMs: number): boolean {
    expect(patienceMs).toBe(30_000);
    return this.silent-- > 0;
  }

  yieldLink(): boolean {
    this.yielded += 1;
    return true;
  }
}

describe('crowding', () => {
  let clock: ManualClock;
  let slots: Allotment;
  let trials: Allotment;
  let sites: FakeSite[];
  let crowding: Crowding;

  const oneWaits = (allotment: Allotment): void => {
    if (allotment.left > 0) allotment.claim(allotment.left);
    allotment.take(1, () => undefined);
  };

  beforeEach(() => {
    clock = new ManualClock();
    slots = new Allotment(4);
    trials = new Allotment(2);
    sites = [];
    crowding = new Crowding({ clock, slots, trials, sites: () => sites });
  });

  test('nobody waits: nothing happens, at no time', () => {
    sites = [new FakeSite(2, 1, 1)];
    crowding.look();
    clock.advance(1_000);
    expect(sites[0]).toMatchObject({ idle: 1, silent: 1, yielded: 0 });
  });

  test('as many idle connections as are waited for, at once', () => {
    sites = Array.from({ length: 5 }, () => new FakeSite(1, 1));
    for (let n = 0; n < 3; n += 1) oneWaits(slots);
    crowding.starves();
    expect(sites.map(({ idle }) => idle)).toEqual([0, 0, 0, 1, 1]);
    expect(sites.every(({ yielded }) => yielded === 0)).toBe(true);
  });

  test('silent calls where nothing idles, then one busy connection of the site with most', () => {
    sites = [new FakeSite(2), new FakeSite(3, 0, 1), new FakeSite(1)];
    oneWaits(slots);
    crowding.starves();
    expect(sites.map(({ silent, yielded }) => [silent, yielded])).toEqual([
      [-1, 0],
      [0, 0],
      [0, 0],
    ]);
    crowding.starves();
    expect(sites[1]!.yielded).toBe(0);
    clock.advance(100);
    expect(sites.map(({ yielded }) => yielded)).toEqual([0, 1, 0]);
    // Nobody has said since that it has none: those that are busy stay so.
    clock.advance(1_000);
    expect(sites[1]!.yielded).toBe(1);
  });

  test('a place among sites on trial is had from silent calls alone', () => {
    sites = [new FakeSite(1, 1, 1)];
    oneWaits(trials);
    crowding.starves();
    expect(sites[0]).toMatchObject({ idle: 1, silent: 0, yielded: 0 });
  });

  test('looks every 100 ms while somebody waits, and no longer', () => {
    sites = [new FakeSite(1)];
    oneWaits(slots);
    crowding.look();
    for (const step of [
      { advanceMs: 99, idle: 1 },
      { advanceMs: 1, idle: 0 },
    ]) {
      if (step.advanceMs === 99) sites[0]!.idle = 1;
      clock.advance(step.advanceMs);
      expect(sites[0]!.idle).toBe(step.idle);
    }
    slots.giveBack(2);
    sites[0]!.idle = 1;
    clock.advance(1_000);
    expect(sites[0]!.idle).toBe(1);
  });
});

/** They greet, and say nothing more. */
const SILENT = { delayMs: 60_000 };
const silentMail = (count: number) => {
  const domains = Array.from({ length: count }, (_, n) => `s${n}.example`);
  return {
    domains,
    mail: Object.fromEntries(domains.map((domain) => [domain, [`mx.${domain}`]])),
    sinks: Object.fromEntries(domains.map((domain) => [`mx.${domain}`, SILENT])),
  };
};

test('hosts that keep silent cannot keep all connections from a site that takes mail', async () => {
  const { domains, mail, sinks } = silentMail(6);
  const world = await createWorld(
    {
      mail: { ...mail, 'well.example': ['mx.well.example'] },
      sinks: { ...sinks, 'mx.well.example': {} },
      delivery: { connections_total: 4, idle: '1s' },
    },
    cleanup,
  );
  await world.send([{ to: ['first@well.example'] }]);
  await world.drained();
  const called = (): number =>
    domains.reduce((sum, domain) => sum + world.sinks.get(`mx.${domain}`)!.counts.connections, 0);
  await world.send(domains.map((domain) => ({ to: [`u@${domain}`] })));
  await waitFor(() => called() === 2, 'calls to silent hosts');
  await world.send([{ to: ['second@well.example'] }]);
  await waitFor(() => world.accepted.length === 2, 'the mail of the well site');
  expect(called()).toBe(2);
});

test('a call to a silent host is given up where a new site waits for one', async () => {
  const { mail, sinks } = silentMail(1);
  const world = await createWorld(
    {
      mail: { ...mail, 'well.example': ['mx.well.example'] },
      sinks: { ...sinks, 'mx.well.example': {} },
      delivery: { connections_total: 1 },
    },
    cleanup,
  );
  const [id] = await world.send([{ to: ['u@s0.example'] }]);
  await waitFor(() => world.sinks.get('mx.s0.example')!.connections() === 1, 'the call');
  await world.send([{ to: ['u@well.example'] }]);
  await waitFor(() => world.accepted.length === 1, 'the mail of the well site');
  const { wait, attempts } = (await world.why(id!))[0]!;
  expect(attempts).toBe(0);
  expect(wait.on).toBe('site');
  expect(wait.text).toContain('no greeting for 30 s, and others wait for a connection');
});
