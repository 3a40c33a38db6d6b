/** DNS cookies towards upstreams (RFC 7873 §5): learned, sent back, and what it means when they are not right. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CookieJar } from '../../../resolver/upstream/cookies.ts';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { readUint16, writeUint16 } from '../../../resolver/wire/message.ts';
import { writeQuery } from '../../../resolver/wire/write.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { Cleanup } from '../../support/cleanup.ts';
import {
  type Asked,
  answers,
  type Behaviour,
  FakeUpstream,
  record,
  response,
  silent,
} from '../../support/fake-upstream.ts';
import {
  askUdp,
  brief,
  metric,
  question,
  startTestResolver,
  type TestResolver,
} from '../../support/resolver.ts';
import { wireName } from '../../support/wire.ts';

const SERVER_COOKIE = Uint8Array.from({ length: 16 }, (_, n) => 0xa0 + n);
const BADCOOKIE = 23;

/** The cookie of a query: client's part, and the server's, in hex. */
const cookieOf = ({ message, view }: Asked): [client: string, server: string] => {
  const cookie = Buffer.from(
    message.subarray(view.cookieOffset, view.cookieOffset + view.cookieLength),
  );
  return [cookie.toString('hex', 0, 8), cookie.toString('hex', 8)];
};

/** Appends a COOKIE option to a response that ends in an OPT without options. */
function withCookie(message: Uint8Array, cookie: Uint8Array, rcode = 0): Uint8Array {
  const out = new Uint8Array(message.length + 4 + cookie.length);
  out.set(message);
  writeUint16(out, message.length - 2, 4 + cookie.length);
  writeUint16(out, message.length, 10);
  writeUint16(out, message.length + 2, cookie.length);
  out.set(cookie, message.length + 4);
  out[3] = (out[3]! & 0xf0) | (rcode & 0x0f);
  out[message.length - 6] = rcode >>> 4;
  return out;
}

const joined = (asked: Asked, server = SERVER_COOKIE): Uint8Array => {
  const { message, view } = asked;
  return Uint8Array.from([
    ...message.subarray(view.cookieOffset, view.cookieOffset + 8),
    ...server,
  ]);
};
const answer = (asked: Asked, lastOctet: number): Uint8Array =>
  response(asked, { answers: [record(asked, 300, lastOctet)] });
const speaksCookies: Behaviour = (asked) => asked.send(withCookie(answer(asked, 1), joined(asked)));

const cleanup = new Cleanup();
let upstream: FakeUpstream;
let resolver: TestResolver;
beforeEach(async () => {
  upstream = cleanup.stop(await FakeUpstream.start(silent));
  resolver = cleanup.stop(await startTestResolver([upstream.endpoint]));
});
afterEach(() => cleanup.run());
const ask = async (name: string) => brief(await askUdp(resolver.endpoint, question(name, TYPE.A)));
const transports = () => upstream.asked.map(({ transport }) => transport).join(' ');

test("ours goes with every question, the server's once it is known", async () => {
  upstream.behaviour = speaksCookies;
  for (const name of ['one.example', 'two.example', 'three.example']) {
    expect(await ask(name)).toBe('NOERROR 1');
  }
  const cookies = upstream.asked.map(cookieOf);
  const server = Buffer.from(SERVER_COOKIE).toString('hex');
  expect(cookies.map(([, theirs]) => theirs)).toEqual(['', server, server]);
  expect(new Set(cookies.map(([ours]) => ours)).size).toBe(1);
});

test('a server without cookies is none the worse', async () => {
  upstream.behaviour = answers(300, 5);
  expect([await ask('one.example'), await ask('two.example')]).toEqual(['NOERROR 5', 'NOERROR 5']);
  expect(transports()).toBe('udp udp');
});

describe('from a server that has shown cookies', () => {
  beforeEach(async () => {
    upstream.behaviour = speaksCookies;
    await ask('first.example');
  });

  const FORGERIES: readonly [what: string, forge: (asked: Asked) => Uint8Array][] = [
    ['no cookie', (asked) => answer(asked, 66)],
    [
      'no EDNS at all',
      (asked) => response(asked, { answers: [record(asked, 300, 66)], edns: false }),
    ],
    ["another client's cookie", (asked) => withCookie(answer(asked, 66), new Uint8Array(24))],
    ['a cookie too short', (asked) => withCookie(answer(asked, 66), new Uint8Array(7))],
    ['FORMERR without cookie', (asked) => response(asked, { rcode: 1 })],
  ];

  test.each(FORGERIES)(
    '%s: dropped, and the right answer after it counts',
    async (_what, forge) => {
      upstream.behaviour = (asked) => {
        if (asked.transport === 'tcp') return;
        asked.send(forge(asked));
        speaksCookies(asked);
      };
      expect(await ask('second.example')).toBe('NOERROR 1');
      const { port } = upstream.endpoint;
      expect(
        await metric(
          resolver,
          `postilion_dns_upstream_mismatches_total{upstream="127.0.0.1:${port}"}`,
        ),
      ).toBe(1);
    },
  );

  test.each(FORGERIES)('%s alone: asked again over TCP', async (_what, forge) => {
    upstream.behaviour = (asked) => {
      if (asked.transport === 'tcp') asked.send(withCookie(answer(asked, 2), joined(asked)));
      else asked.send(forge(asked));
    };
    expect(await ask('second.example')).toBe('NOERROR 2');
    expect(transports()).toBe('udp udp tcp');
  });

  test('it has stopped: TCP says so once, and no more is expected of it', async () => {
    upstream.behaviour = answers(300, 3);
    expect(await ask('second.example')).toBe('NOERROR 3');
    expect(await ask('third.example')).toBe('NOERROR 3');
    expect(transports()).toBe('udp udp tcp udp');
  });

  test('BADCOOKIE: asked again with the new cookie', async () => {
    const fresh = SERVER_COOKIE.map((octet) => octet ^ 0xff);
    upstream.behaviour = (asked) => {
      const [, theirs] = cookieOf(asked);
      if (theirs === Buffer.from(fresh).toString('hex')) {
        asked.send(withCookie(answer(asked, 4), joined(asked, fresh)));
      } else {
        asked.send(withCookie(response(asked), joined(asked, fresh), BADCOOKIE));
      }
    };
    expect(await ask('second.example')).toBe('NOERROR 4');
    expect(transports()).toBe('udp udp udp');
  });

  test('BADCOOKIE again and again: TCP', async () => {
    upstream.behaviour = (asked) => {
      if (asked.transport === 'tcp') asked.send(withCookie(answer(asked, 5), joined(asked)));
      else asked.send(withCookie(response(asked), joined(asked), BADCOOKIE));
    };
    expect(await ask('second.example')).toBe('NOERROR 5');
    expect(transports()).toBe('udp udp udp tcp');
  });
});

test('each upstream has a cookie of its own', () => {
  const query = writeQuery({ id: 0, name: wireName('a.example'), type: TYPE.A });
  const [one, other] = [new CookieJar(cryptoRandom()), new CookieJar(cryptoRandom())];
  const added = one.added(query);
  expect([added.length - query.length, readUint16(added, query.length - 2)]).toEqual([12, 12]);
  expect(added).not.toEqual(other.added(query));
});

test('truncated and mangled responses never throw', () => {
  const query = writeQuery({ id: 0, name: wireName('a.example'), type: TYPE.A });
  const jar = new CookieJar(cryptoRandom());
  const sent = jar.added(query);
  sent[2]! |= 0x80;
  for (let length = 0; length < sent.length; length += 1) {
    expect(['ok', 'missing', 'wrong']).toContain(jar.judge(sent.subarray(0, length)));
  }
  expect(jar.judge(sent)).toBe('ok');
  expect(jar.established).toBe(false);
});
