import fc from 'fast-check';
import { expect, test } from 'vitest';
import { authorDomain } from '../../../mta/sign/from.ts';

test.each([
  ['ann@example.com', 'example.com'],
  [' Ann Onym <ann@Example.COM>\r\n', 'example.com'],
  ['"Ann, of \\"x@y.example\\"" <ann@example.com>', 'example.com'],
  ['Ann (at (the) <b@c.example>) <ann@example.com>', 'example.com'],
  ['b@c.example <ann@example.com>', 'example.com'],
  ['ann@example.com, <b@c.example>', 'example.com'],
  ['<@relay.example,@other.example:ann@example.com>', 'relay.example'],
  ['"a@b"@example.com', 'example.com'],
  ['<ann@bücher.example>', 'xn--bcher-kva.example'],
  ['Team: ann@example.com, b@c.example;', 'example.com'],
  ['ann@example.com.', 'example.com'],
  ['nobody', null],
  ['', null],
  ['<>', null],
  ['"unfinished <a@b.example>', null],
])('%s is of %s', (value, domain) => {
  expect(authorDomain(value)).toBe(domain);
});

test('any text has a domain or none', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'a@<>"\\(),:;. é\r\n') }), (text) => {
      const domain = authorDomain(text);
      expect(domain === null || /^[^\s@<>"]+$/.test(domain)).toBe(true);
    }),
  );
});
