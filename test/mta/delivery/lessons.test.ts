/** What a site was taught outlives its idling, for a time. */
import { afterEach, describe, expect, test } from 'vitest';
import { Lessons } from '../../../mta/delivery/lessons.ts';
import { Tuner } from '../../../mta/delivery/tuner.ts';
import { SiteConcurrency } from '../../../mta/plan/concurrency.ts';
import { ReplyParser } from '../../../mta/smtp/reply.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/clock.ts';
import { waitFor } from '../../support/process.ts';
import { createWorld } from '../world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const MINUTE_MS = 60_000;
const MAIL = ['a.example'];

function complaint(text: string) {
  const parser = new ReplyParser();
  parser.feed(Buffer.from(`${text}\r\n`));
  const reply = parser.next();
  return { phase: 'endOfData', reply, maybeDelivered: false, local: false, cause: null } as const;
}
const RATE = complaint('421 4.7.28 slow down');

/** A site whose host has complained four times, and would have one connection only; it idles from now on. */
function idling(clock: ManualClock, lessons: Lessons, siteId = 'site'): void {
  const tuner = new Tuner('mx');
  const concurrency = new SiteConcurrency(20);
  for (let n = 0; n < 4; n += 1) {
    clock.advance(2_000);
    tuner.observe([RATE], MAIL, clock.monotonicMs(), 7);
  }
  concurrency.refused(clock.monotonicMs(), 1);
  const pause = tuner.pause(clock.monotonicMs());
  lessons.keep(siteId, { pause, restraint: concurrency.restraint }, clock.monotonicMs());
}

describe('a lesson', () => {
  test('stays for an hour of rest, then is taken back by the minute', () => {
    const clock = new ManualClock();
    const lessons = new Lessons();
    idling(clock, lessons);
    const seen = [];
    for (const advanceMinutes of [0, 1, 58, 1, 1, 1, 1, 1]) {
      clock.advance(advanceMinutes * MINUTE_MS);
      const { pause, restraint } = lessons.peek('site', clock.monotonicMs());
      seen.push([pause?.pauseMs ?? null, restraint?.allowance ?? null]);
    }
    expect(seen).toEqual([
      [800, 1],
      [800, 1],
      [800, 1],
      [800, 1],
      [400, 2],
      [200, 3],
      [100, 4],
      [null, null],
    ]);
  });

  test('holds for who serves the site next, whom quiet at work sets free as ever', () => {
    const clock = new ManualClock();
    const lessons = new Lessons();
    idling(clock, lessons);
    clock.advance(59 * MINUTE_MS);
    const nowMs = clock.monotonicMs();
    const { pause, restraint } = lessons.take('site', nowMs);
    const tuner = new Tuner('mx', pause, nowMs);
    const concurrency = new SiteConcurrency(20, restraint);
    expect(tuner.slowed).toEqual({
      text: 'mx is slowed to a message every 800 ms by rule: rate, after 421 4.7.28 slow down',
      sinceMs: 7,
    });
    expect(tuner.waitMs(nowMs)).toBe(0);
    tuner.take();
    expect(tuner.waitMs(nowMs)).toBe(800);
    expect(concurrency.desired(1_000)).toBe(1);
    tuner.waitMs(nowMs + MINUTE_MS);
    expect(tuner.slowed?.text).toContain('every 400 ms');
    concurrency.served(nowMs + MINUTE_MS, 1);
    expect(concurrency.allowance).toBe(2);
    // Taken, it is no longer kept.
    expect(lessons.peek('site', nowMs)).toEqual({ pause: null, restraint: null });
  });

  test('is restraint alone: many connections once stood are not met with as many again', () => {
    const concurrency = new SiteConcurrency(20);
    for (let n = 0; n < 500; n += 1) concurrency.served(0, 1);
    expect([concurrency.allowance, concurrency.restraint]).toEqual([20, null]);
    expect(new SiteConcurrency(2).restraint).toBeNull();
  });

  test('of ten thousand sites; which was left longest ago is forgotten', () => {
    const clock = new ManualClock();
    const lessons = new Lessons();
    idling(clock, lessons);
    const nowMs = clock.monotonicMs();
    const lesson = lessons.take('site', nowMs);
    for (let n = 0; n <= 10_000; n += 1) lessons.keep(`site ${n}`, lesson, nowMs);
    const kept = ['site 0', 'site 1', 'site 10000'].map((id) => lessons.peek(id, nowMs).pause);
    expect(kept).toEqual([null, lesson.pause, lesson.pause]);
  });
});

test('a site that was told to slow down is slow when it has mail again, and its page says so at rest', async () => {
  let refusals = 1;
  const world = await createWorld(
    {
      mail: { 'a.example': ['mx.one.example'] },
      sinks: {
        'mx.one.example': {
          onMessage: () => (refusals-- > 0 ? '450 4.7.28 unusual rate of mail' : null),
        },
      },
      delivery: { idle: '100ms' },
      mta: { retry: ['3s'] },
      clock: systemClock(),
    },
    cleanup,
  );
  await world.send([{ to: ['you@a.example'] }]);
  const isAtRest = async () => (await world.mta.status()).sites.length === 0;
  await waitFor(async () => refusals === 0 && (await isAtRest()), 'the site to idle');
  const [change] = world.mta.changes();
  const site = () => world.mta.site(change!.site);
  const slowed = site()?.slowed;
  expect(slowed?.text).toMatch(
    /^mx\.one\.example\S* is slowed to a message every 100 ms by rule: rate, after 450 4\.7\.28 unusual rate of mail$/,
  );
  await world.drained();
  await waitFor(isAtRest, 'the site to idle again');
  expect(site()?.slowed).toEqual(slowed);
});
