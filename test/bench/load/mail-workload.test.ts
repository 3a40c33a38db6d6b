/** The workload of the mail benches: what DNS says of it, and that everyone gets the same mail. */
import { expect, test } from 'vitest';
import {
  domainName,
  REVERSE_PATH_DOMAIN,
  workloadLetters,
  workloadZones,
} from '../../../bench/load/mail-workload.ts';

const records = (domains: number, ownHosts: boolean) =>
  [...workloadZones(domains, 9, ownHosts).values()].flat();

test('eight of ten domains share five sets of two hosts', () => {
  const exchanges = records(300, false).flatMap((one) => (one.type === 'MX' ? [one.exchange] : []));
  const shared = exchanges.filter((name) => /^mx\d\.set[0-4]\./.test(name));
  expect(exchanges).toHaveLength(600);
  expect(shared).toHaveLength(480);
  expect(new Set(shared).size).toBe(10);
  expect(new Set(exchanges).size).toBe(10 + 60 * 2);
});

test.each([
  [300, false],
  [30_000, true],
])('%i domains have hosts with addresses of their own', (domains, ownHosts) => {
  const addresses = records(domains, ownHosts).flatMap((one) =>
    one.type === 'A' ? [one.address] : [],
  );
  expect(new Set(addresses).size).toBe(addresses.length);
  const octets = addresses.map((address) => address.split('.').map(Number));
  expect(octets.every(([first, second]) => first === 127 && second === 9)).toBe(true);
  expect(octets.flat().every((octet) => octet >= 0 && octet <= 255)).toBe(true);
});

test('letters are the same each time, of the size asked for, to the number of recipients asked for', () => {
  const workload = { domains: 300, messages: 50, octets: 10_240, recipients: 5, ownHosts: false };
  const [one, other] = [[...workloadLetters(workload)], [...workloadLetters(workload)]];
  expect(one.map(({ recipients }) => recipients)).toEqual(
    other.map(({ recipients }) => recipients),
  );
  expect(one).toHaveLength(50);
  for (const { recipients, content } of one) {
    expect(recipients).toHaveLength(5);
    const octets = content.reduce((sum, part) => sum + part.length, 0);
    expect(Math.abs(octets - 10_240)).toBeLessThan(100);
  }
  expect(domainName(299)).toBe('d299.bench.example');
});

test.each([
  [0, 0],
  [0.25, 25],
  [1, 100],
])('of 100 letters in a row a share of %d is %i', (share, count) => {
  const letters = [
    ...workloadLetters({
      domains: 3,
      messages: 100,
      octets: 100,
      recipients: 1,
      ownHosts: false,
      signedShare: share,
    }),
  ];
  const signed = letters.filter(({ reversePath }) => reversePath.endsWith(REVERSE_PATH_DOMAIN));
  expect(signed).toHaveLength(count);
});
