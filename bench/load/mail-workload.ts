/**
 * What every mail bench sends, and where it goes: 300 domains, of which eight in ten sit on five sets
 * of MX hosts and the others each on a set of its own. Everything follows from the seed.
 *
 * Invariants
 * - Every set has two hosts at one preference (one, where domains have hosts of their own), each with
 *   an address of its own in 127.<network>.0.0/16, which has room for 300 sets of two or 30,000 of one.
 * - Every message's content has the wanted size, to a line.
 */
import type { AuthorityRecord } from './authority.ts';
import type { Letter } from './injector.ts';
import { seededFraction } from './internet.ts';

export interface Workload {
  readonly domains: number;
  readonly messages: number;
  /** Octets of content. */
  readonly octets: number;
  /** Recipients of one message, each drawn on its own. */
  readonly recipients: number;
  /** Every domain has one MX host of its own: as many sites as domains. */
  readonly ownHosts: boolean;
  /** Of the messages, from {@link REVERSE_PATH_DOMAIN}, which has a DKIM key where one is in use; default 1. */
  readonly signedShare?: number;
}

export const REVERSE_PATH_DOMAIN = 'client.bench.example';
/** Of the other messages. */
const UNSIGNED_DOMAIN = 'other.bench.example';
const SHARED_SETS = 5;
const SHARED_OF_TEN = 8;
const TTL_SECONDS = 3600;
const SEED = 20_260_101;
const LINE = `${'The quick brown fox jumps over the lazy dog, as it has always done.'.padEnd(76)}\r\n`;

export const domainName = (index: number): string => `d${index}.bench.example`;

/** @returns 0 to 4 for a shared set, from 5 on for one of the domain's own */
const setOf = (domain: number): number =>
  domain % 10 < SHARED_OF_TEN ? domain % SHARED_SETS : SHARED_SETS + domain;

const hostName = (set: number, host: number): string => `mx${host + 1}.set${set}.bench.example`;

/** Hosts that one octet of an address tells apart. */
const HOSTS_PER_OCTET = 200;

/** Address of a host: the second octet is the run's own. */
export const hostAddress = (network: number, set: number, host: number): string => {
  const index = set * 2 + host;
  return `127.${network}.${Math.floor(index / HOSTS_PER_OCTET)}.${(index % HOSTS_PER_OCTET) + 1}`;
};

const ownAddress = (network: number, domain: number): string =>
  hostAddress(network, Math.floor(domain / 2), domain % 2);

const ZONE = 'bench.example';

/** One zone with all of it. */
export function workloadZones(
  domains: number,
  network: number,
  ownHosts: boolean,
): Map<string, readonly AuthorityRecord[]> {
  const records: AuthorityRecord[] = [];
  const addresses = new Map<string, string>();
  for (let domain = 0; domain < domains; domain += 1) {
    const set = ownHosts ? domain : setOf(domain);
    for (const host of ownHosts ? [0] : [0, 1]) {
      const exchange = hostName(set, host);
      const address = ownHosts ? ownAddress(network, domain) : hostAddress(network, set, host);
      addresses.set(exchange, address);
      const name = domainName(domain);
      records.push({ name, type: 'MX', ttlSeconds: TTL_SECONDS, preference: 10, exchange });
    }
  }
  for (const [name, address] of addresses) {
    records.push({ name, type: 'A', ttlSeconds: TTL_SECONDS, address });
  }
  return new Map([[ZONE, records]]);
}

/** Spreads a share evenly: of any so many in a row, so many of it. */
export const isOfShare = (number: number, share: number): boolean =>
  Math.floor((number + 1) * share) > Math.floor(number * share);

/** The messages, in an order that mixes the domains as real mail does. */
export function* workloadLetters(workload: Workload): Generator<Letter> {
  const { domains, messages, octets, recipients, signedShare = 1 } = workload;
  const fraction = seededFraction(SEED);
  const date = new Date().toUTCString().replace('GMT', '+0000');
  let body = Buffer.alloc(0);
  for (let number = 0; number < messages; number += 1) {
    const to = Array.from(
      { length: recipients },
      (_, index) => `user${number}.${index}@${domainName(Math.floor(fraction() * domains))}`,
    );
    const isSigned = isOfShare(number, signedShare);
    const from = `sender${number % 100}@${isSigned ? REVERSE_PATH_DOMAIN : UNSIGNED_DOMAIN}`;
    const header = Buffer.from(
      `From: <${from}>\r\nTo: <${to[0]}>\r\nSubject: Your order ${number}\r\nDate: ${date}\r\n` +
        `Message-ID: <${number}@${REVERSE_PATH_DOMAIN}>\r\nMIME-Version: 1.0\r\n` +
        'Content-Type: text/plain; charset=us-ascii\r\n\r\n',
    );
    if (body.length === 0) {
      body = Buffer.from(
        LINE.repeat(Math.max(1, Math.ceil((octets - header.length) / LINE.length))),
      );
    }
    yield { id: String(number), reversePath: from, recipients: to, content: [header, body] };
  }
}
