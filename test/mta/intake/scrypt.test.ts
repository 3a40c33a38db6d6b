import { describe, expect, test } from 'vitest';
import { hashPassword, parseScrypt, verifyScrypt } from '../../../mta/intake/scrypt.ts';

const bare = (octets: Buffer): string => octets.toString('base64').replaceAll('=', '');
/** RFC 7914 §12, the third vector. */
const VECTOR = `$scrypt$ln=14,r=8,p=1$${bare(Buffer.from('SodiumChloride'))}$${bare(
  Buffer.from(
    '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
    'hex',
  ),
)}`;

test('the vector of RFC 7914', async () => {
  const hash = parseScrypt(VECTOR)!;
  expect(await verifyScrypt(hash, 'pleaseletmein')).toBe(true);
  expect(await verifyScrypt(hash, 'pleaseletmeout')).toBe(false);
});

test('what is made can be read, and holds for its password alone', async () => {
  const text = await hashPassword('päss wörd', Buffer.alloc(16, 7));
  expect(text).toMatch(/^\$scrypt\$ln=15,r=8,p=1\$BwcHBwcHBwcHBwcHBwcHBw\$[A-Za-z0-9+/]{43}$/);
  const hash = parseScrypt(text)!;
  expect(await verifyScrypt(hash, 'päss wörd')).toBe(true);
  expect(await verifyScrypt(hash, 'päss word')).toBe(false);
});

describe('refused', () => {
  const salt = 'c2FsdHNhbHQ';
  const hash = 'A'.repeat(43);
  test.each([
    ['nothing', ''],
    ['a bcrypt hash', `$2b$12$${'x'.repeat(53)}`],
    ['no parameters', `$scrypt$${salt}$${hash}`],
    ['a cost that guesses quickly', `$scrypt$ln=9,r=8,p=1$${salt}$${hash}`],
    ['gigabytes', `$scrypt$ln=30,r=8,p=1$${salt}$${hash}`],
    ['too wide', `$scrypt$ln=15,r=99,p=1$${salt}$${hash}`],
    ['too often', `$scrypt$ln=15,r=8,p=5$${salt}$${hash}`],
    ['a short salt', `$scrypt$ln=15,r=8,p=1$c2E$${hash}`],
    ['a short hash', `$scrypt$ln=15,r=8,p=1$${salt}$AAAA`],
    ['something behind', `$scrypt$ln=15,r=8,p=1$${salt}$${hash}$`],
  ])('%s', (_name, text) => expect(parseScrypt(text)).toBeNull());
});
