import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseTlsRptRecord } from '../../../../mta/report/tls/record.ts';

const mail = (address: string) => ({ kind: 'mail', address });
const web = (url: string) => ({ kind: 'web', url });

test.each([
  ['v=TLSRPTv1; rua=mailto:reports@example.com', [mail('reports@example.com')]],
  [
    'v=TLSRPTv1;rua=https://reporting.example.com/v1/tlsrpt',
    [web('https://reporting.example.com/v1/tlsrpt')],
  ],
  [
    'v=TLSRPTv1; rua=mailto:a@example.com , https://example.com/x;',
    [mail('a@example.com'), web('https://example.com/x')],
  ],
  ['v=TLSRPTv1; ext=1; rua=mailto:a%2Cb%21@example.com?subject=x', [mail('a,b!@example.com')]],
  ['v=TLSRPTv1 \t; \trua = MAILTO:a@example.com', [mail('a@example.com')]],
  ['v=TLSRPTv1; rua=mailto:a@x.example; rua=mailto:b@x.example', [mail('a@x.example')]],
  [
    'v=TLSRPTv1; rua=mailto:1@x,mailto:2@x,mailto:3@x,mailto:4@x,mailto:5@x',
    [mail('1@x'), mail('2@x'), mail('3@x'), mail('4@x')],
  ],
  ['v=TLSRPTv1; rua=http://example.com/', []],
  ['v=TLSRPTv1; rua=https://user:secret@example.com/', []],
  ['v=TLSRPTv1; rua=ftp://example.com/,mailto:,mailto:%ff@example.com', []],
  ['v=TLSRPTv1; rua=mailto:a b@example.com', []],
  ['v=TLSRPTv1;', []],
  ['v=TLSRPTv2; rua=mailto:a@example.com', []],
  ['rua=mailto:a@example.com; v=TLSRPTv1', []],
  [`v=TLSRPTv1; rua=mailto:a@example.com; x=${'y'.repeat(2_048)}`, []],
])('%s', (record, expected) => {
  expect(parseTlsRptRecord([['v=spf1 -all'], [record]])).toEqual(expected);
  // However the strings of the record are cut.
  for (let at = 0; at < Math.min(record.length, 80); at += 1) {
    expect(parseTlsRptRecord([[record.slice(0, at), record.slice(at)]])).toEqual(expected);
  }
});

test('two records are none', () => {
  const record = ['v=TLSRPTv1; rua=mailto:a@example.com'];
  expect(parseTlsRptRecord([record, record])).toEqual([]);
  expect(parseTlsRptRecord([])).toEqual([]);
});

test('whatever a record holds, what comes of it is bounded and printable', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      for (const each of parseTlsRptRecord([[`v=TLSRPTv1; rua=mailto:${text}`]])) {
        if (each.kind === 'web') expect(each.url).toMatch(/^https:/);
      }
    }),
  );
});
