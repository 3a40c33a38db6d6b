import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseStsPolicy, parseStsRecord, stsNames } from '../../../mta/plan/sts-policy.ts';

describe('the TXT record', () => {
  test.each([
    { records: [['v=STSv1; id=20160831085700Z;']], id: '20160831085700Z' },
    { records: [['v=STSv1;id=1']], id: '1' },
    { records: [['v=STSv1; ', 'id=', 'ab;']], id: 'ab' },
    { records: [['v=spf1 -all'], ['v=STSv1; id=2; x=y;']], id: '2' },
    { records: [['v=STSv1; id=1'], ['v=STSv1; id=2']], id: null },
    { records: [['v=STSv1; id=with-dash']], id: null },
    { records: [['v=STSv1; id=']], id: null },
    { records: [['v=STSv2; id=1']], id: null },
    { records: [['']], id: null },
  ])('$records', ({ records, id }) => expect(parseStsRecord(records)).toBe(id));
});

const POLICY =
  'version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\nmax_age: 604800\r\n';

describe('the policy', () => {
  test('as RFC 8461 §3.2 prints it, with either line ending', () => {
    const policy = {
      mode: 'enforce',
      mx: ['mail.example.com', '*.example.net'],
      maxAgeSeconds: 604_800,
    };
    expect(parseStsPolicy(POLICY)).toEqual(policy);
    expect(parseStsPolicy(POLICY.replaceAll('\r\n', '\n').trim())).toEqual(policy);
  });

  test.each([
    { change: ['version: STSv1', 'version: STSv2'], says: 'its version is not STSv1' },
    { change: ['mode: enforce', 'mode: strict'], says: 'it has no known mode' },
    { change: ['max_age: 604800', 'max_age: -1'], says: 'it has no max_age' },
    { change: ['mail.example.com', 'mail example com'], says: 'one of its MX patterns is no name' },
    { change: ['mx: mail.example.com', '<html>'], says: 'a line is no "key: value"' },
    { change: ['mail.example.com', 'a.*.example'], says: 'one of its MX patterns is no name' },
  ])('$says', ({ change, says }) => {
    expect(parseStsPolicy(POLICY.replace(change[0]!, change[1]!))).toBe(says);
  });

  test('the first of a key that comes twice counts; max_age has a ceiling; none needs no host', () => {
    const text = 'version: STSv1\nmode: none\nmode: enforce\nmax_age: 9999999999\n';
    expect(parseStsPolicy(text)).toEqual({ mode: 'none', mx: [], maxAgeSeconds: 31_557_600 });
  });

  test('every truncation is a policy or a sentence', () => {
    for (let end = 0; end < POLICY.length; end += 1) parseStsPolicy(POLICY.slice(0, end));
    fc.assert(fc.property(fc.string(), (text) => void parseStsPolicy(text)));
  });
});

test.each([
  { host: 'mail.example.com', named: true },
  { host: 'a.example.net', named: true },
  { host: 'a.b.example.net', named: false },
  { host: 'example.net', named: false },
  { host: 'xmail.example.com', named: false },
  { host: 'net', named: false },
])('$host: $named', ({ host, named }) => {
  const policy = parseStsPolicy(POLICY);
  expect(typeof policy !== 'string' && stsNames(policy, host)).toBe(named);
});
