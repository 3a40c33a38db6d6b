import { expect, test } from 'vitest';
import { Alarm, type AlarmOwner, TimerWheel } from '../../runtime/timer-wheel.ts';
import { ManualClock } from '../support/clock.ts';

class Journal implements AlarmOwner {
  readonly fired: [kind: number, atMs: number][] = [];
  readonly #clock: ManualClock;
  onFire: (kind: number) => void = () => undefined;
  constructor(clock: ManualClock) {
    this.#clock = clock;
  }
  onAlarm(kind: number): void {
    this.fired.push([kind, this.#clock.monotonicMs()]);
    this.onFire(kind);
  }
}

const setUp = () => {
  const clock = new ManualClock(0);
  const wheel = new TimerWheel(clock);
  const journal = new Journal(clock);
  return { clock, wheel, journal };
};

test('alarms fire at their instant, rounded up to a tick, in order', () => {
  const { clock, wheel, journal } = setUp();
  for (const delayMs of [400, 15, 4000, 0, 1800]) {
    wheel.arm(new Alarm(journal, delayMs), delayMs);
  }
  clock.advance(5000);
  expect(journal.fired).toEqual([
    [0, 10],
    [15, 20],
    [400, 400],
    [1800, 1800],
    [4000, 4000],
  ]);
});

test('an alarm beyond one turn of the wheel waits for its own turn', () => {
  const { clock, wheel, journal } = setUp();
  wheel.arm(new Alarm(journal, 1), 25_000);
  clock.advance(24_999);
  expect(journal.fired).toEqual([]);
  clock.advance(1);
  expect(journal.fired).toEqual([[1, 25_000]]);
});

test('moved, disarmed and re-armed from within', () => {
  const { clock, wheel, journal } = setUp();
  const moved = new Alarm(journal, 1);
  const dropped = new Alarm(journal, 2);
  const neighbour = new Alarm(journal, 3);
  wheel.arm(moved, 100);
  wheel.arm(dropped, 100);
  wheel.arm(neighbour, 50);
  wheel.arm(moved, 300);
  journal.onFire = (kind) => {
    if (kind === 3) wheel.disarm(dropped);
    if (kind === 1 && journal.fired.length < 4) wheel.arm(moved, 100);
  };
  clock.advance(1000);
  expect(journal.fired).toEqual([
    [3, 50],
    [1, 300],
    [1, 400],
    [1, 500],
  ]);
});

test('no timer is left when nothing is armed', () => {
  const { clock, wheel, journal } = setUp();
  const alarm = new Alarm(journal, 1);
  wheel.arm(alarm, 500);
  expect(clock.timers).toBe(1);
  wheel.disarm(alarm);
  clock.advance(20);
  expect([clock.timers, wheel.size]).toEqual([0, 0]);
  wheel.arm(alarm, 500);
  wheel.stop();
  expect([clock.timers, wheel.size, alarm.armed]).toEqual([0, 0, false]);
});
