/** From what became of TLS on a connection to what is reported of it (RFC 8460 §4.3). */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Link } from '../../../mta/delivery/link.ts';
import { TlsWatch } from '../../../mta/delivery/tls-watch.ts';
import type { StsPolicy } from '../../../mta/plan/sts-policy.ts';
import type { TlsOutcome } from '../../../mta/report/tls/outcome.ts';
import type { CloseCause } from '../../../mta/smtp/transaction.ts';

const TESTING: StsPolicy = { mode: 'testing', mx: ['mx.a.example'], maxAgeSeconds: 86_400 };
const TLSA = { usage: 3, selector: 1, matching: 1, data: 'ab'.repeat(32) } as const;
const VERIFIED = { protocol: 'TLSv1.3', cipher: 'x', resumed: false, verified: true, fault: null };

let told: TlsOutcome[];
let policies: Record<string, StsPolicy>;
let watch: TlsWatch;
beforeEach(() => {
  told = [];
  policies = { 'a.example': TESTING };
  watch = new TlsWatch(
    (outcome) => told.push(outcome),
    (domain) => policies[domain] ?? null,
    (domain) => domain === 'rerouted.example',
  );
});

const link = (parts: object = {}): Link =>
  ({
    target: { host: 'mx.a.example', address: '192.0.2.1', port: 25, rank: 0 },
    tls: VERIFIED,
    mode: 'opportunistic',
    localAddress: '192.0.2.9',
    carried: new Set<string>(),
    ...parts,
  }) as unknown as Link;
const summary = () =>
  told.map(({ domain, policy, failure }) => [domain, policy.type, failure?.type ?? 'success']);
const mail = (...domains: string[]) => domains.map((domain) => ({ domain }));

describe('a connection that carries mail', () => {
  test('counts once for each domain, however many messages', () => {
    const one = link();
    watch.carries(one, mail('a.example', 'b.example'));
    watch.carries(one, mail('b.example'));
    watch.carries(link(), mail('b.example'));
    expect(summary()).toEqual([
      ['a.example', 'sts', 'success'],
      ['b.example', 'no-policy-found', 'success'],
      ['b.example', 'no-policy-found', 'success'],
    ]);
    expect(told[0]!.policy).toEqual({
      type: 'sts',
      strings: ['version: STSv1', 'mode: testing', 'mx: mx.a.example', 'max_age: 86400'],
      hosts: ['mx.a.example'],
    });
  });

  test.each([
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'certificate-host-mismatch'],
    ['CERT_HAS_EXPIRED', 'certificate-expired'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'certificate-not-trusted'],
  ])('%s fails a policy that is tested, and matters to nobody else', (fault, type) => {
    const tls = { ...VERIFIED, verified: false, fault };
    watch.carries(link({ tls }), mail('a.example', 'b.example'));
    expect(told.map(({ failure }) => failure)).toEqual([
      {
        type,
        host: 'mx.a.example',
        address: '192.0.2.1',
        localAddress: '192.0.2.9',
        reason: fault,
      },
      null,
    ]);
  });

  test('a host that the policy does not name, and one without TLS', () => {
    const other = { host: 'mx.other.example', address: '192.0.2.2', port: 25, rank: 0 };
    watch.carries(link({ target: other }), mail('a.example'));
    watch.carries(link({ tls: null }), mail('a.example', 'b.example'));
    expect(told.map(({ failure }) => [failure?.type, failure?.reason])).toEqual([
      ['validation-failure', 'mx-not-in-sts-policy'],
      ['starttls-not-supported', ''],
      ['starttls-not-supported', ''],
    ]);
  });

  test('DANE comes before MTA-STS (RFC 8461 §2)', () => {
    const target = { ...link().target, tls: 'dane', tlsa: [TLSA] };
    watch.carries(link({ target, mode: 'dane' }), mail('a.example'));
    expect(told).toEqual([
      {
        domain: 'a.example',
        policy: { type: 'tlsa', strings: [`3 1 1 ${TLSA.data}`], hosts: ['mx.a.example'] },
        failure: null,
      },
    ]);
  });

  test('nothing is told of mail in clear by choice, of reports, of addresses, of next hops', () => {
    watch.carries(link({ mode: 'none', tls: null }), mail('a.example'));
    watch.carries(
      link(),
      mail('~a.example', '[192.0.2.1]', '=relay.example/a.example', 'rerouted.example'),
    );
    expect(told).toEqual([]);
  });
});

describe('a connection that was not to be had', () => {
  const dane = link({ target: { ...link().target, tls: 'dane', tlsa: [TLSA] } });
  const failed = (cause: CloseCause, of = link()): unknown => {
    told = [];
    watch.failed(of, cause, ['a.example']);
    return told.map(({ policy, failure }) => [policy.type, failure?.type, failure?.reason]);
  };
  const tls = (fault: string, code?: string): CloseCause =>
    ({ kind: 'tls', fault, detail: '', ...(code === undefined ? {} : { code }) }) as CloseCause;

  test('each way to fail has its name', () => {
    expect(failed(tls('not-offered'))).toEqual([['sts', 'starttls-not-supported', '']]);
    expect(failed(tls('refused'))).toEqual([['sts', 'starttls-not-supported', '']]);
    expect(failed(tls('handshake', 'ERR_SSL_X'))).toEqual([
      ['sts', 'validation-failure', 'ERR_SSL_X'],
    ]);
    expect(failed(tls('handshake'))).toEqual([['sts', 'validation-failure', 'handshake']]);
    expect(failed(tls('injected'))).toEqual([['sts', 'validation-failure', 'injected']]);
    expect(failed(tls('untrusted', 'CERT_HAS_EXPIRED'))).toEqual([
      ['sts', 'certificate-expired', 'CERT_HAS_EXPIRED'],
    ]);
    expect(failed(tls('untrusted', 'TLSA_MISMATCH'), dane)).toEqual([
      ['tlsa', 'tlsa-invalid', 'TLSA_MISMATCH'],
    ]);
    expect(failed({ kind: 'timeout', phase: 'handshake' })).toEqual([
      ['sts', 'validation-failure', 'handshake-timeout'],
    ]);
  });

  test('what is not for TLS is not told', () => {
    expect(failed({ kind: 'connect', code: 'ECONNREFUSED' })).toEqual([]);
    expect(failed({ kind: 'timeout', phase: 'greeting' })).toEqual([]);
    expect(failed({ kind: 'quit' })).toEqual([]);
  });

  test('each domain whose mail it was for', () => {
    watch.failed(link(), tls('not-offered'), ['a.example', 'b.example', '~c.example']);
    expect(summary()).toEqual([
      ['a.example', 'sts', 'starttls-not-supported'],
      ['b.example', 'no-policy-found', 'starttls-not-supported'],
    ]);
  });
});

test('what keeps a policy from being applied at all', () => {
  watch.unnamed('a.example', 'mx.other.example', TESTING);
  watch.policyFault('b.example', 'sts-webpki-invalid', '');
  watch.tlsaFault('c.example', 'mx.c.example', 'unusable');
  watch.tlsaFault('c.example', 'mx.c.example', 'invalid');
  expect(told).toMatchObject([
    { domain: 'a.example', failure: { host: 'mx.other.example', address: '' } },
    { policy: { type: 'sts', strings: [] }, failure: { type: 'sts-webpki-invalid', host: '' } },
    { policy: { type: 'tlsa' }, failure: { type: 'tlsa-invalid', host: 'mx.c.example' } },
    { policy: { type: 'tlsa' }, failure: { type: 'dnssec-invalid', host: 'mx.c.example' } },
  ]);
});
