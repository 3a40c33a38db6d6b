import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Ledger } from '../../../../mta/report/ledger.ts';
import { NO_POLICY, type TlsOutcome } from '../../../../mta/report/tls/outcome.ts';
import { DETAILS_MAX, dayOf, TALLY_SCHEMA, TlsTally } from '../../../../mta/report/tls/tally.ts';
import { silentLog } from '../../../../runtime/log.ts';
import { ManualClock } from '../../../support/clock.ts';
import { type Folder, scratchFolder } from '../../../support/scratch.ts';

let folder: Folder;
let clock: ManualClock;
let ledger: Ledger;
let tally: TlsTally;

async function open(): Promise<void> {
  const path = join(folder.path, 'ledger.sqlite');
  ledger = await Ledger.open({ path, schema: TALLY_SCHEMA, nowMs: 0, log: silentLog });
  tally = new TlsTally({ ledger, clock, log: silentLog });
}
beforeEach(async () => {
  folder = await scratchFolder('tally');
  clock = new ManualClock(1_000_000, Date.UTC(2026, 10, 24, 23, 59, 50));
  await open();
});
afterEach(async () => {
  await tally.close();
  await ledger.close();
  await folder.remove();
});

const success = (domain: string): TlsOutcome => ({ domain, policy: NO_POLICY, failure: null });
const failure = (domain: string, address: string): TlsOutcome => ({
  domain,
  policy: NO_POLICY,
  failure: {
    type: 'starttls-not-supported',
    host: `mx.${domain}`,
    address,
    localAddress: '192.0.2.9',
    reason: '',
  },
});

test('sessions are counted by day, domain, policy and failure, over a restart', async () => {
  const today = dayOf(clock.wallMs());
  for (let count = 0; count < 3; count += 1) tally.note(success('a.example'));
  tally.note(failure('a.example', '192.0.2.1'));
  tally.note(success('b.example'));
  await tally.flush();
  await tally.close();
  await ledger.close();
  await open();
  tally.note(success('a.example'));
  tally.note(failure('a.example', '192.0.2.1'));
  clock.advance(10_000);
  tally.note(success('a.example'));
  await tally.flush();

  expect(tally.daysBefore(today + 2)).toEqual([today, today + 1]);
  expect(tally.daysBefore(today + 1)).toEqual([today]);
  expect(tally.domains(today, '', 10)).toEqual(['a.example', 'b.example']);
  expect(tally.domains(today, 'a.example', 10)).toEqual(['b.example']);
  const { failure: kept } = failure('a.example', '192.0.2.1');
  expect(tally.of(today, 'a.example')).toEqual([
    { policy: NO_POLICY, successes: 4, failures: [{ failure: kept, sessions: 2 }] },
  ]);
  expect(tally.of(today + 1, 'a.example')).toEqual([
    { policy: NO_POLICY, successes: 1, failures: [] },
  ]);
  await tally.forget(today, 'a.example');
  expect(tally.domains(today, '', 10)).toEqual(['b.example']);
  await tally.forgetDay(today);
  expect(tally.daysBefore(today + 2)).toEqual([today + 1]);
});

test('what is counted is in the ledger ten seconds later', async () => {
  clock = new ManualClock();
  tally = new TlsTally({ ledger, clock, log: silentLog });
  tally.note(success('a.example'));
  expect(tally.domains(dayOf(clock.wallMs()), '', 10)).toEqual([]);
  clock.advance(10_000);
  await tally.flush();
  expect(tally.domains(dayOf(clock.wallMs()), '', 10)).toEqual(['a.example']);
});

test('beyond the bound on details, failures are told by type alone', async () => {
  const today = dayOf(clock.wallMs());
  for (let at = 0; at < DETAILS_MAX + 20; at += 1)
    tally.note(failure('a.example', `192.0.2.${at}`));
  await tally.flush();
  const [policy] = tally.of(today, 'a.example');
  expect(policy!.failures.length).toBe(DETAILS_MAX + 1);
  const rest = policy!.failures.find(({ failure: { address } }) => address === '');
  expect(rest).toMatchObject({ failure: { type: 'starttls-not-supported' }, sessions: 20 });
});

test('counts that the ledger cannot take now are kept and written later', async () => {
  let broken = true;
  const shaky = {
    all: ledger.all.bind(ledger),
    run: (...statement: Parameters<Ledger['run']>) =>
      broken ? Promise.reject(new Error('full')) : ledger.run(...statement),
  } as Pick<Ledger, 'run' | 'all'>;
  const other = new TlsTally({ ledger: shaky, clock, log: silentLog });
  const today = dayOf(clock.wallMs());
  other.note(success('a.example'));
  await other.flush();
  other.note(success('a.example'));
  await other.flush();
  broken = false;
  other.note(success('a.example'));
  await other.close();
  expect(tally.of(today, 'a.example')).toEqual([{ policy: NO_POLICY, successes: 3, failures: [] }]);
});
