import { describe, expect, test } from 'vitest';
import { ServerCookies } from '../../resolver/server-cookies.ts';
import { sipHash24 } from '../../resolver/siphash.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const text = (octets: Uint8Array): string => Buffer.from(octets).toString('hex');

test('SipHash-2-4 of its authors: key 00 to 0f, messages 00 to n', () => {
  const hash = new Uint8Array(8);
  const of = (octets: number): string => {
    sipHash24(
      hex('000102030405060708090a0b0c0d0e0f'),
      Uint8Array.from({ length: octets }, (_, at) => at),
      hash,
      0,
    );
    return text(hash);
  };
  expect([of(0), of(1), of(7), of(8), of(15)]).toEqual([
    '310e0edd47db6f72',
    'fd67dc93c539f874',
    '37d1018bf50002ab',
    '6224939a79f5f593',
    'e545be4961ca29a1',
  ]);
});

/** RFC 9018 Appendix A. */
describe('the cookies of RFC 9018', () => {
  const OLD_SECRET = 'dd3bdf9344b678b185a6f5cb60fca715';
  const SECRET = '445536bcd2513298075a5d379663c962';
  test.each([
    {
      secret: 'e5e973e5a6b2a43f48e7dc849e37bfcf',
      address: '198.51.100.100',
      at: 1_559_731_985,
      cookie: '2464c4abcf10c957010000005cf79f111f8130c3eee29480',
    },
    {
      secret: OLD_SECRET,
      address: '2001:db8:220:1:59de:d0f4:8769:82b8',
      at: 1_559_741_817,
      cookie: '22681ab97d52c298010000005cf7c57926556bd0934c72f8',
    },
    {
      secret: SECRET,
      address: '2001:db8:220:1:59de:d0f4:8769:82b8',
      at: 1_559_741_961,
      cookie: '22681ab97d52c298010000005cf7c609a6bb79d16625507a',
    },
  ])('$cookie', ({ secret, address, at, cookie }) => {
    const cookies = new ServerCookies([hex(secret)]);
    expect(text(cookies.make(hex(cookie.slice(0, 16)), address, at))).toBe(cookie);
    expect(cookies.knows(hex(cookie), address, at)).toBe(true);
  });

  test('a secret that is being replaced is known, and makes no new ones', () => {
    const old = new ServerCookies([hex(OLD_SECRET)]);
    const both = new ServerCookies([hex(SECRET), hex(OLD_SECRET)]);
    const cookie = old.make(hex('0011223344556677'), '192.0.2.1', 1_000_000);
    expect(both.knows(cookie, '192.0.2.1', 1_000_000)).toBe(true);
    expect(old.knows(both.make(cookie, '192.0.2.1', 1_000_000), '192.0.2.1', 1_000_000)).toBe(
      false,
    );
  });
});

describe('a cookie', () => {
  const cookies = new ServerCookies([hex('000102030405060708090a0b0c0d0e0f')]);
  const NOW = 4_294_967_000;
  const cookie = cookies.make(hex('0011223344556677'), '192.0.2.1', NOW);
  test.each([
    ['at once', '192.0.2.1', 0, true],
    ['as a dual-stack socket has it', '::ffff:192.0.2.1', 0, true],
    ['an hour later, past the end of 32 bits', '192.0.2.1', 3_600, true],
    ['later', '192.0.2.1', 3_601, false],
    ['from five minutes ahead', '192.0.2.1', -300, true],
    ['from further ahead', '192.0.2.1', -301, false],
    ['of another address', '192.0.2.2', 0, false],
  ])('%s', (_what, address, laterSeconds, known) => {
    expect(cookies.knows(cookie, address, (NOW + laterSeconds) >>> 0)).toBe(known);
  });

  test('of which one bit changed, or of another length, is unknown', () => {
    for (let bit = 0; bit < 8 * cookie.length; bit += 1) {
      const changed = Uint8Array.from(cookie);
      changed[bit >> 3] = changed[bit >> 3]! ^ (1 << (bit & 7));
      // The three octets behind the version are reserved, but hashed.
      expect(cookies.knows(changed, '192.0.2.1', NOW)).toBe(false);
    }
    for (let length = 0; length < 40; length += 1) {
      if (length !== 24)
        expect(cookies.knows(new Uint8Array(length), '192.0.2.1', NOW)).toBe(false);
    }
  });
});
