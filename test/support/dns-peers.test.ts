/** The fixtures themselves: an authority behind a resolver, asked by dig. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dig } from './dig.ts';
import { type Nsd, startNsd } from './nsd.ts';
import { requirePeer } from './peers.ts';
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
