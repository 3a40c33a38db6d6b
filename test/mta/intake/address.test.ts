import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseMailbox, parsePath } from '../../../mta/intake/address.ts';

describe('admitted addresses', () => {
  test.each([
    ['user@example.com', 'example.com'],
    ['User@Example.COM', 'example.com'],
    ["o'hara+tag=x/y{z}@example.com", 'example.com'],
    ['a@b', 'b'],
    ['a.b.c@xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['user@bücher.example', 'xn--bcher-kva.example'],
    ['jürgen@例え.テスト', 'xn--r8jz45g.xn--zckzah'],
    ['user@BÜCHER。example', 'xn--bcher-kva.example'],
    ['"quoted string"@example.com', 'example.com'],
    ['"a@b"@example.com', 'example.com'],
    [String.raw`"a\"b\\"@example.com`, 'example.com'],
    ['user@[192.0.2.1]', '[192.0.2.1]'],
    ['user@[IPv6:2001:DB8:0:0:0:0:0:1]', '[IPv6:2001:db8::1]'],
    ['user@[ipv6:::1]', '[IPv6:::1]'],
    [`${'a'.repeat(64)}@example.com`, 'example.com'],
    [
      `a@${'b'.repeat(63)}.${'c'.repeat(63)}.example`,
      `${'b'.repeat(63)}.${'c'.repeat(63)}.example`,
    ],
    ['user@1.example', '1.example'],
  ])('%s is routed by %s', (address, domain) => {
    expect(parseMailbox(address)).toMatchObject({ fault: null, address, domain });
  });

  test.each([
    ['', 'no-domain'],
    ['postmaster', 'no-domain'],
    ['@example.com', 'local-part'],
    ['""@example.com', 'local-part'],
    ['a..b@example.com', 'local-part'],
    ['.a@example.com', 'local-part'],
    ['a.@example.com', 'local-part'],
    ['a b@example.com', 'local-part'],
    ['a@b@example.com', 'local-part'],
    ['"a"b@example.com', 'local-part'],
    ['"a"b"@example.com', 'local-part'],
    ['"a\\"@example.com', 'local-part'],
    ['(comment)a@example.com', 'local-part'],
    ['a@', 'domain'],
    ['a@.example', 'domain'],
    ['a@example.com.', 'domain'],
    ['a@exa_mple.com', 'domain'],
    ['a@-example.com', 'domain'],
    ['a@example-.com', 'domain'],
    ['a@exam ple.com', 'domain'],
    ['a@192.0.2.1', 'domain'],
    ['a@１２７.0.0.1', 'domain'],
    ['a@ü/x.example', 'domain'],
    ['a@ü%2e.example', 'domain'],
    ['a@ü／x.example', 'domain'],
    ['a@[192.0.2.256]', 'domain'],
    ['a@[192.0.2.1', 'domain'],
    ['a@[IPv6:fe80::1%eth0]', 'domain'],
    ['a@[IPv6:192.0.2.1]', 'domain'],
    ['a@[tag:content]', 'domain'],
    ['a@[]', 'domain'],
    [`a@${'b'.repeat(64)}.example`, 'domain'],
    [`${'a'.repeat(65)}@example.com`, 'length'],
    [`${'ü'.repeat(33)}@example.com`, 'length'],
    [`a@${'b.'.repeat(130)}com`, 'length'],
    [`a@${'ü.'.repeat(60)}com`, 'length'],
    ['a\r\nb@example.com', 'characters'],
    ['a\0b@example.com', 'characters'],
    ['"a\tb"@example.com', 'characters'],
    ['a>b@example.com', 'characters'],
    ['"a<b"@example.com', 'characters'],
    ['a@exam\nple.com', 'characters'],
    ['a\u0085b@example.com', 'characters'],
    ['a\u00a0b@example.com', 'characters'],
    ['a\u202eb@example.com', 'characters'],
    ['a\ufffdb@example.com', 'characters'],
    ['a\ud800b@example.com', 'characters'],
  ])('%j is refused: %s', (address, fault) => {
    expect(parseMailbox(address)).toMatchObject({ fault });
  });

  test('a source route is stripped from a path, and only there', () => {
    expect(parsePath('@one.example,@two.example:user@example.com')).toMatchObject({
      fault: null,
      address: 'user@example.com',
    });
    expect(parseMailbox('@one.example:user@example.com')).toMatchObject({ fault: 'local-part' });
    expect(parsePath('@one.example:')).toMatchObject({ fault: 'no-domain' });
  });

  test('says whether SMTPUTF8 is needed', () => {
    expect(parseMailbox('user@example.com')).toMatchObject({ ascii: true });
    expect(parseMailbox('user@bücher.example')).toMatchObject({ ascii: false });
    expect(parseMailbox('ü@example.com')).toMatchObject({ ascii: false });
  });
});

const nastyText = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      '@',
      '.',
      '"',
      '\\',
      '<',
      '>',
      ' ',
      '\r',
      '\n',
      '\0',
      '[',
      ']',
      ':',
      ',',
      'ü',
      '。',
    ),
    fc.constantFrom('a', 'B', '1', '-', '_', 'x', 'n'),
    fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
  ),
  maxLength: 80,
});

test('whatever is admitted cannot inject, and its domain can be routed by', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        nastyText,
        fc.tuple(nastyText, nastyText).map((parts) => parts.join('@')),
      ),
      (text) => {
        const mailbox = parsePath(text);
        if (mailbox.fault !== null) return;
        expect(text.endsWith(mailbox.address)).toBe(true);
        expect(mailbox.address).not.toMatch(/[\p{Cc}<>]/u);
        if (!mailbox.address.startsWith('"')) expect(mailbox.address).not.toMatch(/\s/u);
        expect(Buffer.byteLength(mailbox.address)).toBeLessThanOrEqual(254);
        expect(mailbox.domain).toMatch(
          /^(?:[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*|\[(?:IPv6:)?[0-9a-f:.]+\])$/,
        );
        // Taken as written, so that it is stable under a second passage.
        expect(parsePath(mailbox.address)).toEqual(mailbox);
      },
    ),
    { numRuns: 2000 },
  );
});

test('every dot-atom at every host name within the limits is admitted as it stands', () => {
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
  const atom = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,15}$/);
  const local = fc.array(atom, { minLength: 1, maxLength: 4 }).map((atoms) => atoms.join('.'));
  const domain = fc.tuple(fc.array(label, { maxLength: 4 }), fc.stringMatching(/^[a-z]{2,8}$/));
  fc.assert(
    fc.property(local, domain, (localPart, [labels, top]) => {
      const name = [...labels, top].join('.');
      const address = `${localPart}@${name}`;
      expect(parseMailbox(address)).toEqual({ fault: null, address, domain: name, ascii: true });
    }),
  );
});
