/** The fixtures themselves: an authority behind a resolver, asked by dig. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { dig } from './dig.ts';
import { type Nsd, startNsd } from './nsd.ts';
import { requirePeer } from './peers.ts';
import { SIGNED_ORIGIN, SIGNED_TRUST_ANCHOR, signedZone } from './signed-zone.ts';
import { startUnbound, type Unbound } from './unbound.ts';

requirePeer(
  'nsd',
  'unbound',
  'dig',
  'root',
)('nsd behind unbound', () => {
  let nsd: Nsd;
  let unbound: Unbound;
  beforeAll(async () => {
    nsd = await startNsd([
      { origin: 'alpha.example', records: ['@ 120 IN MX 10 mx', 'mx 60 IN A 192.0.2.1'] },
      { origin: 'beta.example', records: ['odd 60 IN TYPE65534 \\# 3 010203'] },
    ]);
    unbound = await startUnbound({ zones: ['alpha.example', 'beta.example'], authority: nsd });
  });
  afterAll(async () => {
    await unbound?.stop();
    await nsd?.stop();
  });

  test('answers from both zones', async () => {
    const mx = await dig(unbound, 'alpha.example', 'MX');
    expect(mx.status).toBe('NOERROR');
    expect(mx.answer).toEqual([
      { name: 'alpha.example.', ttlSeconds: 120, type: 'MX', data: '10 mx.alpha.example.' },
    ]);
    const odd = await dig(unbound, 'odd.beta.example', 'TYPE65534');
    expect(odd.answer.map(({ type, data }) => [type, data])).toEqual([
      ['TYPE65534', '\\# 3 010203'],
    ]);
    expect(odd.transport).toBe('UDP');
  });

  test('says what is not there', async () => {
    const missing = await dig(unbound, 'missing.alpha.example', 'A');
    expect(missing.status).toBe('NXDOMAIN');
    expect(missing.authority.map(({ type }) => type)).toEqual(['SOA']);
  });

  test('counts what it was asked', async () => {
    const before = { nsd: await nsd.queries(), unbound: await unbound.queries() };
    await dig(unbound, 'mx.alpha.example', 'A');
    await dig(unbound, 'mx.alpha.example', 'A');
    expect(await unbound.queries()).toBe(before.unbound + 2);
    expect(await nsd.queries()).toBe(before.nsd + 1);
  });
});

requirePeer(
  'nsd',
  'unbound',
  'dig',
  'root',
)('nsd behind validating unbound', () => {
  test('vouches for what is signed and refuses what is bogus', async () => {
    const nsd = await startNsd([signedZone]);
    onTestFinished(() => nsd.stop());
    const unbound = await startUnbound({
      zones: [SIGNED_ORIGIN],
      authority: nsd,
      trustAnchor: SIGNED_TRUST_ANCHOR,
    });
    onTestFinished(() => unbound.stop());
    const good = await dig(unbound, 'mx.signed.example', 'A', '+dnssec');
    expect(good.flags).toContain('ad');
    expect(good.answer.map(({ type }) => type)).toEqual(['A', 'RRSIG']);
    expect((await dig(unbound, 'bogus.signed.example', 'A')).status).toBe('SERVFAIL');
    const unchecked = await dig(unbound, 'bogus.signed.example', 'A', '+cd');
    expect([unchecked.status, unchecked.answer[0]?.data]).toEqual(['NOERROR', '192.0.2.66']);
  });
});
