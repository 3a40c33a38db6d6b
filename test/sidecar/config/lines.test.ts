/** Lines of keys and elements, over every way TOML has of writing them. */
import fc from 'fast-check';
import { parse, stringify } from 'smol-toml';
import { expect, test } from 'vitest';
import { type KeyPath, lineOf, locateKeys } from '../../../sidecar/config/lines.ts';

const SOURCE = String.raw`# a comment with [brackets] and "quotes
top = 1

[resolver] # and another
listen = [ "a", # one
  "b",
  # [not this]
  "c" ]
"quoted key" = 'lit # eral'
cache.bytes = 5
text = """
[mta]
x = "" \""" 1
"""
after = '''
''x'''
point = { x = 1,
  y.z = [ { w = 2 }, { w = 3 } ] }

[mta . delivery]
port = 25
'a.b'.c = 2024-01-01T00:00:00Z

[[hosts]]
name = "one"
[[hosts]]
name = "two"
[hosts.deep]
key = 1
`;

const TABLE: readonly (readonly [KeyPath, number])[] = [
  [['top'], 2],
  [['resolver'], 4],
  [['resolver', 'listen'], 5],
  [['resolver', 'listen', 0], 5],
  [['resolver', 'listen', 1], 6],
  [['resolver', 'listen', 2], 8],
  [['resolver', 'quoted key'], 9],
  [['resolver', 'cache'], 10],
  [['resolver', 'cache', 'bytes'], 10],
  [['resolver', 'text'], 11],
  [['resolver', 'after'], 15],
  [['resolver', 'point', 'x'], 17],
  [['resolver', 'point', 'y', 'z', 0, 'w'], 18],
  [['resolver', 'point', 'y', 'z', 1, 'w'], 18],
  [['mta'], 20],
  [['mta', 'delivery'], 20],
  [['mta', 'delivery', 'port'], 21],
  [['mta', 'delivery', 'a.b', 'c'], 22],
  [['hosts', 0, 'name'], 25],
  [['hosts', 1], 26],
  [['hosts', 1, 'name'], 27],
  [['hosts', 1, 'deep', 'key'], 29],
];

test('the example is TOML', () => expect(() => parse(SOURCE)).not.toThrow());

test.each(TABLE)('%j stands on line %i', (path, line) => {
  expect(lineOf(locateKeys(SOURCE), path)).toBe(line);
});

test('CRLF line ends count once', () => {
  expect(lineOf(locateKeys(SOURCE.replaceAll('\n', '\r\n')), ['mta', 'delivery', 'port'])).toBe(21);
});

test('what is absent has the line of its nearest ancestor, or none', () => {
  const lines = locateKeys(SOURCE);
  expect(lineOf(lines, ['mta', 'delivery', 'tls'])).toBe(20);
  expect(lineOf(lines, ['nowhere', 'at', 'all'])).toBe(null);
  expect(lineOf(lines, [])).toBe(null);
});

test('every key of any document is found', () => {
  const value = fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.array(fc.string()));
  const table = fc.dictionary(fc.string({ minLength: 1 }), value, {
    maxKeys: 5,
    noNullPrototype: true,
  });
  const document = fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), table, {
    maxKeys: 4,
    noNullPrototype: true,
  });
  fc.assert(
    fc.property(document, (tree) => {
      const lines = locateKeys(stringify(tree));
      for (const [name, keys] of Object.entries(tree)) {
        for (const key of Object.keys(keys)) {
          expect(lines.has(JSON.stringify([name, key]))).toBe(true);
        }
      }
    }),
  );
});

test('any text ends, TOML or not', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'[]{}"\'=.,#\n\\ab ') }), (text) => {
      locateKeys(text);
    }),
  );
});
