import { expect, test } from 'vitest';
import { createInternet, seededFraction } from '../../../bench/load/internet.ts';

const internet = createInternet({
  domains: 1000,
  providers: 20,
  network: 99,
  last: 'newsletter.example',
});

test('1,000 domains, each on one of 20 providers with an address of its own', () => {
  expect(new Set(internet.domains).size).toBe(1000);
  expect(internet.domains.at(-1)).toBe('newsletter.example');
  expect(internet.providers.flatMap(({ domains }) => domains)).toHaveLength(1000);
  expect(new Set(internet.providers.map(({ address }) => address)).size).toBe(20);
  for (const domain of internet.domains) {
    expect(internet.providerOf.get(domain)!.domains).toContain(domain);
  }
});

test('every domain has its MX RRset, every MX host its address', () => {
  for (const domain of internet.domains) {
    const provider = internet.providerOf.get(domain)!;
    const hosts = internet.zones
      .get(domain)!
      .map((record) => record.type === 'MX' && record.exchange);
    expect(hosts).toEqual(provider.hosts.map(({ name }) => name));
    for (const { name } of provider.hosts) {
      expect(internet.zones.get(name)![0]).toMatchObject({ type: 'A', address: provider.address });
    }
  }
});

test('the mix is gmail.com 67 %, hotmail.com 9 %, yahoo.com 6 %, then a tail', () => {
  const fraction = seededFraction(7);
  const counts = new Map<string, number>();
  for (let draw = 0; draw < 100_000; draw += 1) {
    const domain = internet.pick(fraction());
    counts.set(domain, (counts.get(domain) ?? 0) + 1);
  }
  const share = (domain: string): number => (counts.get(domain) ?? 0) / 1000;
  expect(share('gmail.com')).toBeCloseTo(67, 0);
  expect(share('hotmail.com')).toBeCloseTo(9, 0);
  expect(share('yahoo.com')).toBeCloseTo(6, 0);
  expect(share('tail-0001.example')).toBeGreaterThan(share('tail-0100.example'));
  expect(counts.size).toBeGreaterThan(900);
});

test('the ends of the range are the first and the last domain', () => {
  expect(internet.pick(0)).toBe('gmail.com');
  expect(internet.pick(1)).toBe('newsletter.example');
});
