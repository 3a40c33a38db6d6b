/** Strangers may send to our own domains, and nowhere else. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Submission } from '../../../mta/envelope.ts';
import { Intake } from '../../../mta/intake/intake.ts';
import type { OwnDomains } from '../../../mta/intake/outside.ts';
import { SmtpDoor } from '../../../mta/intake/smtp.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLog } from '../../../runtime/log.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { FIRST_ID, listen, NOWHERE, RawClient, SETTINGS } from './harness.ts';

const OURS: OwnDomains = {
  owns: (domain) => domain === 'bounces.example',
  knows: (address) => !address.startsWith('bounce+'),
};
let door: SmtpDoor;
let intake: Intake;
let accepted: Submission[];
let client: RawClient;

async function open(
  ownDomains: OwnDomains | null,
  users: Record<string, string> = {},
): Promise<void> {
  accepted = [];
  intake = new Intake(
    { ...SETTINGS, allow: NOWHERE, users },
    {
      accept: async (submission) => FIRST_ID + accepted.push(submission),
      ownDomains,
      clock: systemClock(),
      random: cryptoRandom(),
      log: silentLog,
    },
  );
  door = new SmtpDoor(intake, null);
  client = new RawClient(await listen(door));
}
beforeEach(() => {
  accepted = [];
});
afterEach(async () => {
  client.destroy();
  await door.stop(0);
});

const say = (text: string): Promise<string> => client.exchange(`${text}\r\n`, /^\d{3} .*\r\n$/m);

test('a report comes in, and nothing goes out', async () => {
  await open(OURS);
  await client.until(/^220 .*\r\n/);
  await say('EHLO stranger.example');
  for (const [line, reply] of [
    ['MAIL FROM:<> MT-PRIORITY=4', '250 2.1.0'],
    ['RCPT TO:<victim@elsewhere.example>', '550 5.7.1 relaying denied'],
    ['RCPT TO:<bounce+forged@bounces.example>', '550 5.1.1'],
    ['RCPT TO:<fbl@Bounces.example>', '250 2.1.5'],
    ['DATA', '354'],
    ['Subject: x\r\n\r\nx\r\n.', '250 2.0.0'],
  ] as const) {
    expect(await say(line)).toContain(reply);
  }
  expect(accepted.length).toBe(1);
  expect(accepted[0]!.envelope.recipients).toEqual([
    { index: 0, address: 'fbl@Bounces.example', domain: 'bounces.example' },
  ]);
  expect(accepted[0]!.priority).toBe('normal');
  expect(intake.counters.refused.relay).toBe(1);
});

test('those who try to relay again and again are sent away', async () => {
  await open(OURS);
  await client.until(/^220 .*\r\n/);
  await say('EHLO stranger.example');
  await say('MAIL FROM:<a@b.example>');
  let last = '';
  for (let count = 0; count < 20; count += 1)
    last = await say(`RCPT TO:<x${count}@elsewhere.example>`);
  expect(last).toContain('421 4.7.0 too many errors');
});

test('without own domains strangers get no greeting, or are asked to authenticate', async () => {
  await open(null);
  expect(await client.end()).toMatch(/^554 5\.7\.1 /);
  await door.stop(0);
  await open(null, { ann: 'secret' });
  await client.until(/^220 .*\r\n/);
  await say('EHLO stranger.example');
  expect(await say('MAIL FROM:<>')).toMatch(/^530 5\.7\.0 /);
});
