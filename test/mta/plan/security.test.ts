import { describe, expect, test } from 'vitest';
import { type Demand, requirementsOf, type SecurityParts } from '../../../mta/plan/security.ts';
import type { StsPolicy } from '../../../mta/plan/sts-policy.ts';

const POLICY: StsPolicy = { mode: 'enforce', mx: ['*.good.example'], maxAgeSeconds: 60 };
const NO_PARTS: SecurityParts = {
  findPolicy: null,
  findTlsa: null,
  findHost: () => ({ kind: 'addresses', addresses: ['192.0.2.1'], authenticated: true }),
};
const RANKS = [['a.good.example', 'b.bad.example'], ['c.bad.example']];
const demand = (fields: Partial<Demand> = {}): Demand => ({
  domain: 'example.com',
  ranks: RANKS,
  authenticated: true,
  tls: 'opportunistic',
  ...fields,
});
const withPolicy = (policy: StsPolicy | null): SecurityParts => ({
  ...NO_PARTS,
  findPolicy: async () => policy,
});
/** TLSA of the host c alone. */
const pinned = (parts: SecurityParts): SecurityParts => ({
  ...parts,
  findTlsa: (host) => (host.startsWith('c.') ? { kind: 'tlsa', usable: [] } : { kind: 'none' }),
});
const plain = { kind: 'requirements', ranks: RANKS, tls: 'opportunistic', dane: false };

describe('what is asked of connections', () => {
  test.each<{ what: string; demand: Demand; parts: SecurityParts; want: object }>([
    { what: 'nothing', demand: demand(), parts: NO_PARTS, want: plain },
    { what: 'no policy', demand: demand(), parts: withPolicy(null), want: plain },
    {
      what: 'testing changes nothing',
      demand: demand(),
      parts: withPolicy({ ...POLICY, mode: 'testing' }),
      want: plain,
    },
    {
      what: 'enforce keeps named hosts, which prove their names',
      demand: demand(),
      parts: withPolicy(POLICY),
      want: { ...plain, ranks: [['a.good.example']], tls: 'verify' },
    },
    {
      what: 'TLSA of any host makes it DANE',
      demand: demand(),
      parts: pinned(NO_PARTS),
      want: { ...plain, dane: true },
    },
    {
      what: 'without AD on the MX there is no DANE',
      demand: demand({ authenticated: false }),
      parts: pinned(NO_PARTS),
      want: plain,
    },
    {
      what: 'DANE keeps a host that MTA-STS does not name',
      demand: demand(),
      parts: pinned(withPolicy(POLICY)),
      want: { ...plain, ranks: [['a.good.example'], ['c.bad.example']], tls: 'verify', dane: true },
    },
    {
      what: 'the operator says none',
      demand: demand({ tls: 'none' }),
      parts: pinned(withPolicy(POLICY)),
      want: { ...plain, tls: 'none' },
    },
  ])('$what', async ({ demand: asked, parts, want }) => {
    expect(await requirementsOf(asked, parts)).toEqual(want);
  });

  test('a policy that names no host makes mail wait, and why names both', async () => {
    const asked = demand({ ranks: [['b.bad.example']] });
    expect(await requirementsOf(asked, withPolicy(POLICY))).toEqual({
      kind: 'trouble',
      reachable: true,
      text: 'the MTA-STS policy of example.com (RFC 8461) names none of its MX hosts, such as b.bad.example; it names *.good.example',
    });
  });
});

test('what is wrong with policies is told, by host', async () => {
  const told: string[] = [];
  const parts: SecurityParts = {
    ...withPolicy(POLICY),
    findTlsa(host) {
      if (host.startsWith('a.')) return { kind: 'tlsa', usable: [] };
      if (host.startsWith('b.')) return { kind: 'trouble', reachable: true, text: 'bogus' };
      return { kind: 'none' };
    },
    onUnnamed: (domain, host) => told.push(`${domain}: ${host} is not named`),
    onTlsaFault: (domain, host, fault) => told.push(`${domain}: ${host} ${fault}`),
  };
  await requirementsOf(demand(), parts);
  expect(told.sort()).toEqual([
    'example.com: a.good.example unusable',
    'example.com: b.bad.example invalid',
    'example.com: c.bad.example is not named',
  ]);
  // A resolver that is gone says nothing.
  told.length = 0;
  const gone: SecurityParts = {
    ...parts,
    findTlsa: () => ({ kind: 'trouble', reachable: false, text: 'gone' }),
  };
  await requirementsOf(demand(), gone);
  expect(told).toEqual([]);
});
