/** Who is told of a delay, as a timetable over a spool of its own. */
import { expect, onTestFinished, test } from 'vitest';
import { Lateness } from '../../../mta/delivery/lateness.ts';
import { writeExtra } from '../../../mta/extra.ts';
import type { Spool } from '../../../mta/spool/spool.ts';
import { ManualClock } from '../../support/clock.ts';
import { scratchFolder } from '../../support/scratch.ts';
import { openAt, START_MS, submission } from '../spool/fixture.ts';

const HOUR_MS = 3_600_000;
const WAIT = { on: 'dns', text: 'SERVFAIL', sinceMs: START_MS, untilMs: null };

interface Rig {
  readonly clock: ManualClock;
  readonly spool: Spool;
  readonly lateness: Lateness;
  /** Addresses of whom somebody was told, with the status. */
  readonly told: string[];
}

async function rig(delayWarningMs: number): Promise<Rig> {
  const folder = await scratchFolder('lateness');
  onTestFinished(() => folder.remove());
  const clock = new ManualClock();
  const spool = await openAt(folder.path, { clock });
  onTestFinished(() => spool.close());
  const told: string[] = [];
  const lateness = new Lateness({
    deps: { spool, clock, config: { delay_warning: delayWarningMs } },
    stopping: () => false,
    explain: () => WAIT,
    outcomes: {
      warn(leased, warningOf) {
        const settlements = leased.recipients.map((recipient) => {
          const key = { message: leased.message, index: recipient.index };
          const warning = warningOf(recipient);
          if (warning === null) return { key, kind: 'released' as const };
          told.push(`${warning.failure.status} ${recipient.address}`);
          const { dueMs, extra } = warning;
          const { attempts, reason } = recipient;
          return { key, kind: 'deferred' as const, dueMs, extra, attempts, reason };
        });
        void spool.settle(settlements, []);
      },
    },
  });
  return { clock, spool, lateness, told };
}

const asking = (address: string, notify: readonly ('DELAY' | 'FAILURE')[]) => {
  const made = submission([address]);
  const extra = writeExtra({ notify });
  const recipients = made.envelope.recipients.map((one) => ({ ...one, ...(extra && { extra }) }));
  return { ...made, envelope: { ...made.envelope, recipients } };
};

test.each([
  { delayWarning: 0, at: 3.9, told: [] },
  { delayWarning: 0, at: 4, told: ['4.4.3 delay@x.example'] },
  { delayWarning: 1, at: 0.9, told: [] },
  {
    delayWarning: 1,
    at: 1,
    told: [
      '4.4.3 any@x.example',
      '4.4.3 delay@x.example',
      '4.4.3 two@x.example',
      '4.4.3 two@y.example',
    ],
  },
])('with delay_warning = $delayWarning h, after $at h', async ({ delayWarning, at, told }) => {
  const made = await rig(delayWarning * HOUR_MS);
  await made.spool.append(submission(['any@x.example']));
  await made.spool.append(asking('delay@x.example', ['DELAY']));
  await made.spool.append(asking('failure@x.example', ['FAILURE']));
  await made.spool.append(asking('never@x.example', []));
  await made.spool.append(submission(['two@x.example', 'two@y.example']));
  await made.spool.append(submission(['notice@x.example'], { reversePath: '' }));
  await made.spool.append({
    ...submission(['future@x.example']),
    notBeforeMs: START_MS + 9 * HOUR_MS,
  });
  made.clock.advance(at * HOUR_MS);
  await made.lateness.sweep();
  await made.lateness.sweep();
  expect(made.told).toEqual(told);
  for (const { dueMs, attempts } of await made.spool.list({
    domain: null,
    after: null,
    limit: 6,
  })) {
    expect([dueMs, attempts]).toEqual([START_MS, 0]);
  }
});

test('what is in hand is looked at again, and what came later in its time', async () => {
  const { clock, spool, lateness, told } = await rig(HOUR_MS);
  const id = await spool.append(submission(['a@x.example']));
  clock.advance(HOUR_MS / 2);
  await spool.append(submission(['b@x.example'], { receivedAtMs: clock.wallMs() }));
  await spool.leaseMessage({ message: id, index: null });
  clock.advance(HOUR_MS / 2);
  await lateness.sweep();
  expect(told).toEqual([]);
  await spool.settle([{ key: { message: id, index: 0 }, kind: 'released' }], []);
  await lateness.sweep();
  expect(told).toEqual(['4.4.3 a@x.example']);
  clock.advance(HOUR_MS / 2);
  await lateness.sweep();
  expect(told).toEqual(['4.4.3 a@x.example', '4.4.3 b@x.example']);
});

test('more than a page is told in one sweep', async () => {
  const { clock, spool, lateness, told } = await rig(HOUR_MS);
  await Promise.all(
    Array.from({ length: 1_100 }, (_, n) => spool.append(submission([`a${n}@x.example`]))),
  );
  clock.advance(HOUR_MS);
  await lateness.sweep();
  expect(new Set(told).size).toBe(1_100);
});
