/** Cached responses and questions under way, in the words of people: for the admin API and the CLI. */

import { exchangeMembers } from './bundle/members.ts';
import type { CacheEntry } from './cache/entry.ts';
import { formatKey, parseKey } from './cache/key.ts';
import type { LedgerLine } from './ledger.ts';
import type { CachedResponse, Explanation, FailureMemory, UpstreamState } from './running.ts';
import type { Service } from './service.ts';
import type { Upstream } from './upstream/upstream.ts';
import { CLASS, TYPE, typeName } from './wire/constants.ts';
import { RecordCursor } from './wire/message.ts';
import { keyToName, nameKey, nameToText, textToName } from './wire/names.ts';
import { recordToText } from './wire/presentation.ts';

/** What mail asks of a domain. */
const TYPES = [TYPE.MX, TYPE.A, TYPE.AAAA, TYPE.TXT, TYPE.TLSA, TYPE.CNAME, TYPE.PTR];
/** Names below a domain that mail asks for, with their type. */
const RELATED = [
  ['_25._tcp.', TYPE.TLSA],
  ['_mta-sts.', TYPE.TXT],
  ['_smtp._tls.', TYPE.TXT],
  ['_dmarc.', TYPE.TXT],
] as const;
const RECORDS_SHOWN_MAX = 20;
const BOOLEANS = [false, true];

const cursor = new RecordCursor();

export interface ExplainSources {
  readonly service: Service;
  readonly upstreams: readonly Upstream[];
  /** Monotonic. */
  readonly nowMs: number;
}

export function explainDomain(domain: string, sources: ExplainSources): Explanation {
  const { service, nowMs, upstreams } = sources;
  const keys = [...keysOf(domain), ...bundleKeys(domain, service)];
  return {
    domain,
    cached: keys.flatMap((key) => {
      const entry = service.cacheOf(key).peek(key, 'answer');
      return entry === undefined ? [] : [describeEntry(key, entry, nowMs)];
    }),
    failures: keys.flatMap((key) => {
      const entry = service.cacheOf(key).peek(key, 'failure');
      return entry === undefined ? [] : [describeFailure(key, entry, nowMs)];
    }),
    inFlight: describeFlights(new Set(keys), sources),
    ledger: ledgerLine(domain, service),
    upstreams: upstreams.map(describeUpstream),
  };
}

/** @returns the key of the domain, or null when the text is none */
export function domainKey(domain: string): string | null {
  const name = textToName(domain);
  if (typeof name === 'number') return null;
  const key = nameKey(name, 0);
  return typeof key === 'number' ? null : key;
}

function keysOf(domain: string): string[] {
  const questions: [name: string, type: number][] = [
    ...TYPES.map((type): [string, number] => [domain, type]),
    ...RELATED.map(([prefix, type]): [string, number] => [`${prefix}${domain}`, type]),
  ];
  return questions.flatMap(([text, type]) => {
    const name = domainKey(text);
    if (name === null) return [];
    return BOOLEANS.flatMap((dnssecOk) =>
      BOOLEANS.map((cd) => formatKey({ name, type, class: CLASS.IN, dnssecOk, cd })),
    );
  });
}

/** What the exchanges of a cached MX need besides: their addresses and TLSA. */
function bundleKeys(domain: string, service: Service): string[] {
  const name = domainKey(domain);
  if (name === null) return [];
  const keys = new Set<string>();
  for (const dnssecOk of BOOLEANS) {
    for (const cd of BOOLEANS) {
      const mx = { name, type: TYPE.MX, class: CLASS.IN, dnssecOk, cd };
      const key = formatKey(mx);
      const entry = service.cacheOf(key).peek(key, 'answer');
      if (entry?.kind !== 'answer') continue;
      for (const member of exchangeMembers(mx, entry.wire)) keys.add(member.key);
    }
  }
  return [...keys];
}

function ledgerLine(domain: string, { attendants }: Service): LedgerLine | null {
  const name = domainKey(domain);
  return name === null ? null : attendants.ledger.line(name);
}

/** Whole seconds; negative TTLs tell how long ago it expired. */
export function describeEntry(key: string, entry: CacheEntry, nowMs: number): CachedResponse {
  const { name, type, dnssecOk, cd } = parseKey(key);
  return {
    name: keyToText(name),
    type: typeName(type),
    kind: entry.kind,
    dnssecOk,
    checkingDisabled: cd,
    ageSeconds: Math.floor((nowMs - entry.storedAtMs) / 1000),
    ttlSeconds: Math.floor((entry.expiresAtMs - nowMs) / 1000),
    octets: entry.wire.length,
    upstream: entry.upstream,
    records: answerRecords(entry.wire),
  };
}

function describeFailure(key: string, entry: CacheEntry, nowMs: number): FailureMemory {
  const { name, type } = parseKey(key);
  return {
    name: keyToText(name),
    type: typeName(type),
    reason: entry.extendedError?.text ?? 'unknown',
    ageSeconds: Math.floor((nowMs - entry.storedAtMs) / 1000),
    ttlSeconds: Math.floor((entry.expiresAtMs - nowMs) / 1000),
  };
}

function describeFlights(
  keys: ReadonlySet<string>,
  { service, nowMs }: ExplainSources,
): Explanation['inFlight'] {
  return [...keys].flatMap((key) => {
    const flight = service.inFlight.get(key);
    if (flight === undefined) return [];
    const { name, type } = parseKey(key);
    return [
      {
        name: keyToText(name),
        type: typeName(type),
        ageMs: Math.round(nowMs - flight.startedAtMs),
        clients: flight.waiters.length,
        state: flight.forwarding.describe(),
      },
    ];
  });
}

export const describeUpstream = (upstream: Upstream): UpstreamState => ({
  address: upstream.name,
  up: upstream.up,
  rttMs: upstream.rttMs,
  failuresInSuccession: upstream.failuresInSuccession,
  lastFailure: upstream.lastFailure,
});

function keyToText(key: string): string {
  const text = nameToText(keyToName(key), 0);
  return typeof text === 'number' ? '?' : text;
}

function answerRecords(wire: Uint8Array): string[] {
  const records: string[] = [];
  for (let state = cursor.begin(wire); state > 0; state = cursor.next()) {
    if (cursor.section !== 'answer' || records.length === RECORDS_SHOWN_MAX) break;
    records.push(recordToText(cursor));
  }
  return records;
}
