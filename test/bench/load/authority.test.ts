import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Authority,
  type AuthorityRecord,
  startAuthority,
} from '../../../bench/load/authority.ts';
import { dig } from '../../support/dig.ts';
import { requirePeer } from '../../support/peers.ts';

const RECORDS: readonly AuthorityRecord[] = [
  {
    name: 'alpha.example',
    type: 'MX',
    ttlSeconds: 300,
    preference: 10,
    exchange: 'a.mx.alpha.example',
  },
  { name: 'a.mx.alpha.example', type: 'A', ttlSeconds: 60, address: '127.1.2.3' },
  { name: 'a.mx.alpha.example', type: 'AAAA', ttlSeconds: 60, address: '2001:db8::1' },
  { name: 'www.alpha.example', type: 'CNAME', ttlSeconds: 30, target: 'a.mx.alpha.example' },
  { name: 'alpha.example', type: 'TXT', ttlSeconds: 60, strings: ['v=spf1', ' -all'] },
  {
    name: 'long.alpha.example',
    type: 'TXT',
    ttlSeconds: 60,
    strings: Array(9).fill('x'.repeat(200)),
  },
];

requirePeer('dig')('embedded authority', () => {
  let authority: Authority;
  beforeAll(async () => {
    authority = await startAuthority({
      zones: new Map([['alpha.example', RECORDS]]),
      negativeTtlSeconds: 77,
    });
  });
  afterAll(() => authority?.stop());

  test.each([
    ['alpha.example', 'MX', ['300 MX 10 a.mx.alpha.example.']],
    ['A.MX.Alpha.Example', 'A', ['60 A 127.1.2.3']],
    ['a.mx.alpha.example', 'AAAA', ['60 AAAA 2001:db8::1']],
    ['alpha.example', 'TXT', ['60 TXT "v=spf1" " -all"']],
    ['www.alpha.example', 'A', ['30 CNAME a.mx.alpha.example.', '60 A 127.1.2.3']],
  ])('answers %s %s', async (name, type, expected) => {
    const response = await dig(authority, name, type);
    expect(response.status).toBe('NOERROR');
    expect(response.answer.map((r) => `${r.ttlSeconds} ${r.type} ${r.data}`)).toEqual(expected);
    expect(response.edns).toContain('EDNS: version: 0');
  });

  test.each([
    ['missing.alpha.example', 'A', 'NXDOMAIN'],
    ['alpha.example', 'AAAA', 'NOERROR'],
    ['mx.alpha.example', 'A', 'NOERROR'], // An empty non-terminal exists.
  ])('denies %s %s with %s and SOA', async (name, type, status) => {
    const response = await dig(authority, name, type);
    expect([response.status, response.answer]).toEqual([status, []]);
    expect(response.authority.map((r) => [r.name, r.ttlSeconds, r.type])).toEqual([
      ['alpha.example.', 77, 'SOA'],
    ]);
  });

  test('refuses what it has no authority for', async () => {
    expect((await dig(authority, 'beta.example', 'MX')).status).toBe('REFUSED');
  });

  test('a long answer is truncated over UDP and whole over TCP', async () => {
    const response = await dig(authority, 'long.alpha.example', 'TXT');
    expect([response.transport, response.answer.length]).toEqual(['TCP', 1]);
  });

  test('counts questions by name and type', async () => {
    const before = authority.total();
    await dig(authority, 'Count.Alpha.Example', 'MX');
    await dig(authority, 'count.alpha.example', 'MX');
    await dig(authority, 'count.alpha.example', 'TYPE65534');
    expect(authority.questions.get('count.alpha.example MX')).toBe(2);
    expect(authority.questions.get('count.alpha.example TYPE65534')).toBe(1);
    expect(authority.total()).toBe(before + 3);
  });
});
