import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import {
  Budget,
  type BudgetWaiter,
  LANE,
  type Lane,
  Place,
} from '../../../resolver/upstream/budget.ts';
import {
  ASK_PACKETS_MAX,
  BUDGET_PACKETS_MIN,
  TokenBucket,
} from '../../../resolver/upstream/token-bucket.ts';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { TimerWheel } from '../../../runtime/timer-wheel.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/clock.ts';
import { answers, FakeUpstream, silent } from '../../support/fake-upstream.ts';
import { oracle } from '../../support/oracle.ts';
import {
  askUdp,
  brief,
  extendedErrors,
  metric,
  question,
  startTestResolver,
  UdpClient,
} from '../../support/resolver.ts';

class Sender implements BudgetWaiter {
  readonly lane: Lane;
  readonly #granted: (sender: Sender) => void;
  constructor(lane: Lane, granted: (sender: Sender) => void) {
    this.lane = lane;
    this.#granted = granted;
  }
  onGranted(): void {
    this.#granted(this);
  }
}

interface Sent {
  readonly atMs: number;
  readonly lane: Lane;
  readonly packets: number;
  readonly own: TokenBucket | null;
}

const setUp = (packetsPerSecond: number) => {
  const clock = new ManualClock(0);
  const wheel = new TimerWheel(clock);
  const budget = new Budget('upstreams', packetsPerSecond, clock, wheel);
  const sent: Sent[] = [];
  const ask = (lane: Lane, packets = 1, own: TokenBucket | null = null): Place => {
    const note = () => sent.push({ atMs: clock.monotonicMs(), lane, packets, own });
    const place = new Place(new Sender(lane, note), own);
    if (budget.take(place, packets)) note();
    return place;
  };
  return { clock, wheel, budget, sent, ask };
};

/** The most packets in any window [t, t + 1 s). */
function busiestSecond(sent: readonly Sent[]): number {
  let busiest = 0;
  let packets = 0;
  let from = 0;
  for (const { atMs, packets: more } of sent) {
    packets += more;
    while (sent[from]!.atMs <= atMs - 1_000) packets -= sent[from++]!.packets;
    busiest = Math.max(busiest, packets);
  }
  return busiest;
}

const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);

test('0 is no bound', () => {
  const { ask, sent } = setUp(0);
  for (let n = 0; n < 100_000; n += 1) ask(LANE.lookup);
  expect(sent.length).toBe(100_000);
});

const arrivals = fc.array(
  fc.record({
    afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 300 }), fc.constant(2_000)),
    count: fc.integer({ min: 1, max: 80 }),
    lane: fc.constantFrom<Lane>(0, 1, 2, 3, 4),
    packets: fc.constantFrom(1, 1, 1, 2, 6, ASK_PACKETS_MAX),
    isOwn: fc.boolean(),
  }),
  { minLength: 1, maxLength: 60 },
);
const budgets = fc.integer({ min: BUDGET_PACKETS_MIN, max: 1_000 });

test('in no window of one second more than the budget, of the group and of the upstream', () => {
  fc.assert(
    fc.property(budgets, budgets, arrivals, (ofGroup, ofUpstream, steps) => {
      const { clock, sent, ask, budget } = setUp(ofGroup);
      const own = new TokenBucket(ofUpstream, clock);
      for (const { afterMs, count, lane, packets, isOwn } of steps) {
        clock.advance(afterMs);
        for (let n = 0; n < count; n += 1) ask(lane, packets, isOwn ? own : null);
      }
      clock.advance(3_000);
      expect(busiestSecond(sent)).toBeLessThanOrEqual(ofGroup);
      expect(busiestSecond(sent.filter((it) => it.own === own))).toBeLessThanOrEqual(ofUpstream);
      expect(total(budget.spent)).toBe(sent.reduce((sum, { packets }) => sum + packets, 0));
    }),
    { numRuns: 60 },
  );
});

test('nor when the limit changes meanwhile: the greater of both holds', () => {
  fc.assert(
    fc.property(budgets, budgets, fc.integer({ min: 1, max: 1_500 }), (before, after, atMs) => {
      const { clock, sent, ask, budget } = setUp(before);
      for (let n = 0; n < 4_000; n += 1) ask(LANE.lookup);
      clock.advance(atMs);
      budget.bucket.setLimit(after);
      clock.advance(3_000);
      expect(busiestSecond(sent)).toBeLessThanOrEqual(Math.max(before, after));
      const later = sent.filter((it) => it.atMs > clock.monotonicMs() - 1_500);
      expect(busiestSecond(later)).toBeLessThanOrEqual(after);
    }),
    { numRuns: 40 },
  );
});

test('the budget is used: over ten seconds of need, nine tenths of it', () => {
  const { clock, sent, ask } = setUp(900);
  for (let n = 0; n < 20_000; n += 1) ask(LANE.lookup);
  clock.advance(10_000);
  expect(sent.length).toBeGreaterThan(8_100);
  expect(sent.length).toBeLessThanOrEqual(9_000);
});

test('lanes go in their order, each in order of arrival; who left is passed over', () => {
  const { clock, sent, ask, budget } = setUp(20);
  for (let n = 0; n < ASK_PACKETS_MAX; n += 1) ask(LANE.lookup);
  sent.length = 0;
  ask(LANE.refresh);
  ask(LANE.reverse);
  const gone = ask(LANE.text);
  ask(LANE.text);
  ask(LANE.lookup);
  ask(LANE.lookup);
  ask(LANE.probe);
  expect(sent).toEqual([]);
  expect(budget.waiting).toEqual([1, 2, 2, 1, 1]);
  budget.leave(gone);
  clock.advance(2_000);
  expect(sent.map(({ lane }) => lane)).toEqual([0, 1, 1, 2, 3, 4]);
});

test('no lane starves: with all of them waiting, each lower one has its share', () => {
  const { clock, ask, budget } = setUp(1_000);
  for (let n = 0; n < 20_000; n += 1) {
    for (const lane of [LANE.lookup, LANE.text, LANE.reverse, LANE.refresh]) ask(lane);
  }
  const before = [...budget.spent];
  clock.advance(10_000);
  const spent = budget.spent.map((packets, lane) => packets - before[lane]!);
  // 9,200 in all; every 21st goes to a lower lane, in rotation.
  expect(spent[LANE.lookup]).toBeGreaterThan(8_600);
  for (const lane of [LANE.text, LANE.reverse, LANE.refresh]) {
    expect(spent[lane]).toBeGreaterThan(140);
    expect(spent[lane]).toBeLessThan(160);
  }
});

test('who waits for its own upstream does not hold up who asks another', () => {
  const { clock, sent, ask } = setUp(1_000);
  const slow = new TokenBucket(20, clock);
  const quick = new TokenBucket(500, clock);
  for (let n = 0; n < 40; n += 1) ask(LANE.lookup, 1, slow);
  for (let n = 0; n < 40; n += 1) ask(LANE.lookup, 1, quick);
  clock.advance(300);
  expect(sent.filter(({ own }) => own === quick).length).toBe(40);
  expect(sent.filter(({ own }) => own === slow).length).toBe(14);
});

test('who asks for little does not overtake who waits for much', () => {
  const { clock, sent, ask } = setUp(20);
  ask(LANE.lookup, 12);
  ask(LANE.lookup, 6);
  clock.advance(200);
  ask(LANE.lookup, 1);
  clock.advance(2_000);
  expect(sent.map(({ packets }) => packets)).toEqual([12, 6, 1]);
});

test('what is to spare is what leaves half a burst', () => {
  const { clock, ask, budget } = setUp(1_000);
  const spare = () => budget.takeSpare(LANE.lookup, null, 1);
  let taken = 0;
  while (spare()) taken += 1;
  expect(taken).toBe(25);
  for (let n = 0; n < 30; n += 1) ask(LANE.refresh);
  expect(spare()).toBe(false);
  clock.advance(1_000);
  expect(spare()).toBe(true);
});

test('headroom is what the last second left', () => {
  const { clock, ask, budget } = setUp(1_000);
  for (let n = 0; n < 50; n += 1) ask(LANE.lookup);
  expect([budget.bucket.lastSecond, budget.bucket.headroom]).toEqual([50, 950]);
  clock.advance(900);
  expect(budget.bucket.headroom).toBe(950);
  clock.advance(150);
  expect(budget.bucket.headroom).toBe(1_000);
});

test('no timer is left once nobody waits', () => {
  const { clock, ask } = setUp(20);
  for (let n = 0; n < 20; n += 1) ask(LANE.lookup);
  clock.advance(10_000);
  expect(clock.timers).toBe(0);
});

describe('in the resolver', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  test('over it queries wait, stale is served at once, the rest fails naming the budget', async () => {
    const upstream = cleanup.stop(await FakeUpstream.start(answers(10)));
    const resolver = cleanup.stop(await startTestResolver([upstream.endpoint], { budget: 20 }));
    const client = new UdpClient(resolver.endpoint);
    cleanup.add(async () => client.close());
    await askUdp(resolver.endpoint, question('old.example', TYPE.A));
    resolver.clock.advance(11_000);
    upstream.behaviour = silent;
    for (let n = 0; n < 100; n += 1) client.send(question(`n${n}.example`, TYPE.A, { id: n }));
    await upstream.arrival(13);
    const stale = await askUdp(resolver.endpoint, question('old.example', TYPE.A));
    expect(brief(stale)).toBe('NOERROR 1');
    expect(upstream.asked.length).toBe(13);
    const lookups = 'group="upstreams",lane="lookup"';
    expect(await metric(resolver, `postilion_dns_budget_waiting{${lookups}}`)).toBe(89);
    expect(resolver.explain('n99.example').inFlight[0]?.state).toBe(
      'waits for the budget of 20 packets/s (upstreams)',
    );
    resolver.clock.advance(4_010);
    await client.answer(100);
    const last = oracle(client.received.find((answer) => answer.readUInt16BE(0) === 99)!);
    expect([last.rcode, extendedErrors(last)]).toEqual([
      'SERVFAIL',
      [{ code: 0, text: 'waits for the budget of 20 packets/s (upstreams)' }],
    ]);
  });
});
