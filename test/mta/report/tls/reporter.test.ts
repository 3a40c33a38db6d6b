/** When reports are made, what they say, and what becomes of those that cannot be sent. */
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Submission } from '../../../../mta/envelope.ts';
import { Ledger } from '../../../../mta/report/ledger.ts';
import type { TlsOutcome } from '../../../../mta/report/tls/outcome.ts';
import { TlsReports, type TxtLookup } from '../../../../mta/report/tls/reporter.ts';
import { TALLY_SCHEMA, TlsTally } from '../../../../mta/report/tls/tally.ts';
import { silentLog } from '../../../../runtime/log.ts';
import { ManualClock } from '../../../support/clock.ts';
import { waitFor } from '../../../support/process.ts';
import { type Folder, scratchFolder } from '../../../support/scratch.ts';

const HOUR_MS = 3_600_000;
let folder: Folder;
let clock: ManualClock;
let ledger: Ledger;
let tally: TlsTally;
let reports: TlsReports;
let records: Record<string, string | TxtLookup>;
let asked: string[];
let mailed: Submission[];
let posted: { url: string; json: unknown }[];
let answers: (number | Error)[];

beforeEach(async () => {
  folder = await scratchFolder('reporter');
  clock = new ManualClock(1_000_000, Date.UTC(2026, 10, 24, 12));
  const path = join(folder.path, 'ledger.sqlite');
  ledger = await Ledger.open({ path, schema: TALLY_SCHEMA, nowMs: 0, log: silentLog });
  tally = new TlsTally({ ledger, clock, log: silentLog });
  [records, asked, mailed, posted, answers] = [{}, [], [], [], []];
  reports = make();
  reports.start();
});
afterEach(async () => {
  await reports.stop();
  await tally.close();
  await ledger.close();
  await folder.remove();
});

const make = (): TlsReports =>
  new TlsReports({
    reporter: {
      organization: 'Sender, Inc.',
      contact: 'postmaster@sender.example',
      from: 'tls@sender.example',
      submitter: 'sender.example',
    },
    tally,
    async lookUp(name) {
      asked.push(name);
      const record = records[name] ?? { kind: 'none' };
      return typeof record === 'string' ? { kind: 'records', records: [[record]] } : record;
    },
    recipientOf: (address) =>
      address.includes('@') ? { address, domain: `~${address.split('@')[1]}` } : null,
    accept: async (submission) => void mailed.push(submission),
    async post(url, content) {
      const next = answers.shift() ?? 200;
      if (next instanceof Error) throw next;
      posted.push({ url, json: JSON.parse(gunzipSync(content).toString()) });
      return next;
    },
    clock,
    // As late as it may be: four hours after midnight.
    random: { integer: (bound) => bound - 1, fraction: () => 0.999 },
    log: silentLog,
  });

const STS = {
  type: 'sts' as const,
  strings: ['version: STSv1', 'mode: testing', 'mx: *.mail.example', 'max_age: 86400'],
  hosts: ['*.mail.example'],
};
const expired: TlsOutcome = {
  domain: 'a.example',
  policy: STS,
  failure: {
    type: 'certificate-expired',
    host: 'mx1.mail.example',
    address: '203.0.113.56',
    localAddress: '198.51.100.62',
    reason: 'CERT_HAS_EXPIRED',
  },
};
const fine: TlsOutcome = { domain: 'a.example', policy: STS, failure: null };

/** Lets so much time pass, and each round that falls due in it come to its end. */
async function pass(ms: number): Promise<void> {
  await tally.flush();
  const STEP_MS = HOUR_MS / 6;
  for (let left = ms; left > 0; left -= STEP_MS) {
    clock.advance(Math.min(left, STEP_MS));
    await waitFor(() => clock.timers > 0, 'the end of the round');
  }
}

test('a day is reported once, hours after its end, as RFC 8460 has it', async () => {
  records['_smtp._tls.a.example'] = 'v=TLSRPTv1; rua=mailto:tls@a.example,https://a.example/r';
  for (const outcome of [fine, fine, expired]) tally.note(outcome);
  await pass(11 * HOUR_MS);
  expect(asked).toEqual([]);
  await pass(HOUR_MS + 5 * HOUR_MS);
  expect(asked).toEqual(['_smtp._tls.a.example']);
  const json = {
    'organization-name': 'Sender, Inc.',
    'date-range': {
      'start-datetime': '2026-11-24T00:00:00Z',
      'end-datetime': '2026-11-24T23:59:59Z',
    },
    'contact-info': 'postmaster@sender.example',
    'report-id': expect.stringMatching(/^2026-11-24\.[0-9a-f]{24}@sender\.example$/),
    policies: [
      {
        policy: {
          'policy-type': 'sts',
          'policy-string': STS.strings,
          'policy-domain': 'a.example',
          'mx-host': ['*.mail.example'],
        },
        summary: { 'total-successful-session-count': 2, 'total-failure-session-count': 1 },
        'failure-details': [
          {
            'result-type': 'certificate-expired',
            'sending-mta-ip': '198.51.100.62',
            'receiving-mx-hostname': 'mx1.mail.example',
            'receiving-ip': '203.0.113.56',
            'failed-session-count': 1,
            'failure-reason-code': 'CERT_HAS_EXPIRED',
          },
        ],
      },
    ],
  };
  expect(posted).toEqual([{ url: 'https://a.example/r', json }]);
  expect(mailed.length).toBe(1);
  const { envelope, content, priority } = mailed[0]!;
  expect(envelope).toEqual({
    reversePath: 'tls@sender.example',
    recipients: [
      { index: 0, address: 'tls@a.example', domain: '~a.example', extra: '{"notify":[]}' },
    ],
    body: '7bit',
    smtpUtf8: false,
  });
  expect(priority).toBe('bulk');
  const text = Buffer.from(content).toString('latin1');
  const unfolded = text.replaceAll('\r\n ', ' ');
  expect(unfolded).toContain('\r\nTLS-Report-Domain: a.example\r\n');
  expect(unfolded).toContain('\r\nTLS-Report-Submitter: sender.example\r\n');
  expect(unfolded).toMatch(
    /\r\nSubject: Report Domain: a\.example Submitter: sender\.example Report-ID: <2026-11-24\./,
  );
  expect(unfolded).toMatch(/\r\nContent-Type: multipart\/report; report-type="tlsrpt"; boundary=/);
  expect(unfolded).toContain(
    'Content-Disposition: attachment; filename="sender.example!a.example!1795478400!1795564799.json.gz"',
  );
  expect(Math.max(...text.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(998);
  const base64 = /application\/tlsrpt\+gzip[\s\S]*?\r\n\r\n([A-Za-z0-9+/=\r\n]+)\r\n--/.exec(
    text,
  )?.[1];
  const attached: unknown = JSON.parse(gunzipSync(Buffer.from(base64!, 'base64')).toString());
  expect(attached).toEqual(json);
  // Never again, and the day is forgotten.
  await pass(24 * HOUR_MS);
  expect([asked.length, mailed.length, posted.length]).toEqual([1, 1, 1]);
  expect(tally.daysBefore(Number.MAX_SAFE_INTEGER)).toEqual([]);
});

test('nobody who does not ask gets one', async () => {
  records['_smtp._tls.b.example'] = 'v=spf1 -all';
  records['_smtp._tls.c.example'] = 'v=TLSRPTv1; rua=mailto:nonsense';
  for (const domain of ['a.example', 'b.example', 'c.example']) tally.note({ ...fine, domain });
  await pass(18 * HOUR_MS);
  expect(asked.length).toBe(3);
  expect([mailed, posted]).toEqual([[], []]);
  expect(tally.daysBefore(Number.MAX_SAFE_INTEGER)).toEqual([]);
});

test('what cannot be sent is tried hourly, and each destination gets one', async () => {
  records['_smtp._tls.a.example'] = 'v=TLSRPTv1; rua=mailto:tls@a.example,https://a.example/r';
  answers = [new Error('refused'), 503, 201];
  tally.note(fine);
  await pass(16.5 * HOUR_MS);
  expect([mailed.length, posted.length]).toEqual([1, 0]);
  await pass(HOUR_MS);
  await pass(HOUR_MS);
  expect([mailed.length, posted.length]).toEqual([1, 2]);
  expect(reports.counters).toEqual({ mailed: 1, posted: 1, failed: 2 });
  await pass(HOUR_MS);
  expect([mailed.length, posted.length]).toEqual([1, 2]);
});

test('DNS trouble is no want of a record; after a day it is given up', async () => {
  records['_smtp._tls.a.example'] = { kind: 'trouble' };
  tally.note(fine);
  await pass(16.5 * HOUR_MS);
  const [day] = tally.daysBefore(Number.MAX_SAFE_INTEGER);
  for (let hour = 0; hour < 20; hour += 1) await pass(HOUR_MS);
  expect(asked.length).toBe(21);
  expect(tally.daysBefore(Number.MAX_SAFE_INTEGER)).toEqual([day]);
  for (let hour = 0; hour < 8; hour += 1) await pass(HOUR_MS);
  expect(tally.daysBefore(Number.MAX_SAFE_INTEGER)).toEqual([]);
});

test('after a restart the days before are reported within minutes', async () => {
  records['_smtp._tls.a.example'] = 'v=TLSRPTv1; rua=mailto:tls@a.example';
  tally.note(fine);
  await tally.flush();
  await reports.stop();
  clock.advance(13 * HOUR_MS);
  reports = make();
  reports.start();
  await pass(60_000);
  expect(mailed.length).toBe(1);
});
