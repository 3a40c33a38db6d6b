import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import {
  BUDGET_PACKETS_MIN,
  Budget,
  type BudgetWaiter,
  LANE,
  type Lane,
  Place,
} from '../../../resolver/upstream/budget.ts';
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

const setUp = (packetsPerSecond: number) => {
  const clock = new ManualClock(0);
  const wheel = new TimerWheel(clock);
  const budget = new Budget(packetsPerSecond, clock, wheel);
  const sent: { atMs: number; lane: Lane; packets: number }[] = [];
  const ask = (lane: Lane, packets = 1): Place => {
    const note = () => sent.push({ atMs: clock.monotonicMs(), lane, packets });
    const place = new Place(new Sender(lane, note));
    if (budget.take(place, packets)) note();
    return place;
  };
  return { clock, wheel, budget, sent, ask };
};

test('0 is no bound', () => {
  const { ask, sent } = setUp(0);
  for (let n = 0; n < 100_000; n += 1) ask(LANE.lookup);
  expect(sent.length).toBe(100_000);
});

test('in no window of one second more than the budget, whatever comes when', () => {
  const arrivals = fc.array(
    fc.record({
      afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 300 })),
      count: fc.integer({ min: 1, max: 80 }),
      lane: fc.constantFrom<Lane>(0, 1, 2, 3),
      packets: fc.constantFrom(1, 1, 1, 2, 6),
    }),
    { minLength: 1, maxLength: 60 },
  );
  const budgets = fc.integer({ min: BUDGET_PACKETS_MIN, max: 1_000 });
  fc.assert(
    fc.property(budgets, arrivals, (packetsPerSecond, steps) => {
      const { clock, sent, ask, budget } = setUp(packetsPerSecond);
      for (const { afterMs, count, lane, packets } of steps) {
        clock.advance(afterMs);
        for (let n = 0; n < count; n += 1) ask(lane, packets);
      }
      clock.advance(5_000);
      for (const [index, { atMs }] of sent.entries()) {
        let packets = 0;
        for (let at = index; at < sent.length && sent[at]!.atMs < atMs + 1_000; at += 1) {
          packets += sent[at]!.packets;
        }
        expect(packets).toBeLessThanOrEqual(packetsPerSecond);
      }
      expect(budget.waiting === 0 || sent.length > 0).toBe(true);
    }),
    { numRuns: 60 },
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
  for (let n = 0; n < 6; n += 1) ask(LANE.lookup);
  sent.length = 0;
  ask(LANE.refresh);
  ask(LANE.reverse);
  const gone = ask(LANE.text);
  ask(LANE.text);
  ask(LANE.lookup);
  ask(LANE.lookup);
  expect(sent).toEqual([]);
  budget.leave(gone);
  clock.advance(2_000);
  expect(sent.map(({ lane }) => lane)).toEqual([0, 0, 1, 2, 3]);
});

test('who asks for little does not overtake who waits for much', () => {
  const { clock, sent, ask } = setUp(20);
  ask(LANE.lookup, 6);
  ask(LANE.lookup, 6);
  clock.advance(200);
  ask(LANE.lookup, 1);
  clock.advance(2_000);
  expect(sent.map(({ packets }) => packets)).toEqual([6, 6, 1]);
});

test('no timer is left once nobody waits', () => {
  const { clock, ask } = setUp(20);
  for (let n = 0; n < 10; n += 1) ask(LANE.lookup);
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
    await upstream.arrival(7);
    const stale = await askUdp(resolver.endpoint, question('old.example', TYPE.A));
    expect(brief(stale)).toBe('NOERROR 1');
    expect(upstream.asked.length).toBe(7);
    expect(await metric(resolver, 'postilion_dns_budget_waiting')).toBe(95);
    expect(resolver.explain('n99.example').inFlight[0]?.state).toBe(
      'waits for the budget of 20 packets/s',
    );
    resolver.clock.advance(4_010);
    await client.answer(100);
    const last = oracle(client.received.find((answer) => answer.readUInt16BE(0) === 99)!);
    expect([last.rcode, extendedErrors(last)]).toEqual([
      'SERVFAIL',
      [{ code: 0, text: 'waits for the budget of 20 packets/s' }],
    ]);
  });
});
