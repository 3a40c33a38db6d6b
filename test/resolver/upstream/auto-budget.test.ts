/** budget = "auto" as a timetable: what was sent, what was lost, and the limit that follows. */
import { expect, test } from 'vitest';
import { plainUpstream } from '../../../resolver/upstream/address.ts';
import { AUTO_PACKETS_INITIAL, AutoBudget } from '../../../resolver/upstream/auto-budget.ts';
import { Budget } from '../../../resolver/upstream/budget.ts';
import type { Signals } from '../../../resolver/upstream/signals.ts';
import { Upstream } from '../../../resolver/upstream/upstream.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { TimerWheel } from '../../../runtime/timer-wheel.ts';
import { ManualClock } from '../../support/clock.ts';

interface Second {
  readonly sent?: number;
  readonly linklocal?: number;
  readonly receiveErrors?: number;
  readonly conntrackFill?: number;
  readonly timeouts?: number;
  readonly responses?: number;
}

function setUp(hasAllowances = true) {
  const clock = new ManualClock(0);
  const wheel = new TimerWheel(clock);
  const budget = new Budget('upstreams', AUTO_PACKETS_INITIAL, clock, wheel);
  const upstream = new Upstream(plainUpstream({ address: '192.0.2.53', port: 53 }), {
    budget: 0,
    mixCase: true,
    cookies: true,
    clock,
    random: cryptoRandom(),
  });
  let linklocal = 17;
  let receiveErrors = 3;
  let conntrackFill = 0.1;
  const cuts: string[] = [];
  const auto = new AutoBudget({
    budget,
    upstreams: [upstream],
    read: async (): Promise<Signals> => ({
      exceeded: hasAllowances ? { linklocal_allowance_exceeded: linklocal } : {},
      conntrackFill,
      udpReceiveErrors: receiveErrors,
    }),
    clock,
    wheel,
    onCut: (reason, limit) => cuts.push(`${reason} ${limit}`),
  });
  /** One interval. @returns the limit after it */
  const second = async (what: Second): Promise<number> => {
    await Promise.resolve();
    await Promise.resolve();
    budget.bucket.spend(what.sent ?? 0);
    linklocal += what.linklocal ?? 0;
    receiveErrors += what.receiveErrors ?? 0;
    conntrackFill = what.conntrackFill ?? 0.1;
    for (let n = 0; n < (what.timeouts ?? 0); n += 1) upstream.noteTimeout(false);
    for (let n = 0; n < (what.responses ?? 0); n += 1) upstream.noteResponse(1);
    clock.advance(1_000);
    await Promise.resolve();
    await Promise.resolve();
    return budget.bucket.packetsPerSecond;
  };
  return { auto, budget, clock, second, cuts };
}

test('rises while it is used and nothing is lost, stays while it is not used', async () => {
  const { second } = setUp();
  expect(await second({ sent: 100 })).toBe(900);
  expect(await second({ sent: 800 })).toBe(920);
  expect(await second({ sent: 900 })).toBe(940);
  expect(await second({ sent: 500 })).toBe(940);
});

test('the counter of the cloud grows: cut to 0.7 of what was sent, held, then up to the ceiling only', async () => {
  const { auto, second, cuts } = setUp();
  await second({});
  expect(auto.ceiling).toBe(null);
  const reached = 820;
  expect(await second({ sent: reached + 40, linklocal: 40 })).toBe(574);
  expect(auto.ceiling).toBe(779);
  // The effect must show first.
  expect(await second({ sent: 570, linklocal: 5 })).toBe(574);
  expect(await second({ sent: 570 })).toBe(574);
  let limit = 0;
  for (let n = 0; n < 30; n += 1) limit = await second({ sent: 779 });
  expect(limit).toBe(779);
  expect(cuts).toEqual(['linklocal_allowance_exceeded 574']);
  expect(auto.cuts.linklocal_allowance_exceeded).toBe(1);
});

test('a wall at 600 packets a second: found at once, and hit once in ten minutes', async () => {
  const { budget, second } = setUp();
  await second({});
  const limits: number[] = [];
  let lost = 0;
  for (let n = 0; n < 600; n += 1) {
    // As much as the bucket gives, which is a little less than the limit.
    const sent = Math.floor(budget.bucket.packetsPerSecond * 0.92);
    const over = Math.max(0, sent - 600);
    lost += over;
    limits.push(await second({ sent, linklocal: over }));
  }
  expect(limits.slice(0, 4)).toEqual([420, 420, 420, 440]);
  expect(Math.max(...limits)).toBe(570);
  expect(lost).toBe(228);
});

test('ten minutes later the wall is tried again', async () => {
  const { auto, second, clock } = setUp();
  await second({});
  await second({ sent: 860, linklocal: 1 });
  clock.advance(600_000);
  expect(auto.ceiling).toBe(null);
});

test("a counter that grows while we send nothing is of somebody else's making", async () => {
  const { second } = setUp();
  await second({});
  expect(await second({ linklocal: 100 })).toBe(900);
});

test('a full receive buffer, or connection table, lowers it too', async () => {
  const { second, cuts } = setUp(false);
  await second({});
  await second({ sent: 400, receiveErrors: 1 });
  for (let n = 0; n < 3; n += 1) await second({});
  await second({ sent: 500, conntrackFill: 0.97 });
  expect(cuts).toEqual(['receive_buffer 280', 'conntrack 196']);
});

test('time-outs count near the limit, while the upstream answers others, and only when many', async () => {
  const { second, cuts } = setUp(false);
  await second({});
  await second({ sent: 850, timeouts: 60 });
  await second({ sent: 300, timeouts: 60, responses: 200 });
  await second({ sent: 850, timeouts: 20, responses: 800 });
  expect(cuts).toEqual([]);
  await second({ sent: 850, timeouts: 60, responses: 790 });
  expect(cuts).toEqual(['timeouts 595']);
});

test('never below a hundred', async () => {
  const { second } = setUp();
  await second({});
  let limit = 0;
  for (let n = 0; n < 30; n += 1) limit = await second({ sent: 50, linklocal: 1 });
  expect(limit).toBe(100);
});

test('stopped, it leaves no timer', async () => {
  const { auto, second, clock } = setUp();
  await second({});
  auto.stop();
  clock.advance(5_000);
  expect(clock.timers).toBe(0);
});
