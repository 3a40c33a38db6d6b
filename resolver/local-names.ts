/**
 * Names that are answered here and never asked for upstream: records of our own, what is blocked, and
 * the special-use names. What is more particular wins: a record of our own, then the longest of the
 * zones that are blocked, special, or forwarded.
 *
 * Invariant: whoever is owned here is in no cache, so nothing upstream says of it is ever served.
 */
import { readFileSync } from 'node:fs';
import type { ResolverConfig } from './config.ts';
import { type LocalRecord, parseHosts } from './local-data.ts';
import { answerFromZone, deny, specialZones, writeLocal, type Zone } from './special-names.ts';
import { EXTENDED_ERROR, HEADER_OCTETS } from './wire/constants.ts';
import type { QueryView } from './wire/message.ts';
import { nameKey } from './wire/names.ts';
import type { ExtendedError } from './wire/write.ts';

const BLOCKED: ExtendedError = { code: EXTENDED_ERROR.BLOCKED, text: 'resolver.block' };

type Settings = Pick<
  ResolverConfig,
  'local' | 'local_ttl' | 'hosts' | 'block' | 'private_reverse' | 'forward'
>;

/** What a suffix means; 'forwarded' ends the search. */
type Ruling = Zone | 'blocked' | 'forwarded';

export class LocalNames {
  /** By key of the name. */
  readonly #records: ReadonlyMap<string, readonly LocalRecord[]>;
  /** By key of the apex. */
  readonly #rulings = new Map<string, Ruling>();
  readonly #ttlSeconds: number;

  /** @throws when the hosts file cannot be read */
  constructor(settings: Settings) {
    const hosts = settings.hosts === '' ? [] : parseHosts(readFileSync(settings.hosts, 'utf8'));
    this.#records = Map.groupBy([...settings.local, ...hosts], ({ name }) => keyOf(name));
    this.#ttlSeconds = Math.floor(settings.local_ttl / 1000);
    for (const [apex, zone] of specialZones(settings.private_reverse === 'local')) {
      this.#rulings.set(apex, zone);
    }
    for (const { zone } of settings.forward) this.#rulings.set(keyOf(zone.name), 'forwarded');
    for (const { name } of settings.block) this.#rulings.set(keyOf(name), 'blocked');
  }

  /** Whether the name is answered here. @param key as {@link nameKey} gives it */
  owns(key: string): boolean {
    return this.#records.has(key) || this.#rulingOf(key) !== null;
  }

  /**
   * @param query a class IN query, parsed into `view`
   * @returns the response, or null when the name is an ordinary one
   */
  answer(query: Uint8Array, view: QueryView): Uint8Array | null {
    const key = nameKey(query, HEADER_OCTETS);
    if (typeof key === 'number') return null;
    const records = this.#records.get(key);
    if (records !== undefined) return this.#answerRecords(records, query, view);
    const ruling = this.#rulingOf(key);
    if (ruling === null) return null;
    if (ruling === 'blocked') {
      return deny(query.subarray(HEADER_OCTETS, view.nameEnd), true, query, view, BLOCKED);
    }
    return answerFromZone(ruling, key, query, view);
  }

  #answerRecords(records: readonly LocalRecord[], query: Uint8Array, view: QueryView): Uint8Array {
    const name = query.subarray(HEADER_OCTETS, view.nameEnd);
    const ttlSeconds = this.#ttlSeconds;
    const answers = records
      .filter(({ type }) => type === view.qtype)
      .map(({ type, rdata }) => ({ name, type, rdata, ttlSeconds }));
    return answers.length > 0
      ? writeLocal(query, view, { answers })
      : deny(name, false, query, view);
  }

  /** That of the longest suffix; null when it is to be asked for upstream. */
  #rulingOf(key: string): Exclude<Ruling, 'forwarded'> | null {
    for (let at = 0; at < key.length; at += 1 + key.charCodeAt(at)) {
      const ruling = this.#rulings.get(at === 0 ? key : key.slice(at));
      if (ruling !== undefined) return ruling === 'forwarded' ? null : ruling;
    }
    return null;
  }
}

function keyOf(name: Uint8Array): string {
  const key = nameKey(name, 0);
  if (typeof key === 'number') throw new TypeError('not a domain name');
  return key;
}
