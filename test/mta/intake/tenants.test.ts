/** Whose mail it is that a user sends, what a tenant may send, and that passwords stay where they are. */
import { createHash, scryptSync } from 'node:crypto';
import Fastify from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { Credentials } from '../../../mta/intake/credentials.ts';
import { injectionApi } from '../../../mta/intake/http.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/clock.ts';
import { LOOPBACK, listen, NOWHERE, RawClient, rig } from './harness.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const base64 = (text: string): string => Buffer.from(text).toString('base64');
/** As cheap as may be. */
const SALT = Buffer.alloc(16, 1);
const HASH = `$scrypt$ln=10,r=8,p=1$${[
  SALT,
  scryptSync('pass word', SALT, 32, { N: 1024, r: 8, p: 1 }),
]
  .map((octets) => octets.toString('base64').replaceAll('=', ''))
  .join('$')}`;
const USERS = {
  plain: 'plain word',
  hashed: HASH,
  'news@acme.example': { password: HASH, tenant: 'acme' },
  'no label!': 'x',
};
const login = (name: string, word: string): string =>
  `AUTH PLAIN ${base64(`\0${name}\0${word}`)}\r\n`;
const MESSAGE = 'DATA\r\nX: 1\r\n\r\nz\r\n.\r\n';
const ONE = `MAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\n${MESSAGE}`;

async function start(...given: Parameters<typeof rig>) {
  const made = rig({ allow: NOWHERE, users: USERS, ...given[0] }, given[1]);
  const port = await listen(made.door);
  cleanup.add(() => made.door.stop(0));
  const say = (lines: string): Promise<string> => {
    const client = new RawClient(port);
    client.send(`EHLO c\r\n${lines}QUIT\r\n`);
    return client.end();
  };
  return { ...made, port, say };
}

describe('users of SMTP', () => {
  test.each([
    ['plain', 'plain word', 'plain'],
    ['hashed', 'pass word', 'hashed'],
    ['news@acme.example', 'pass word', 'acme'],
    ['no label!', 'x', null],
  ])('mail of %s', async (name, word, tenant) => {
    const { say, accepted } = await start();
    // All at once: what follows AUTH waits for the password to be looked at.
    expect(await say(login(name, word) + ONE)).toMatch(
      /\r\n235 .*\r\n(250 .*\r\n){2}354 .*\r\n250 /,
    );
    expect(accepted[0]!.tenant ?? null).toBe(tenant);
  });

  test.each([
    ['hashed', 'pass'],
    ['hashed', HASH],
    ['nobody', 'pass word'],
    ['constructor', ''],
  ])('%s with a wrong password', async (name, word) => {
    const { say, accepted, intake } = await start();
    expect(await say(login(name, word) + ONE)).toContain('\r\n535 5.7.8 ');
    expect(accepted).toEqual([]);
    expect(intake.counters.refused.auth).toBe(1);
  });

  test('a client that hangs up while its password is looked at leaves nothing behind', async () => {
    const { port, intake } = await start();
    const client = new RawClient(port);
    await client.until(/^220 /);
    client.send(`EHLO c\r\n${login('hashed', 'pass word')}`);
    await client.until(/250 ENHANCEDSTATUSCODES/);
    client.destroy();
    await expect.poll(() => intake.counters.clients).toBe(0);
  });

  test('XCLIENT brings the tenant of whom the peer has authenticated', async () => {
    const { port, accepted } = await start({ smtp_trusted: LOOPBACK });
    for (const name of ['news@acme.example', 'someone']) {
      const client = new RawClient(port);
      client.send(`EHLO c\r\nXCLIENT ADDR=192.0.2.1 LOGIN=${name}\r\nEHLO c\r\n${ONE}QUIT\r\n`);
      await client.end();
    }
    expect(accepted.map(({ tenant }) => tenant)).toEqual(['acme', 'someone']);
  });
});

describe('bounds of a tenant', () => {
  const RCPT = 'RCPT TO:<b@b.c>\r\n';

  test('recipients of one message', async () => {
    const { say } = await start({ tenants: { acme: { recipients: 2 } } });
    const transaction = `MAIL FROM:<a@b.c>\r\n${RCPT.repeat(3)}RSET\r\n`;
    expect(await say(login('news@acme.example', 'pass word') + transaction)).toMatch(
      /(250 2\.1\.5 OK\r\n){2}452 4\.5\.3 more than 2 recipients; send the rest in another/,
    );
    expect(await say(login('hashed', 'pass word') + transaction)).toMatch(
      /(250 2\.1\.5 OK\r\n){3}250 /,
    );
  });

  test('its rate is shared by all that speak for it, and paid back in time', async () => {
    const clock = new ManualClock();
    const key = 'k'.repeat(20);
    const made = await start(
      {
        tenants: { acme: { rate: 2 } },
        keys: { acme: `sha256:${createHash('sha256').update(key).digest('hex')}` },
      },
      { clock },
    );
    const fastify = Fastify();
    await fastify.register((scope) => injectionApi(scope, made.intake));
    const user = login('news@acme.example', 'pass word');
    const four = `MAIL FROM:<a@b.c>\r\n${RCPT.repeat(4)}RSET\r\n`;
    // Four are more than it may name, and pass, as nothing is owed.
    expect(await made.say(user + four)).toMatch(/(250 2\.1\.5 OK\r\n){4}/);
    expect(await made.say(user + ONE)).toContain(
      '\r\n450 4.7.1 more than 2 recipients a second, try again in 2 seconds (bound key_rate)\r\n',
    );
    const answer = await fastify.inject({
      method: 'POST',
      url: '/v1/messages',
      headers: { authorization: `Bearer ${key}` },
      payload: { from: 'a@b.c', to: ['b@b.c'], text: 'x' },
    });
    expect([answer.statusCode, answer.headers['retry-after']]).toEqual([429, '2']);
    expect(await made.say(login('hashed', 'pass word') + ONE)).toContain('queued as');
    expect(made.intake.counters.refused.rate).toBe(2);
    clock.advance(1_500);
    expect(await made.say(user + ONE)).toContain('queued as');
  });

  test('key_rate holds for users too', async () => {
    const { say } = await start({ key_rate: 1 }, { clock: new ManualClock() });
    const user = login('hashed', 'pass word');
    expect(await say(user + ONE + ONE)).toMatch(
      /queued as[\s\S]*\r\n450 4\.7\.1 more than 1 recip/,
    );
  });
});

test('a user of HTTP speaks for one tenant', async () => {
  const { intake, accepted } = await start();
  const fastify = Fastify();
  await fastify.register((scope) => injectionApi(scope, intake));
  const send = async (tenant?: string): Promise<number> => {
    const answer = await fastify.inject({
      method: 'POST',
      url: '/v1/messages',
      headers: { authorization: `Basic ${base64('news@acme.example:pass word')}` },
      payload: { from: 'a@b.c', to: ['b@b.c'], text: 'x', tenant },
    });
    return answer.statusCode;
  };
  expect([await send(), await send('acme'), await send('other')]).toEqual([200, 200, 403]);
  expect(accepted.map(({ tenant }) => tenant)).toEqual(['acme', 'acme']);
});

describe('passwords', () => {
  test('a crowd of guesses is told to wait, and then the right one is let in', async () => {
    const credentials = new Credentials(USERS, cryptoRandom());
    const guesses = Array.from({ length: 110 }, () => credentials.verify('nobody', 'x'));
    const verdicts = Map.groupBy(await Promise.all(guesses.slice(100)), String);
    // Two are looked at and a hundred wait.
    expect(verdicts.get('busy')).toHaveLength(8);
    expect(await credentials.verify('hashed', 'pass word')).toEqual({
      tenant: 'hashed',
      account: 'hashed',
    });
  });

  test('appear in no log', async () => {
    const lines: string[] = [];
    const note = (...parts: readonly unknown[]): void => void lines.push(JSON.stringify(parts));
    const log = { debug: note, info: note, warn: note, error: note };
    const { say, port } = await start({}, { log });
    await say(login('hashed', 'wrong secret') + login('hashed', 'pass word'));
    await say(`AUTH LOGIN\r\n${base64('hashed')}\r\n${base64('pass word')}\r\n`);
    const client = new RawClient(port);
    client.send(`EHLO c\r\nAUTH PLAIN\r\n${base64('\0hashed\0pass word')}`);
    await client.until(/334 /);
    client.socket.resetAndDestroy();
    await new Promise((resolve) => client.socket.once('close', resolve));
    const text = lines.join('\n');
    for (const secret of ['secret', 'pass word', HASH, base64('\0hashed\0pass word')]) {
      expect(text).not.toContain(secret);
    }
  });
});
