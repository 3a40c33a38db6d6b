import { afterEach, describe, expect, test } from 'vitest';
import { formatMessageId } from '../../../mta/envelope.ts';
import { IntakeBusy, SpoolUnavailable } from '../../../mta/errors.ts';
import {
  FIRST_ID,
  listen,
  NOWHERE,
  PATIENCE,
  RawClient,
  type Rig,
  rig,
  sentPart,
  textOf,
} from './harness.ts';

const clients: RawClient[] = [];
const rigs: Rig[] = [];

async function start(settings: Parameters<typeof rig>[0] = {}): Promise<Rig & { port: number }> {
  const made = rig(settings);
  rigs.push(made);
  return Object.assign(made, { port: await listen(made.door) });
}

function connectTo(port: number): RawClient {
  const client = new RawClient(port);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(rigs.splice(0).map(({ door }) => door.stop(0)));
});

/** Sends a whole session at once and returns the replies, one line each. */
async function converse(port: number, sent: string): Promise<string[]> {
  const client = connectTo(port);
  client.send(sent);
  return (await client.end()).trimEnd().split('\r\n');
}

/** Whether the server, which shares our event loop, reads on within so many of its turns. */
async function drained(client: RawClient): Promise<boolean> {
  for (let turn = 0; turn < 2000; turn += 1) {
    if (!client.socket.writableNeedDrain) return true;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return false;
}

const GREETING = '220 mta.example.net ESMTP Postilion';
const ID = formatMessageId(FIRST_ID);

const SESSION = [
  'HELO client.example\r\n',
  'MAIL FROM:<a@example.com>\r\n',
  'RCPT TO:<b@example.net>\r\n',
  'RCPT TO:<"odd one"@[192.0.2.1]>\r\n',
  'DATA\r\n',
  'Subject: one\r\n\r\n..dot\r\nend\r\n.\r\n',
  'MAIL FROM:<>\r\n',
  'RCPT TO:<c@example.net>\r\n',
  'DATA\r\n',
  'Subject: two\r\n\r\nbody\r\n.\r\n',
  'QUIT\r\n',
].join('');
const SESSION_REPLIES = [
  GREETING,
  '250 mta.example.net',
  '250 2.1.0 OK',
  '250 2.1.5 OK',
  '250 2.1.5 OK',
  '354 end with <CR><LF>.<CR><LF>',
  `250 2.0.0 OK queued as ${ID}`,
  '250 2.1.0 OK',
  '250 2.1.5 OK',
  '354 end with <CR><LF>.<CR><LF>',
  `250 2.0.0 OK queued as ${formatMessageId(FIRST_ID + 1)}`,
  '221 2.0.0 bye',
];

describe('a session', () => {
  test.each(['at once', 'one octet at a time'])('sent %s', async (how) => {
    const { port, accepted, intake } = await start();
    const client = connectTo(port);
    if (how === 'at once') client.send(SESSION);
    else await client.sendByOctet(SESSION);
    expect((await client.end()).trimEnd().split('\r\n')).toEqual(SESSION_REPLIES);
    expect(accepted.map(({ envelope }) => envelope)).toEqual([
      {
        reversePath: 'a@example.com',
        recipients: [
          { index: 0, address: 'b@example.net', domain: 'example.net' },
          { index: 1, address: '"odd one"@[192.0.2.1]', domain: '[192.0.2.1]' },
        ],
        body: '7bit',
        smtpUtf8: false,
      },
      {
        reversePath: '',
        recipients: [{ index: 0, address: 'c@example.net', domain: 'example.net' }],
        body: '7bit',
        smtpUtf8: false,
      },
    ]);
    expect(sentPart(accepted[0]!, 'Subject')).toBe('Subject: one\r\n\r\n.dot\r\nend\r\n');
    expect(accepted[0]!.origin).toBe('smtp 127.0.0.1');
    expect(intake.held.held).toBe(0);
    expect(intake.counters).toMatchObject({ accepted: { smtp: 2, http: 0 }, recipients: 3 });
  });

  test('our fields stand in front of the message', async () => {
    const { port, accepted } = await start();
    await converse(port, SESSION.replace('HELO', 'EHLO'));
    expect(textOf(accepted[0]!)).toMatch(
      /^Received: from client\.example \(\[127\.0\.0\.1\]\)\r\n\tby mta\.example\.net with ESMTP;\r\n\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\nMessage-ID: <[a-z0-9.]+@mta\.example\.net>\r\nDate: .+ \+0000\r\nSubject: one\r\n\r\n/,
    );
  });

  test('Date and Message-ID of the client stay; a body without a header gets one', async () => {
    const { port, accepted } = await start();
    const begin = 'HELO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n';
    await converse(port, `${begin}Date: x\r\nMessage-ID: y\r\n\r\nz\r\n.\r\nQUIT\r\n`);
    await converse(port, `${begin}no header\r\n.\r\nQUIT\r\n`);
    await converse(port, `${begin}.\r\nQUIT\r\n`);
    expect(textOf(accepted[0]!)).toMatch(/\+0000\r\nDate: x\r\nMessage-ID: y\r\n\r\nz\r\n$/);
    expect(textOf(accepted[1]!)).toMatch(/\r\nDate: .*\r\n\r\nno header\r\n$/);
    expect(textOf(accepted[2]!)).toMatch(/\r\nDate: .*\r\n$/);
  });

  test('EHLO offers what is there', async () => {
    const { port } = await start();
    expect(await converse(port, 'EHLO [192.0.2.7]\r\nQUIT\r\n')).toEqual([
      GREETING,
      '250-mta.example.net',
      '250-PIPELINING',
      '250-SIZE 1048576',
      '250-8BITMIME',
      '250-SMTPUTF8',
      '250-DSN',
      '250-MT-PRIORITY',
      '250 ENHANCEDSTATUSCODES',
      '221 2.0.0 bye',
    ]);
  });

  test('a client that closes its side behind QUIT-less data still gets its reply', async () => {
    const made = await start();
    let settle = (_id: number): void => undefined;
    made.onAccept = () =>
      new Promise((resolve) => {
        settle = resolve;
      });
    const client = connectTo(made.port);
    client.socket.end('HELO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n\r\nz\r\n.\r\n');
    await client.until(/354/);
    // By the time another client has been answered twice, the end of this one has been seen.
    const other = connectTo(made.port);
    await other.exchange('NOOP\r\n', /250/);
    await other.exchange('NOOP\r\n', /250/);
    settle(FIRST_ID);
    expect(await client.end()).toContain(`queued as ${ID}`);
  });

  test('no 250 before the message is durable', async () => {
    const made = await start();
    const order: string[] = [];
    made.onAccept = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('durable');
      return FIRST_ID;
    };
    const client = connectTo(made.port);
    client.send('HELO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n\r\nz\r\n.\r\n');
    await client.until(/queued as/).then(() => order.push('acknowledged'));
    expect(order).toEqual(['durable', 'acknowledged']);
  });
});

/** After `HELO c`: what is said, what is answered last. */
const REFUSALS: readonly (readonly [sent: string, reply: string])[] = [
  ['MAIL FROM:a@b.c', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c> SIZE=x', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c> SIZE=1 SIZE=1', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c> SIZE=1048577', '552 5.3.4 '],
  ['MAIL FROM:<a@b.c> BODY=BINARYMIME', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c> RET=ALL', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c> ENVID=a+b', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c>x', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c><d@e.f>', '501 5.5.4 '],
  ['MAIL FROM:<a b@b.c>', '501 5.1.7 '],
  ['MAIL FROM:<a\tb@b.c>', '500 5.5.2 control'],
  ['MAIL FROM:<a@b.c\rRCPT TO:x>', '500 5.5.2 control'],
  ['MAIL FROM:<a@b.c\0>', '500 5.5.2 control'],
  ['MAIL FROM:<\xc3\xbc@b.c>', '553 5.6.7 '],
  ['MAIL FROM:<\xff@b.c> SMTPUTF8', '501 5.1.7 '],
  ['MAIL FROM:<a@b.c>\r\nMAIL FROM:<a@b.c>', '503 5.5.1 '],
  ['RCPT TO:<a@b.c>', '503 5.5.1 '],
  ['DATA', '503 5.5.1 '],
  ['MAIL FROM:<a@b.c>\r\nDATA', '554 5.5.1 '],
  ['MAIL FROM:<a@b.c>\r\nRCPT TO:<>', '501 5.1.3 '],
  ['MAIL FROM:<a@b.c>\r\nRCPT TO:<Postmaster>', '550 5.1.1 '],
  ['MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b..c>', '501 5.1.3 '],
  ['MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c> NOTIFY=NEVER,DELAY', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c> NOTIFY=', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c> ORCPT=a@b.c', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c> X=Y', '555 5.5.4 '],
  ['XCLIENT ADDR=192.0.2.1', '550 5.7.0 '],
  [`MAIL FROM:<>${'\r\nRCPT TO:<a@b.c>'.repeat(6)}`, '452 4.5.3 '],
  ['EHLO', '501 5.5.4 '],
  ['STARTTLS', '502 5.5.1 '],
  ['AUTH PLAIN AAAA', '502 5.5.1 '],
  ['BDAT 3 LAST', '500 5.5.1 '],
  ['EXPN list', '502 5.5.1 '],
];
const ACCEPTED: readonly (readonly [sent: string, reply: string])[] = [
  ['MAIL FROM:<a@b.c> SIZE=1048576 BODY=8BITMIME SMTPUTF8', '250 2.1.0 '],
  ['MAIL FROM:<a@b.c> MT-PRIORITY=-9', '250 2.1.0 '],
  ['MAIL FROM:<a@b.c> MT-PRIORITY=10', '501 5.5.4 '],
  ['MAIL FROM:<a@b.c> MT-PRIORITY', '501 5.5.4 '],
  ['mail from: <@route.example:a@b.c>', '250 2.1.0 '],
  ['MAIL FROM:<\xc3\xbc@b.c> SMTPUTF8', '250 2.1.0 '],
  ['VRFY a@b.c', '252 '],
  ['NOOP x', '250 2.0.0 '],
  ['RSET', '250 2.0.0 '],
  ['MAIL FROM:<a@b.c>\r\nRSET\r\nMAIL FROM:<d@e.f>', '250 2.1.0 '],
];

describe('commands', () => {
  test.each([...REFUSALS, ...ACCEPTED])('%j → %s', async (sent, reply) => {
    const { port, accepted } = await start();
    const lines = await converse(port, `HELO c\r\n${sent}\r\nQUIT\r\n`);
    expect(lines.at(-2)).toMatch(new RegExp(`^${reply}`));
    expect(lines.at(-1)).toBe('221 2.0.0 bye');
    expect(accepted).toEqual([]);
  });

  test('MAIL before EHLO is refused', async () => {
    const { port } = await start();
    expect((await converse(port, 'MAIL FROM:<a@b.c>\r\nQUIT\r\n'))[1]).toMatch(/^503 5\.5\.1 /);
  });

  test.each([
    ['an endless line', 'x'.repeat(5000), '500 5.5.2 command longer'],
    ['a bare LF', 'HELO c\nMAIL FROM:<a@b.c>\r\n', '500 5.5.2 bare LF'],
    ['errors without end', 'nonsense\r\n'.repeat(30), '421 4.7.0 too many errors'],
  ])('%s ends the connection', async (_name, sent, reply) => {
    const { port } = await start();
    expect((await converse(port, sent)).at(-1)).toContain(reply);
  });

  test('bad recipients and too many of them cost themselves only', async () => {
    const { port, accepted } = await start();
    const bad = 'RCPT TO:<a@b..c>\r\n'.repeat(50);
    const many = 'RCPT TO:<a@b.c>\r\n'.repeat(50);
    const lines = await converse(
      port,
      `HELO c\r\nMAIL FROM:<>\r\n${bad}${many}DATA\r\n\r\n.\r\nQUIT\r\n`,
    );
    expect(lines.filter((line) => line.startsWith('501 5.1.3'))).toHaveLength(50);
    expect(lines.filter((line) => line.startsWith('452 4.5.3'))).toHaveLength(45);
    expect(lines.at(-2)).toContain('queued as');
    expect(accepted[0]!.envelope.recipients).toHaveLength(5);
  });

  test('errors are counted anew after each message', async () => {
    const { port } = await start();
    const mail = `${'x\r\n'.repeat(15)}MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n\r\n.\r\n`;
    expect((await converse(port, `HELO c\r\n${mail.repeat(3)}QUIT\r\n`)).at(-1)).toBe(
      '221 2.0.0 bye',
    );
  });

  test('a client that reads no replies is not read from either', async () => {
    const { port } = await start();
    const client = connectTo(port);
    await client.until(/220/);
    client.socket.pause();
    const flood = 'NOOP\r\n'.repeat(10_000);
    // The kernel's buffers take some megabytes both ways; then nothing moves.
    let written = 0;
    while (client.socket.write(flood) || (await drained(client))) {
      written += flood.length;
      expect(written).toBeLessThan(30_000_000);
    }
    client.socket.resume();
    await client.until(/(250 2\.0\.0 OK\r\n){1000}/);
  });

  test('no relaying for strangers without users: refused before they speak', async () => {
    const { port, intake } = await start({ allow: NOWHERE });
    expect(await converse(port, '')).toEqual([
      '554 5.7.1 mta.example.net takes no mail from your address',
    ]);
    expect(intake.counters.refused.relay).toBe(1);
  });

  test('no relaying for strangers that did not authenticate', async () => {
    const { port } = await start({ allow: NOWHERE, users: { u: 'p' } });
    const lines = await converse(
      port,
      'EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\nQUIT\r\n',
    );
    expect(lines.slice(-4).map((line) => line.slice(0, 9))).toEqual([
      '530 5.7.0',
      '503 5.5.1',
      '503 5.5.1',
      '221 2.0.0',
    ]);
  });
});

const begin = 'EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n';

describe('content', () => {
  test.each([
    ['NUL', 'X: 1\r\n\r\n\0\r\n', '554 5.6.0 NUL', 'nul'],
    ['a long line', `X: 1\r\n\r\n${'x'.repeat(999)}\r\n`, '554 5.6.0 line longer', 'line-length'],
    ['101 Received fields', 'Received: x\r\n'.repeat(101), '554 5.4.6 ', 'loop'],
    ['a broken header', 'X: 1\r\nbroken\r\n\r\n', '554 5.6.0 a line of the header', 'header'],
    ['too much', `X: 1\r\n\r\n${'0123456789\r\n'.repeat(100_000)}`, '552 5.3.4 ', 'size'],
  ] as const)('%s is refused, and the session goes on', async (_name, message, reply, reason) => {
    const { port, accepted, intake } = await start();
    const lines = await converse(port, `${begin}${message}.\r\n${SESSION}`);
    expect(lines.find((line) => line.startsWith('55'))).toContain(reply);
    expect(accepted).toHaveLength(2);
    expect(intake.counters.refused[reason]).toBe(1);
    expect(intake.held.held).toBe(0);
  });

  test('octets above 127 make a message 8bitmime, whatever was declared', async () => {
    const { port, accepted } = await start();
    const mail = 'MAIL FROM:<a@b.c> BODY=7BIT SMTPUTF8\r\nRCPT TO:<b@b.c>\r\nDATA\r\n';
    await converse(
      port,
      `EHLO c\r\n${mail}X: 1\r\n\r\n\xe4\r\n.\r\n${mail}X: \xc3\xa4\r\n\r\n.\r\nQUIT\r\n`,
    );
    expect(accepted.map(({ envelope: { body, smtpUtf8 } }) => ({ body, smtpUtf8 }))).toEqual([
      { body: '8bitmime', smtpUtf8: false },
      { body: '8bitmime', smtpUtf8: true },
    ]);
    expect(textOf(accepted[0]!)).toContain('with UTF8SMTP;');
  });
});

describe('trouble behind the door', () => {
  test.each([
    [new SpoolUnavailable('full', 'x'), '452 4.3.1 '],
    [new SpoolUnavailable('reserve', 'x'), '452 4.3.1 '],
    [new SpoolUnavailable('read-only', 'x'), '451 4.3.0 '],
    [new SpoolUnavailable('not-writable', 'x'), '451 4.3.0 '],
    [new SpoolUnavailable('io', 'x'), '451 4.3.0 '],
    [new SpoolUnavailable('in-use', 'x'), '451 4.3.0 '],
    [new SpoolUnavailable('closed', 'x'), '421 4.3.2 '],
    [
      new IntakeBusy('someBound', 'x'),
      '452 4.3.1 too much mail at once, try again later (bound someBound)',
    ],
    [new Error('secret\r\n250 OK'), '451 4.3.0 local error, try again later'],
  ])('%s → %s', async (error, reply) => {
    const made = await start();
    made.onAccept = () => Promise.reject(error);
    const client = connectTo(made.port);
    client.send(`${begin}X: 1\r\n\r\n.\r\n`);
    const lines = (await client.until(/\r\n4\d\d .*\r\n/)).trimEnd().split('\r\n');
    expect(lines.at(-1)).toContain(reply);
    expect(made.intake.held.held).toBe(0);
    // And once it is over, the same session is served.
    made.onAccept = async () => FIRST_ID;
    if (reply.startsWith('421')) return;
    client.send('MAIL FROM:<>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n\r\n.\r\n');
    await client.until(/queued as/);
  });

  test('memory beyond the bound is refused with its name, at MAIL, DATA and in mid-message', async () => {
    const { port, intake, accepted } = await start({ intake_bytes: 100_000 });
    const announced = await converse(port, 'EHLO c\r\nMAIL FROM:<a@b.c> SIZE=200000\r\nQUIT\r\n');
    expect(announced.at(-2)).toBe(
      '452 4.3.1 too much mail at once, try again later (bound intake_bytes)',
    );
    const unannounced = await converse(
      port,
      `${begin}\r\n${'0123456789\r\n'.repeat(20_000)}.\r\nQUIT\r\n`,
    );
    expect(unannounced.at(-2)).toMatch(/^452 4\.3\.1 .*intake_bytes/);
    intake.held.take(99_000);
    const full = await converse(port, `${begin}QUIT\r\n`);
    expect(full.at(-2)).toMatch(/^452 4\.3\.1 .*intake_bytes/);
    intake.held.give(99_000);
    expect(intake.held.held).toBe(0);
    expect(accepted).toEqual([]);
  });

  test('a client that leaves in mid-message leaves nothing behind', async () => {
    const { port, intake, accepted } = await start();
    const client = connectTo(port);
    client.send(`${begin}half a mess`);
    await client.until(/354/);
    expect(intake.held.held).toBeGreaterThan(0);
    client.destroy();
    await expect.poll(() => intake.held.held, PATIENCE).toBe(0);
    expect(accepted).toEqual([]);
    expect(intake.counters.clients).toBe(0);
  });

  test('one client too many is told so', async () => {
    const { port, intake } = await start({ smtp_clients: 2 });
    const inside = [connectTo(port), connectTo(port)];
    for (const client of inside) await client.until(/220/);
    expect(await converse(port, '')).toEqual([
      '421 4.3.2 too many connections (bound smtp_clients)',
    ]);
    expect(intake.counters.refused.clients).toBe(1);
    inside[0]!.send('QUIT\r\n');
    await inside[0]!.end();
    await expect.poll(() => intake.counters.clients, PATIENCE).toBe(1);
    await connectTo(port).until(/220/);
  });
});
