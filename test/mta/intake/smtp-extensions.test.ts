/** DSN parameters, XCLIENT, bounds per client, and what happens near a bound. */
import { afterEach, describe, expect, test } from 'vitest';
import { clientOf } from '../../../mta/intake/client-count.ts';
import { ByteBound } from '../../../mta/intake/collector.ts';
import { Pressure } from '../../../mta/intake/pressure.ts';
import { SWEEP_MS } from '../../../mta/intake/smtp.ts';
import { ManualClock } from '../../support/clock.ts';
import {
  LOOPBACK,
  listen,
  NOWHERE,
  PATIENCE,
  RawClient,
  type Rig,
  rig,
  testCertificate,
  textOf,
} from './harness.ts';

const rigs: Rig[] = [];
async function start(...options: Parameters<typeof rig>): Promise<Rig & { port: number }> {
  const made = rig(...options);
  rigs.push(made);
  return Object.assign(made, { port: await listen(made.door) });
}
afterEach(async () => {
  for (const { door } of rigs.splice(0)) {
    const stopped = door.stop(0);
    if (door.intake.clock instanceof ManualClock) door.intake.clock.advance(1);
    await stopped;
  }
});

const BODY = 'DATA\r\nSubject: s\r\n\r\nb\r\n.\r\n';

test('DSN parameters are kept with the message and with each recipient', async () => {
  const { port, accepted } = await start();
  const client = new RawClient(port);
  await client.exchange(
    `EHLO c\r\nMAIL FROM:<a@b.c> RET=hdrs ENVID=QQ+2B314\r\nRCPT TO:<x@b.c> NOTIFY=success,FAILURE ORCPT=rfc822;X+40b.c\r\nRCPT TO:<y@b.c> NOTIFY=NEVER\r\nRCPT TO:<z@b.c>\r\n${BODY}`,
    /250 2\.0\.0 OK queued/,
  );
  client.destroy();
  expect(accepted[0]).toMatchObject({
    extra: '{"ret":"HDRS","envid":"QQ+2B314"}',
    envelope: {
      recipients: [
        { index: 0, extra: '{"notify":["SUCCESS","FAILURE"],"orcpt":"rfc822;X+40b.c"}' },
        { index: 1, extra: '{"notify":[]}' },
        { index: 2 },
      ],
    },
  });
  expect(accepted[0]!.envelope.recipients[2]).not.toHaveProperty('extra');
});

describe('XCLIENT', () => {
  test('a trusted peer speaks for a client, and then for another', async () => {
    const { port, accepted } = await start({ allow: NOWHERE, smtp_trusted: LOOPBACK });
    const client = new RawClient(port);
    expect(await client.exchange('EHLO filter\r\n', /250 ENH/)).toContain('250-XCLIENT NAME ADDR');
    await client.exchange(
      'XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE] HELO=mail+2Eexample\r\n',
      /^220 /,
    );
    await client.exchange('EHLO mail.example\r\n', /250 ENH/);
    await client.exchange(`MAIL FROM:<a@b.c>\r\nRCPT TO:<x@b.c>\r\n${BODY}`, /OK queued/);
    await client.exchange('XCLIENT ADDR=IPV6:2001:db8::1\r\n', /^220 /);
    expect(await client.exchange('EHLO x\r\nMAIL FROM:<a@b.c>\r\n', /530|250 2\.1/)).toMatch(
      /530 5\.7\.0/,
    );
    await client.exchange('XCLIENT LOGIN=user\r\n', /^220 /);
    expect(await client.exchange('EHLO x\r\nMAIL FROM:<a@b.c>\r\n', /530|250 2\.1/)).toMatch(
      /250 2\.1\.0/,
    );
    expect(await client.exchange('XCLIENT ADDR=192.0.2.9\r\n', /\r\n/)).toMatch(/^503/);
    client.destroy();
    expect(textOf(accepted[0]!)).toContain('from mail.example ([192.0.2.7])');
    expect(accepted[0]!.origin).toBe('smtp 192.0.2.7');
  });

  test.each([
    'ADDR=nowhere',
    'ADDR=192.0.2.1 ADDR=192.0.2.2',
    'WHAT=x',
    'HELO=a+0D+0Ab',
    'ADDR',
    '',
  ])('%j is refused', async (argument) => {
    const { port } = await start({ smtp_trusted: LOOPBACK });
    const client = new RawClient(port);
    await client.until(/^220/);
    expect(await client.exchange(`XCLIENT ${argument}\r\n`, /\r\n/)).toMatch(/^501 5\.5\.4/);
    client.destroy();
  });
});

describe('one client', () => {
  test('from outside has so many connections and no more; another leaves room', async () => {
    const { port, intake } = await start({
      allow: NOWHERE,
      users: { u: 'p' },
      smtp_clients_per_address: 2,
    });
    const clients = [new RawClient(port), new RawClient(port)];
    for (const client of clients) await client.until(/^220/);
    const third = new RawClient(port);
    expect(await third.end()).toBe(
      '421 4.3.2 too many connections (bound smtp_clients_per_address)\r\n',
    );
    await clients[0]!.exchange('QUIT\r\n', /221/);
    await clients[0]!.end();
    await expect.poll(() => intake.counters.clients, PATIENCE).toBe(1);
    const fourth = new RawClient(port);
    await fourth.until(/^220/);
    for (const client of [...clients, fourth]) client.destroy();
  });

  test('from an allowed network is not counted', async () => {
    const { port } = await start({ smtp_clients_per_address: 1 });
    const clients = [new RawClient(port), new RawClient(port)];
    for (const client of clients) await client.until(/^220/);
    for (const client of clients) client.destroy();
  });

  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3::4', '8193:3512:1:2'],
    ['2001:db8:1:2:ffff::', '8193:3512:1:2'],
    ['', ''],
  ])('%j counts as %j', (address, client) => expect(clientOf(address)).toBe(client));

  test('that says STARTTLS and then nothing is cut after tls_timeout', async () => {
    const clock = new ManualClock();
    const { context } = await testCertificate();
    const { port } = await start({ tls_timeout: 10_000 }, { clock, secureContext: context });
    const client = new RawClient(port);
    await client.exchange('EHLO c\r\nSTARTTLS\r\n', /220 2\.0\.0/);
    clock.advance(10_000 + SWEEP_MS);
    await client.end();
  });
});

describe('near a bound', () => {
  test.each([
    [0, 0, null],
    [800, 0, null],
    [900, 250, null],
    [999, 498, null],
    [1000, 500, 'queue_recipients'],
    [5000, 500, 'queue_recipients'],
  ])('%i of 1000 waiting: a pause of %i ms, reached %j', (queued, pauseMs, bound) => {
    const pressure = new Pressure(new ByteBound('b', 100), 1000);
    pressure.noteQueued(queued);
    expect([Math.round(pressure.pauseMs()), pressure.reached()]).toEqual([pauseMs, bound]);
  });

  test('memory slows too', () => {
    const held = new ByteBound('b', 100);
    held.take(90);
    expect(Math.round(new Pressure(held, 1000).pauseMs())).toBe(250);
  });

  test('beyond it MAIL is deferred, and the bound named', async () => {
    const { port, intake } = await start({ queue_recipients: 10 });
    intake.pressure.noteQueued(10);
    const client = new RawClient(port);
    await client.until(/^220/);
    expect(await client.exchange('EHLO c\r\nMAIL FROM:<a@b.c>\r\n', /452.*\r\n/)).toMatch(
      /452 4\.3\.1 .*\(bound queue_recipients\)\r\n$/,
    );
    client.destroy();
  });
});
