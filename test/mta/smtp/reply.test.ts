import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatReply,
  LINE_TEXT_MAX,
  MalformedReply,
  type Reply,
  ReplyParser,
} from '../../../mta/smtp/reply.ts';

/** Feeds the chunks; @returns every reply, and the complaint where one was thrown */
function parse(chunks: readonly Buffer[]): (Reply | string)[] {
  const parser = new ReplyParser();
  const found: (Reply | string)[] = [];
  try {
    for (const chunk of chunks) {
      const borrowed = Buffer.from(chunk);
      parser.feed(borrowed);
      for (let reply = parser.next(); reply !== null; reply = parser.next()) found.push(reply);
      borrowed.fill(0x58);
    }
  } catch (error) {
    if (!(error instanceof MalformedReply)) throw error;
    found.push(error.message.split(':')[0]!);
  }
  return found;
}

const octetwise = (octets: Buffer): Buffer[] => [...octets].map((octet) => Buffer.from([octet]));

const TABLE: readonly { readonly input: string | Buffer; readonly replies: readonly Reply[] }[] = [
  {
    input: '220 mx.example ESMTP\r\n',
    replies: [{ code: 220, enhanced: null, lines: ['mx.example ESMTP'] }],
  },
  { input: '250\r\n', replies: [{ code: 250, enhanced: null, lines: [''] }] },
  { input: '250 \r\n', replies: [{ code: 250, enhanced: null, lines: [''] }] },
  { input: '250 2.1.5\r\n', replies: [{ code: 250, enhanced: '2.1.5', lines: [''] }] },
  {
    input: '250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1000\r\n',
    replies: [{ code: 250, enhanced: null, lines: ['mx.example', 'PIPELINING', 'SIZE 1000'] }],
  },
  {
    input: '550-5.1.1 no such\r\n550 5.1.1 user\r\n250 2.0.0 ok\r\n',
    replies: [
      { code: 550, enhanced: '5.1.1', lines: ['no such', 'user'] },
      { code: 250, enhanced: '2.0.0', lines: ['ok'] },
    ],
  },
  // RFC 2034 §4 wants one class. A refusal that contradicts itself must be seen to.
  {
    input: '450 5.7.1 later\r\n',
    replies: [{ code: 450, enhanced: '5.7.1', lines: ['later'] }],
  },
  {
    input: '550 4.7.1 listed\r\n',
    replies: [{ code: 550, enhanced: '4.7.1', lines: ['listed'] }],
  },
  {
    input: '250 4.7.1 taken\r\n550 2.1.5 no\r\n',
    replies: [
      { code: 250, enhanced: null, lines: ['4.7.1 taken'] },
      { code: 550, enhanced: null, lines: ['2.1.5 no'] },
    ],
  },
  { input: '250 2.1.1000 x\r\n', replies: [{ code: 250, enhanced: null, lines: ['2.1.1000 x'] }] },
  {
    input: '354 go\n250 bare LF\n',
    replies: [
      { code: 354, enhanced: null, lines: ['go'] },
      { code: 250, enhanced: null, lines: ['bare LF'] },
    ],
  },
  { input: '250-\r\n250\r\n', replies: [{ code: 250, enhanced: null, lines: ['', ''] }] },
  {
    input: '550 a\rb\x1b[2Jc\0\r\n',
    replies: [{ code: 550, enhanced: null, lines: ['a?b?[2Jc?'] }],
  },
  {
    input: Buffer.from('550 größer\u202e als\u0085 erlaubt\r\n'),
    replies: [{ code: 550, enhanced: null, lines: ['größer? als? erlaubt'] }],
  },
  {
    input: Buffer.from('550 gr\xf6\xdfer\r\n', 'latin1'),
    replies: [{ code: 550, enhanced: null, lines: ['gr??er'] }],
  },
  {
    input: `250 ${'x'.repeat(1500)}\r\n`,
    replies: [{ code: 250, enhanced: null, lines: ['x'.repeat(LINE_TEXT_MAX)] }],
  },
];

describe('replies', () => {
  test.each(TABLE)('$input', ({ input, replies }) => {
    const octets = Buffer.from(input);
    expect(parse([octets])).toEqual(replies);
    expect(parse(octetwise(octets))).toEqual(replies);
    for (let end = 0; end < octets.length; end += 1) {
      const head = parse([octets.subarray(0, end)]);
      expect(head).toEqual(replies.slice(0, head.length));
      expect(parse([octets.subarray(0, end), octets.subarray(end)])).toEqual(replies);
    }
  });
});

describe('malformed replies', () => {
  test.each([
    { input: 'hello\r\n', complaint: 'malformed reply, no reply code' },
    { input: '\r\n', complaint: 'malformed reply, no reply code' },
    { input: '25\r\n', complaint: 'malformed reply, no reply code' },
    { input: '150 x\r\n', complaint: 'malformed reply, no reply code' },
    { input: '650 x\r\n', complaint: 'malformed reply, no reply code' },
    { input: '2x0 x\r\n', complaint: 'malformed reply, no reply code' },
    { input: '250x\r\n', complaint: 'malformed reply, no space or hyphen after the code' },
    { input: '250-a\r\n251 b\r\n', complaint: 'malformed reply, another code in one reply' },
    { input: '250-a\r\nb\r\n', complaint: 'malformed reply, no reply code' },
    { input: `250 ${'x'.repeat(3000)}\r\n`, complaint: 'malformed reply, line too long' },
    { input: '2'.repeat(100_000), complaint: 'malformed reply, line too long' },
    { input: '250-x\r\n'.repeat(200), complaint: 'malformed reply, too many lines' },
    {
      input: `250-${'x'.repeat(1990)}\r\n`.repeat(20),
      complaint: 'malformed reply, reply too long',
    },
  ])('$complaint', ({ input, complaint }) => {
    expect(parse([Buffer.from(input)])).toEqual([complaint]);
    expect(parse(octetwise(Buffer.from(input)))).toEqual([complaint]);
  });

  test('stays malformed, and keeps octets of its own', () => {
    const parser = new ReplyParser();
    const chunk = Buffer.from('nonsense\r\n250 ok\r\n');
    parser.feed(chunk);
    const failure = (): MalformedReply | null => {
      try {
        parser.next();
        return null;
      } catch (error) {
        return error as MalformedReply;
      }
    };
    const first = failure();
    chunk.fill(0);
    expect(first?.code).toBe('MTA_MALFORMED_REPLY');
    expect(Buffer.from(first!.octets).toString()).toBe('nonsense\r');
    expect(failure()).toBe(first);
  });
});

const replyArbitrary = fc.record({
  code: fc.integer({ min: 200, max: 599 }),
  lines: fc.array(fc.stringMatching(/^[a-z ]{0,40}$/), { minLength: 1, maxLength: 5 }),
});

test('any cut of any replies yields the same replies', () => {
  fc.assert(
    fc.property(
      fc.array(replyArbitrary, { maxLength: 8 }),
      fc.array(fc.integer({ min: 0, max: 2000 }), { maxLength: 10 }),
      (replies, cuts) => {
        const text = replies
          .map(({ code, lines }) =>
            lines
              .map((line, at) => `${code}${at === lines.length - 1 ? ' ' : '-'}${line}\r\n`)
              .join(''),
          )
          .join('');
        const octets = Buffer.from(text);
        const edges = [0, ...cuts.map((cut) => Math.min(cut, octets.length)), octets.length];
        edges.sort((a, b) => a - b);
        const chunks = edges.slice(1).map((end, at) => octets.subarray(edges[at], end));
        expect(parse(chunks)).toEqual(
          replies.map(({ code, lines }) => ({ code, enhanced: null, lines })),
        );
      },
    ),
  );
});

test('any octets yield replies or a complaint, whatever the cut', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (octets) => {
      const whole = parse([Buffer.from(octets)]);
      expect(parse(octetwise(Buffer.from(octets)))).toEqual(whole);
      for (const found of whole) {
        if (typeof found === 'string') continue;
        expect(found.lines.join('')).not.toMatch(/\p{Cc}/u);
      }
    }),
  );
});

test('one line for people', () => {
  expect(formatReply({ code: 550, enhanced: '5.1.1', lines: ['no such', '', 'user'] })).toBe(
    '550 5.1.1 no such / user',
  );
  expect(formatReply({ code: 250, enhanced: null, lines: [''] })).toBe('250');
});

describe('a line that was seen before', () => {
  test('is the same reply again, also behind many others', () => {
    const numbered = Array.from({ length: 40 }, (_, number) => `250 2.0.0 queued as ${number}`);
    const lines = ['250 2.1.0 ok', ...numbered, '250 2.1.0 ok', ...numbered.toReversed()];
    const replies = parse([Buffer.from(lines.map((line) => `${line}\r\n`).join(''))]);
    expect(
      replies.map((reply) => (typeof reply === 'string' ? reply : formatReply(reply))),
    ).toEqual(lines);
  });

  test('is not taken for one where it ends a reply of several lines', () => {
    const input = '250 mx.example\r\n250-first\r\n250 mx.example\r\n550-a\r\n250 mx.example\r\n';
    expect(parse([Buffer.from(input)])).toEqual([
      { code: 250, enhanced: null, lines: ['mx.example'] },
      { code: 250, enhanced: null, lines: ['first', 'mx.example'] },
      'malformed reply, another code in one reply',
    ]);
  });
});
