import { createHash, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { selfSigned } from '../../../bench/load/certificate.ts';
import { daneFault } from '../../../mta/smtp/dane.ts';
import type { Tlsa } from '../../../mta/tlsa.ts';
import { type Authority, createAuthority } from '../../support/authorities.ts';

const HOST = 'mx.example.net';
const DAY_MS = 86_400_000;
let authority: Authority;
let leaf: X509Certificate;
let anchor: X509Certificate;
let stranger: X509Certificate;
beforeAll(async () => {
  authority = await createAuthority();
  const issued = authority.issue(HOST).cert.split(/(?<=-----END CERTIFICATE-----\n)/);
  leaf = new X509Certificate(issued[0]!);
  anchor = new X509Certificate(issued[1]!);
  stranger = new X509Certificate(selfSigned([HOST]).cert);
});
afterAll(() => authority.remove());

function record(
  certificate: X509Certificate,
  usage: Tlsa['usage'],
  selector: Tlsa['selector'],
  matching: Tlsa['matching'],
): Tlsa {
  const octets =
    selector === 0
      ? certificate.raw
      : certificate.publicKey.export({ type: 'spki', format: 'der' });
  const digest = (name: string): string => createHash(name).update(octets).digest('hex');
  const data = [() => octets.toString('hex'), () => digest('sha256'), () => digest('sha512')];
  return { usage, selector, matching, data: data[matching]!() };
}

test.each([0, 1] as const)('selector %i, all matching types, both usages', (selector) => {
  for (const matching of [0, 1, 2] as const) {
    const own = record(leaf, 3, selector, matching);
    const above = record(anchor, 2, selector, matching);
    expect(daneFault([own], [leaf, anchor], HOST, Date.now())).toBeNull();
    expect(daneFault([above], [leaf, anchor], HOST, Date.now())).toBeNull();
    expect(daneFault([own], [stranger], HOST, Date.now())).toBe('TLSA_MISMATCH');
    expect(daneFault([above], [leaf], HOST, Date.now())).toBe('TLSA_MISMATCH');
  }
});

test('DANE-EE looks at the key alone: neither name nor validity', () => {
  const records = [record(leaf, 3, 1, 1)];
  expect(daneFault(records, [leaf], 'other.example', Date.now() + 900 * DAY_MS)).toBeNull();
});

test('DANE-TA asks for name, validity and signatures below the anchor', () => {
  const records = [record(anchor, 2, 1, 1)];
  const fault = (chain: X509Certificate[], host = HOST, atMs = Date.now()): string | null =>
    daneFault(records, chain, host, atMs);
  expect(fault([leaf, anchor], 'other.example')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  expect(fault([leaf, anchor], HOST, Date.now() + 10 * DAY_MS)).toBe('CERT_HAS_EXPIRED');
  expect(fault([leaf, anchor], HOST, Date.now() - 10 * DAY_MS)).toBe('CERT_NOT_YET_VALID');
  expect(fault([stranger, anchor])).toBe('CERT_SIGNATURE_FAILURE');
});

test('any of several records will do; without a certificate none does', () => {
  const records = [record(stranger, 3, 1, 1), record(leaf, 3, 0, 2)];
  expect(daneFault(records, [leaf, anchor], HOST, Date.now())).toBeNull();
  expect(daneFault(records, [], HOST, Date.now())).toBe('NO_CERTIFICATE');
});
