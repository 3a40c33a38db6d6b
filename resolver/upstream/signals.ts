/**
 * What this machine says of packets that it, or the cloud around it, did not let through. Counters
 * only grow; null where a machine has none. Parsers are pure; {@link systemSignals} does the reading.
 *
 * - AWS counts what exceeded the limits of an instance in the ENA driver's statistics, read with
 *   `ethtool -S`: link-local traffic (its resolver; 1024 packets/s per interface), connections
 *   tracked, packets in all.
 * - Linux counts tracked connections, and UDP datagrams that found the receive buffer full.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';

/** Counters of the ENA driver that we understand. */
export const ALLOWANCES = [
  'linklocal_allowance_exceeded',
  'conntrack_allowance_exceeded',
  'pps_allowance_exceeded',
] as const;
export type Allowance = (typeof ALLOWANCES)[number];

export interface Signals {
  /** Sums over all interfaces that count them. */
  readonly exceeded: Readonly<Partial<Record<Allowance, number>>>;
  /** 0 to 1. */
  readonly conntrackFill: number | null;
  readonly udpReceiveErrors: number | null;
}

const INTERFACES = '/sys/class/net';
const CONNTRACK_COUNT = '/proc/sys/net/netfilter/nf_conntrack_count';
const CONNTRACK_MAX = '/proc/sys/net/netfilter/nf_conntrack_max';
const SNMP = '/proc/net/snmp';
/** More interfaces than an instance can have; containers' ends have no such counters. */
const INTERFACES_MAX = 16;
const ETHTOOL_TIMEOUT_MS = 1_000;
const OUTPUT_OCTETS_MAX = 262_144;

/** @param text lines such as "     linklocal_allowance_exceeded: 12" */
export function parseEthtool(text: string): Partial<Record<Allowance, number>> {
  const found: Partial<Record<Allowance, number>> = {};
  for (const allowance of ALLOWANCES) {
    const digits = new RegExp(`^\\s*${allowance}: (\\d+)\\s*$`, 'm').exec(text)?.[1];
    if (digits !== undefined) found[allowance] = Number(digits);
  }
  return found;
}

/** @returns 0 to 1, or null when either text is no number */
export function parseConntrackFill(count: string, max: string): number | null {
  const [entries, entriesMax] = [Number.parseInt(count, 10), Number.parseInt(max, 10)];
  return entries >= 0 && entriesMax > 0 ? Math.min(1, entries / entriesMax) : null;
}

/** RcvbufErrors of the two lines "Udp: …" in /proc/net/snmp: names, then numbers. */
export function parseUdpReceiveErrors(text: string): number | null {
  const [names, numbers] = text
    .split('\n')
    .filter((line) => line.startsWith('Udp: '))
    .map((line) => line.split(' '));
  const column = names?.indexOf('RcvbufErrors') ?? -1;
  const value = column === -1 ? undefined : numbers?.[column];
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : null;
}

/** Reads them anew at each call; never rejects. */
export function systemSignals(): () => Promise<Signals> {
  // Interfaces that once had nothing to say are not asked again: each question is a process.
  let interfaces: readonly string[] | null = null;
  return async () => {
    interfaces ??= (await quietly(readdir(INTERFACES), [])).slice(0, INTERFACES_MAX);
    const statistics = await Promise.all(interfaces.map(ethtool));
    interfaces = interfaces.filter((_, index) => hasAny(statistics[index]!));
    const [count, max, snmp] = await Promise.all([
      quietly(readFile(CONNTRACK_COUNT, 'latin1'), ''),
      quietly(readFile(CONNTRACK_MAX, 'latin1'), ''),
      quietly(readFile(SNMP, 'latin1'), ''),
    ]);
    return {
      exceeded: sumOf(statistics),
      conntrackFill: parseConntrackFill(count, max),
      udpReceiveErrors: parseUdpReceiveErrors(snmp),
    };
  };
}

type Statistics = Partial<Record<Allowance, number>>;

const hasAny = (statistics: Statistics): boolean => Object.keys(statistics).length > 0;

function sumOf(all: readonly Statistics[]): Statistics {
  const sums: Statistics = {};
  for (const statistics of all) {
    for (const allowance of ALLOWANCES) {
      const value = statistics[allowance];
      if (value !== undefined) sums[allowance] = (sums[allowance] ?? 0) + value;
    }
  }
  return sums;
}

/** @returns nothing when there is no ethtool, or the driver keeps no such counters */
function ethtool(name: string): Promise<Statistics> {
  return new Promise((resolve) => {
    const options = { timeout: ETHTOOL_TIMEOUT_MS, maxBuffer: OUTPUT_OCTETS_MAX };
    execFile('ethtool', ['-S', name], options, (error, stdout) => {
      resolve(error === null ? parseEthtool(stdout) : {});
    });
  });
}

const quietly = <Value>(reading: Promise<Value>, otherwise: Value): Promise<Value> =>
  reading.catch(() => otherwise);
