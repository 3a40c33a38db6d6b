import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseMailbox } from '../../../../mta/intake/address.ts';
import { NO_TENANT, tenantTag, Verp } from '../../../../mta/report/inbound/verp.ts';

const SECRET = 'correct horse battery';
const verp = new Verp('bounces.example', [SECRET]);
const KEY = { message: 246_813_579_111, index: 3 };
const localPartOf = (address: string): string => address.slice(0, address.lastIndexOf('@'));

test('a token opens to what it was made of, whatever became of its letters', () => {
  const address = verp.reversePath(KEY, 'Bob@remote.example', 'acme');
  expect(address).toMatch(/^bounce\+[0-9a-z]{11}-3-[0-9a-z]{29}@bounces\.example$/);
  for (const written of [address, address.toUpperCase()]) {
    const opened = verp.open(localPartOf(written))!;
    expect(opened.token).toEqual({ ...KEY, tenant: tenantTag('acme') });
    expect(opened.isFor('bob@REMOTE.example')).toBe(true);
    expect(opened.isFor('alice@remote.example')).toBe(false);
  }
});

test('any id, index, tenant and recipient make an address that SMTP takes', () => {
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      fc.nat(999_999),
      fc.string(),
      fc.emailAddress(),
      (message, index, tenant, to) => {
        const address = verp.reversePath({ message, index }, to, tenant);
        expect(parseMailbox(address)).toMatchObject({ fault: null, domain: 'bounces.example' });
        const opened = verp.open(localPartOf(address));
        expect(opened?.token).toMatchObject({ message, index });
        expect(opened?.isFor(to)).toBe(true);
      },
    ),
  );
});

test('no changed character passes, nor one cut or added, nor another secret', () => {
  const token = localPartOf(verp.reversePath(KEY, 'bob@remote.example', ''));
  for (let at = 0; at < token.length; at += 1) {
    const other = token[at] === '0' ? '1' : '0';
    expect(verp.open(token.slice(0, at) + other + token.slice(at + 1))).toBeNull();
    expect(verp.open(token.slice(0, at) + token.slice(at + 1))).toBeNull();
    expect(verp.open(token.slice(0, at))).toBeNull();
    expect(verp.open(`${token.slice(0, at)}0${token.slice(at)}`)).toBeNull();
  }
  expect(new Verp('bounces.example', ['another secret!!']).open(token)).toBeNull();
  for (const junk of ['', 'bounce+', 'postmaster', `x${token}`]) expect(verp.open(junk)).toBeNull();
});

test('secrets are changed without losing what is under way', () => {
  const old = localPartOf(verp.reversePath(KEY, 'bob@remote.example', ''));
  const both = new Verp('bounces.example', ['the new secret..', SECRET]);
  expect(both.open(old)?.isFor('bob@remote.example')).toBe(true);
  const fresh = localPartOf(both.reversePath(KEY, 'bob@remote.example', ''));
  expect(verp.open(fresh)).toBeNull();
  expect(both.open(fresh)?.isFor('bob@remote.example')).toBe(true);
});

test('tenants have tags, nobody has his own', () => {
  expect(tenantTag('')).toBe(NO_TENANT);
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (name) => {
      expect(tenantTag(name)).toMatch(/^[0-9a-z]{5}$/);
      expect(tenantTag(name)).not.toBe(NO_TENANT);
    }),
  );
});
