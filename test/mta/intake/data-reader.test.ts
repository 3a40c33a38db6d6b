import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteBound, Collector } from '../../../mta/intake/collector.ts';
import { DataReader } from '../../../mta/intake/data-reader.ts';

const MEGABYTE = 1_048_576;

interface Read {
  readonly content: string;
  readonly fault: string | null;
  readonly ambiguous: boolean;
  /** What follows the end of data, or null when it never came. */
  readonly rest: string | null;
}

/** Feeds `octets` in pieces; stops at the end of data. */
function read(octets: string, pieceOctets = octets.length, octetsMax = MEGABYTE): Read {
  const bound = new ByteBound('test', 2 * MEGABYTE);
  const collector = Collector.open(bound, 0)!;
  const reader = new DataReader(collector, octetsMax);
  const input = Buffer.from(octets, 'latin1');
  let rest: string | null = null;
  for (let at = 0; at < input.length && rest === null; at += pieceOctets) {
    // A buffer that is overwritten afterwards, as a socket's may be.
    const piece = Buffer.from(input.subarray(at, at + pieceOctets));
    const past = reader.feed(piece, 0);
    if (past !== -1) rest = input.toString('latin1', at + past);
    piece.fill(0x58);
  }
  const result = {
    content: reader.fault === null ? collector.content().toString('latin1') : '',
    fault: reader.fault,
    ambiguous: reader.ambiguous,
    rest,
  };
  collector.release();
  expect(bound.held).toBe(0);
  return result;
}

const GOOD: readonly (readonly [sent: string, content: string, rest: string])[] = [
  ['a\r\n.\r\n', 'a\r\n', ''],
  ['.\r\n', '', ''],
  ['\r\n.\r\n', '\r\n', ''],
  ['..\r\n.\r\n', '.\r\n', ''],
  ['..a\r\n...b\r\nc.\r\n.\r\n', '.a\r\n..b\r\nc.\r\n', ''],
  ['.a\r\n.\r\n', 'a\r\n', ''],
  ['a\r\n.\r\nMAIL FROM:<>\r\n', 'a\r\n', 'MAIL FROM:<>\r\n'],
  ['a\r\n.\r\n.\r\n', 'a\r\n', '.\r\n'],
  ['\xe4\0\xff\r\n.\r\n', '\xe4\0\xff\r\n', ''],
];

describe('data ends at CRLF.CRLF', () => {
  for (const pieceOctets of [1, 2, 3, 5, 7, 10_000]) {
    test.each(GOOD)(`%j in pieces of ${pieceOctets}`, (sent, content, rest) => {
      const result = read(sent, pieceOctets);
      expect(result).toMatchObject({ content, fault: null, ambiguous: false });
      expect(rest.startsWith(result.rest ?? 'none')).toBe(true);
    });
  }

  test('lines of 998 octets pass, their extra dot not counted', () => {
    for (const line of ['x'.repeat(998), '.'.repeat(998)]) {
      const sent = `${line.startsWith('.') ? '.' : ''}${line}\r\n.\r\n`;
      for (const pieceOctets of [1, 500, 10_000]) {
        expect(read(sent, pieceOctets)).toMatchObject({ content: `${line}\r\n`, fault: null });
      }
    }
  });

  test('every truncation waits for more', () => {
    const sent = '..a\r\n.b\r\nc\r\n.\r\n';
    for (let length = 0; length < sent.length; length += 1) {
      expect(read(sent.slice(0, length))).toMatchObject({ fault: null, rest: null });
    }
  });
});

describe('what others take for the end of data', () => {
  const AFTER = 'MAIL FROM:<evil@example.com>\r\n';
  test.each([
    ['LF.LF', 'a\n.\n', 'bare-lf'],
    ['LF.CRLF', 'a\n.\r\n', 'bare-lf'],
    ['CRLF.LF', 'a\r\n.\n', 'bare-lf'],
    ['CR.CR', 'a\r.\r', 'bare-cr'],
    ['CR.CRLF', 'a\r.\r\n', 'bare-cr'],
    ['CRLF.CR', 'a\r\n.\r', 'bare-cr'],
    ['CR.LF', 'a\r.\n', 'bare-cr'],
    ['LF.CR', 'a\n.\r', 'bare-lf'],
  ])('%s refuses the message and gives the connection up', (_name, sent, fault) => {
    for (const pieceOctets of [1, 2, 3, 10_000]) {
      expect(read(sent + AFTER, pieceOctets)).toMatchObject({ fault, ambiguous: true });
    }
  });

  test.each([
    ['CR NUL', 'a\r\0.\r\n', 'bare-cr'],
    ['LF CR', 'a\n\rb\r\n', 'bare-lf'],
    ['CR CR LF', 'a\r\r\nb\r\n', 'bare-cr'],
    ['LF', '\nb\r\n', 'bare-lf'],
    ['LF in a line', 'a\nb\r\n', 'bare-lf'],
  ])('%s refuses the message, which ends where it should', (_name, sent, fault) => {
    for (const pieceOctets of [1, 2, 3, 10_000]) {
      const result = read(`${sent}more\r\n.\r\nQUIT\r\n`, pieceOctets);
      expect(result).toMatchObject({ fault, ambiguous: false });
      expect('QUIT\r\n'.startsWith(result.rest ?? 'none')).toBe(true);
    }
  });
});

describe('bounds', () => {
  test.each([
    ['a complete line', `${'x'.repeat(999)}\r\n`],
    ['a line without end', 'x'.repeat(5000)],
    ['a dotted line', `..${'x'.repeat(998)}\r\n`],
  ])('%s of over 998 octets is refused', (_name, sent) => {
    for (const pieceOctets of [1, 100, 10_000]) {
      expect(read(`${sent}\r\nb\r\n.\r\nQUIT`, pieceOctets)).toMatchObject({
        fault: 'line-length',
        ambiguous: false,
      });
    }
  });

  test('size counts the message without its dots, and what is too large is read to its end', () => {
    const message = '..56\r\n'.repeat(10);
    expect(read(`${message}.\r\n`, 7, 50)).toMatchObject({ fault: null });
    for (const pieceOctets of [1, 7, 10_000]) {
      expect(read(`${message}.\r\nQ`, pieceOctets, 49)).toMatchObject({
        fault: 'size',
        ambiguous: false,
        rest: expect.stringMatching(/^Q?$/),
      });
    }
  });

  test('memory refused in mid-message reads on to the end of data', () => {
    const bound = new ByteBound('test', 40_000);
    const collector = Collector.open(bound, 0)!;
    const reader = new DataReader(collector, MEGABYTE);
    const line = Buffer.from(`${'x'.repeat(98)}\r\n`);
    for (let lines = 0; lines < 1000; lines += 1) expect(reader.feed(line, 0)).toBe(-1);
    expect(reader.fault).toBe('busy');
    expect(bound.held).toBe(0);
    expect(reader.feed(Buffer.from('.\r\nQUIT'), 0)).toBe(3);
  });
});

test('any message survives stuffing, in any pieces', () => {
  const line = fc.string({
    unit: fc.oneof(fc.constantFrom('.', '.', 'a', '\t', '\0', '\xff')),
    maxLength: 12,
  });
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 12 }),
      fc.integer({ min: 1, max: 40 }),
      (lines, pieceOctets) => {
        const content = lines.map((text) => `${text}\r\n`).join('');
        const stuffed = lines
          .map((text) => `${text.startsWith('.') ? '.' : ''}${text}\r\n`)
          .join('');
        const result = read(`${stuffed}.\r\n`, pieceOctets);
        expect(result).toEqual({ content, fault: null, ambiguous: false, rest: '' });
      },
    ),
    { numRuns: 500 },
  );
});

test('octets in any order: what is taken has CRLF line endings only, however it arrives', () => {
  const octets = fc.string({
    unit: fc.constantFrom('\r', '\n', '.', '\r\n', 'a', '\r\n.\r\n'),
    maxLength: 30,
  });
  fc.assert(
    fc.property(octets, (sent) => {
      const whole = read(sent);
      const byOctet = read(sent, 1);
      expect({ ...byOctet, rest: byOctet.rest === null }).toEqual({
        ...whole,
        rest: whole.rest === null,
      });
      if (whole.fault !== null || whole.rest === null) return;
      expect(whole.content.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    }),
    { numRuns: 3000 },
  );
});
