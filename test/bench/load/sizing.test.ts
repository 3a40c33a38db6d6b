/** Which resource ends first, and what a million messages cost. */
import { describe, expect, it } from 'vitest';
import {
  dnsPacketsPerSecond,
  type Machine,
  type MessageCost,
  offerOf,
  sourceIpsNeeded,
  sustained,
} from '../../../bench/load/sizing.ts';

const COST: MessageCost = {
  cpuSeconds: 0.0005,
  busiestThreadSeconds: 0.0002,
  writtenOctets: 20_000,
  octetsPerRate: 100_000,
  dnsPackets: 0.02,
};
const MACHINE: Machine = {
  processors: 2,
  busyShare: 0.7,
  speed: 1,
  fsyncsPerSecond: 500,
  messagesPerFsync: 20,
  writtenOctetsPerSecond: 200_000_000,
  memoryOctets: 4_000_000_000,
  residentOctets: 200_000_000,
  dnsPacketsPerSecond: 1_024,
  sourceIps: null,
  perIpPerHour: 100_000,
};

describe('what a machine sustains', () => {
  it('is what its scarcest resource carries', () => {
    const { perSecond, first, byResource } = sustained(COST, MACHINE);
    expect([first, Math.round(perSecond)]).toEqual(['CPU', 2_800]);
    expect(
      Object.fromEntries(
        Object.entries(byResource).map(([name, rate]) => [name, Math.round(rate)]),
      ),
    ).toEqual({
      CPU: 2_800,
      'one thread': 3_500,
      'disk fsync/s': 10_000,
      'disk octets/s': 10_000,
      memory: 38_000,
      'DNS packets/s': 51_200,
      'source IPs': Number.POSITIVE_INFINITY,
    });
  });

  it.each<[string, Partial<MessageCost>, Partial<Machine>, number]>([
    ['one thread', {}, { processors: 8 }, 3_500],
    ['disk fsync/s', {}, { fsyncsPerSecond: 10 }, 200],
    ['disk octets/s', { writtenOctets: 1_000_000 }, {}, 200],
    ['memory', {}, { memoryOctets: 210_000_000 }, 100],
    ['memory', {}, { memoryOctets: 100_000_000 }, 0],
    ['DNS packets/s', { dnsPackets: 6 }, {}, 171],
    ['source IPs', {}, { sourceIps: 1 }, 28],
  ])('%s first', (resource, cost, machine, rate) => {
    const { perSecond, first } = sustained({ ...COST, ...cost }, { ...MACHINE, ...machine });
    expect([first, Math.round(perSecond)]).toEqual([resource, rate]);
  });
});

it.each([
  [1, 1],
  [100_000, 1],
  [100_001, 2],
  [1_000_000, 10],
])('%i an hour need %i addresses', (perHour, addresses) => {
  expect(sourceIpsNeeded(perHour, 100_000)).toBe(addresses);
});

it('counts DNS packets at the target, not at what is sustained', () => {
  expect(dnsPacketsPerSecond(3_600_000, COST)).toBeCloseTo(20);
});

describe('an instance type', () => {
  const type = { name: 'x', processors: 4, memoryGiB: 8, pricePerHour: 0.2, speed: 1 };
  it('is bought as often as the target asks for, and paid for whole', () => {
    const offer = offerOf(type, COST, MACHINE, 20_000_000);
    expect(offer).toMatchObject({ name: 'x', first: 'one thread', instances: 2 });
    expect(Math.round(offer.perHour)).toBe(12_600_000);
    expect(offer.pricePerMillion).toBeCloseTo(0.02);
  });

  it('of half the speed carries half', () => {
    const offer = offerOf({ ...type, speed: 0.5 }, COST, MACHINE, 1);
    expect([Math.round(offer.perHour), offer.instances]).toEqual([6_300_000, 1]);
  });
});
