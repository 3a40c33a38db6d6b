import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readMessageExtra } from '../../../mta/extra.ts';
import { requirePeer } from '../../support/peers.ts';
import { runProcess } from '../../support/process.ts';
import {
  listen,
  NOWHERE,
  PATIENCE,
  RawClient,
  type Rig,
  rig,
  testCertificate,
  textOf,
} from './harness.ts';

const USERS = { user: 'pass word', other: '' };
const base64 = (text: string): string => Buffer.from(text).toString('base64');

let certificate = '';
let secured: Rig;
let securedPort = 0;
let plain: Rig;
let plainPort = 0;

beforeAll(async () => {
  const made = await testCertificate();
  certificate = made.certificate;
  secured = rig({ allow: NOWHERE, users: USERS }, { secureContext: made.context });
  securedPort = await listen(secured.door);
  plain = rig({ allow: NOWHERE, users: USERS });
  plainPort = await listen(plain.door);
});
afterAll(async () => {
  await secured.door.stop(0);
  await plain.door.stop(0);
});

/** STARTTLS by hand, then TLS on the same socket. */
async function startTls(port: number, before = ''): Promise<TLSSocket> {
  const client = new RawClient(port);
  await client.until(/^220 /);
  client.send(`EHLO before\r\n${before}STARTTLS\r\n`);
  await client.until(/220 2\.0\.0 ready to start TLS\r\n$/);
  client.socket.removeAllListeners('data');
  const socket = connect({ socket: client.socket, ca: certificate, servername: 'localhost' });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve).once('error', reject);
  });
  return socket;
}

async function converse(socket: TLSSocket, sent: string): Promise<string> {
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
  });
  socket.write(sent);
  await new Promise((resolve) => socket.once('close', resolve));
  return received;
}

describe('AUTH', () => {
  const attempt = async (lines: string): Promise<string> => {
    const client = new RawClient(plainPort);
    client.send(`EHLO c\r\n${lines}QUIT\r\n`);
    return client.end();
  };

  test('is offered to a client on loopback, and lets it in', async () => {
    const replies = await attempt(
      `AUTH PLAIN ${base64('\0user\0pass word')}\r\nMAIL FROM:<a@b.c> AUTH=<>\r\n`.replace(
        ' AUTH=<>',
        ' AUTH=a@b.c',
      ),
    );
    expect(replies).toContain('250-AUTH PLAIN LOGIN\r\n');
    expect(replies).toContain('\r\n235 2.7.0 authenticated\r\n250 2.1.0 OK\r\n');
  });

  test.each([
    ['PLAIN in two steps', `AUTH PLAIN\r\n${base64('\0user\0pass word')}\r\n`, '235 2.7.0'],
    ['LOGIN', `AUTH LOGIN\r\n${base64('user')}\r\n${base64('pass word')}\r\n`, '235 2.7.0'],
    ['LOGIN with user', `auth login ${base64('user')}\r\n${base64('pass word')}\r\n`, '235 2.7.0'],
    ['an empty password that is right', `AUTH PLAIN ${base64('other\0other\0')}\r\n`, '235 2.7.0'],
    ['a wrong password', `AUTH PLAIN ${base64('\0user\0pass')}\r\n`, '535 5.7.8'],
    ['an unknown user', `AUTH PLAIN ${base64('\0nobody\0')}\r\n`, '535 5.7.8'],
    ['a name of Object', `AUTH PLAIN ${base64('\0constructor\0')}\r\n`, '535 5.7.8'],
    ['someone else to act for', `AUTH PLAIN ${base64('other\0user\0pass word')}\r\n`, '501 5.5.2'],
    ['no base64', 'AUTH PLAIN ?\r\n', '501 5.5.2'],
    ['too few parts', `AUTH PLAIN ${base64('user')}\r\n`, '501 5.5.2'],
    ['cancelled', 'AUTH LOGIN\r\n*\r\n', '501 5.7.0'],
    ['a mechanism not offered', 'AUTH CRAM-MD5\r\n', '504 5.5.4'],
    ['twice', `AUTH PLAIN ${base64('\0user\0pass word')}\r\nAUTH PLAIN\r\n`, '503 5.5.1'],
  ])('%s', async (_name, lines, reply) => {
    expect((await attempt(lines)).split('\r\n').at(-3)).toContain(reply);
  });

  test('the third failure ends the connection', async () => {
    const wrong = `AUTH PLAIN ${base64('\0user\0x')}\r\n`;
    expect(await attempt(wrong.repeat(4))).toMatch(
      /(535 .*\r\n){3}421 4\.7\.0 too many failures\r\n$/,
    );
  });
});

describe('STARTTLS', () => {
  test('forgets what was said before, and names TLS in the trace', async () => {
    const before = secured.accepted.length;
    const replies = await converse(
      await startTls(securedPort),
      `MAIL FROM:<a@b.c>\r\nEHLO after\r\nAUTH PLAIN ${base64('\0user\0pass word')}\r\n` +
        'MAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\nX: 1\r\n\r\nz\r\n.\r\nSTARTTLS\r\nQUIT\r\n',
    );
    expect(replies.split('\r\n').map((line) => line.slice(0, 9))).toEqual(
      [
        '503 5.5.1',
        '250-mta.e',
        '250-PIPEL',
        '250-SIZE ',
        '250-8BITM',
        '250-SMTPU',
        '250-DSN',
        '250-MT-PR',
        '250-REQUI',
        '250-AUTH ',
      ]
        .concat(['250 ENHAN', '235 2.7.0', '250 2.1.0', '250 2.1.5', '354 end w', '250 2.0.0'])
        .concat(['503 5.5.1', '221 2.0.0', '']),
    );
    expect(textOf(secured.accepted[before]!)).toContain('from after ([127.0.0.1])');
    expect(textOf(secured.accepted[before]!)).toContain('with ESMTPSA;');
  });

  test('REQUIRETLS is for sessions under TLS, and kept with the message (RFC 8689)', async () => {
    const before = secured.accepted.length;
    const secret = base64('\0user\0pass word');
    const sending =
      'MAIL FROM:<a@b.c> REQUIRETLS\r\nRCPT TO:<b@b.c>\r\nDATA\r\nX: 1\r\n\r\nz\r\n.\r\n';
    await converse(
      await startTls(securedPort),
      `EHLO c\r\nAUTH PLAIN ${secret}\r\n${sending}QUIT\r\n`,
    );
    expect(readMessageExtra(secured.accepted[before]!.extra)).toEqual({ requireTls: true });
    const client = new RawClient(securedPort);
    client.send(`EHLO c\r\nAUTH PLAIN ${secret}\r\nMAIL FROM:<a@b.c> REQUIRETLS\r\nQUIT\r\n`);
    const inClear = await client.end();
    expect(inClear).not.toContain('250-REQUIRETLS');
    expect(inClear).toContain('\r\n555 5.5.4 MAIL parameter not recognized');
  });

  test('forgets who authenticated in the clear', async () => {
    const socket = await startTls(securedPort, `AUTH PLAIN ${base64('\0user\0pass word')}\r\n`);
    const replies = await converse(socket, 'EHLO after\r\nMAIL FROM:<a@b.c>\r\nQUIT\r\n');
    expect(replies).toContain('\r\n530 5.7.0 ');
  });

  test('commands behind STARTTLS in the clear are not carried into TLS', async () => {
    const client = new RawClient(securedPort);
    client.send(`EHLO c\r\nSTARTTLS\r\nEHLO evil\r\nAUTH PLAIN ${base64('\0user\0pass word')}\r\n`);
    expect(await client.end()).toMatch(
      /503 5\.5\.1 nothing may follow STARTTLS before TLS is up\r\n$/,
    );
  });

  test('a broken handshake ends the connection and nothing else', async () => {
    const client = new RawClient(securedPort);
    client.send('EHLO c\r\nSTARTTLS\r\n');
    await client.until(/220 2\.0\.0/);
    client.send('this is no TLS record at all\r\n\r\n');
    await client.end();
    await expect.poll(() => secured.intake.counters.clients, PATIENCE).toBe(0);
    (await startTls(securedPort)).destroy();
  });
});

requirePeer('swaks', 'swaks-tls')('swaks', () => {
  const swaks = (port: number, ...args: string[]) =>
    runProcess('swaks', [
      '--server',
      `127.0.0.1:${port}`,
      '-f',
      'a@example.com',
      '-t',
      'b@example.net',
      ...args,
    ]);
  const login = ['--auth-user', 'user', '--auth-password', 'pass word'];

  test.each([
    ['TLS and PLAIN', ['--tls', '--auth', 'PLAIN', ...login], 'ESMTPSA'],
    ['TLS and LOGIN', ['--tls', '--auth', 'LOGIN', ...login], 'ESMTPSA'],
    ['loopback and PLAIN', ['--auth', 'PLAIN', ...login], 'ESMTPA'],
    ['pipelining', ['--pipeline', '--auth', 'LOGIN', ...login], 'ESMTPA'],
  ])('sends with %s', async (_name, args, protocol) => {
    const before = secured.accepted.length;
    const { code, output } = await swaks(securedPort, ...args, '--body', 'one\n.two\n..\nthree');
    expect(output).toMatch(/<~?-? +250 2\.0\.0 OK queued as [0-9a-z]{11}/);
    expect(code).toBe(0);
    expect(textOf(secured.accepted[before]!)).toContain(`with ${protocol};`);
    expect(textOf(secured.accepted[before]!)).toContain('\r\none\r\n.two\r\n..\r\nthree\r\n');
  });

  test('is refused without authentication', async () => {
    const { code, output } = await swaks(securedPort);
    expect(code).not.toBe(0);
    expect(output).toContain('530 5.7.0 authentication required');
  });
});
