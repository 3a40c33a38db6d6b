/**
 * NXDOMAIN: there really is nothing underneath (RFC 8020). Which names are denied, so that what is asked
 * about them, or below them, is answered from the denial that the cache keeps.
 *
 * Without validation this believes one unsigned response about many names, so it is opt-in. What it
 * must not do: apply a denial of the end of a chain of CNAMEs to the chain's beginning, which exists
 * (§2); answer who wants DNSSEC records, or no checking, from a denial without; reach from one zone with
 * upstreams of its own into another, which may know more.
 *
 * Invariants: at most NAMES_MAX names, the one noted or used longest ago forgotten first; what is
 * answered was fresh in the cache at that moment, and lives no longer. A name that is seen to exist ends
 * the denials of it and of all above it.
 */
import { CLASS, FLAG, MESSAGE_OCTETS_MAX, RCODE, TYPE } from '../wire/constants.ts';
import { answerCountOf, flagsOf, hasFlag, RecordCursor, readTtlSeconds } from '../wire/message.ts';
import { copyName, keyToName, skipName } from '../wire/names.ts';
import { type RecordToWrite, writeResponse } from '../wire/write.ts';
import { type CacheEntry, isFresh } from './entry.ts';
import { formatKey, type KeyParts, parseKey } from './key.ts';

/** Some 10 MiB when every name is as long as real ones are. */
export const NAMES_MAX = 65_536;
/** A signed denial has an SOA, three NSEC3 and their signatures; more is not looked at. */
const RECORDS_MAX = 16;
/** What proves a denial; anything else in it may go. */
const PROOF_TYPES: ReadonlySet<number> = new Set([TYPE.SOA, TYPE.NSEC, TYPE.NSEC3, TYPE.RRSIG]);
/** SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM. */
const SOA_FIXED_OCTETS = 20;
const ROOT_OCTETS = 1;
const NOT_DENIED = -1;

/** @returns what is kept under the key */
type Peek = (key: string) => CacheEntry | undefined;

export class NxdomainCuts {
  /** Questions answered so. */
  usedTotal = 0;
  /** By key of the name: for each combination of DO and CD, the type asked for when it was denied. */
  readonly #denied = new Map<string, number[]>();

  get names(): number {
    return this.#denied.size;
  }

  /** Learns from what enters the cache: what is not there, and what is. */
  note(key: string, entry: CacheEntry): void {
    const parts = parseKey(key);
    if (parts.class !== CLASS.IN || entry.kind === 'failure') return;
    if (entry.kind !== 'nxdomain') {
      if (this.#denied.size > 0) this.#exists(parts.name);
      return;
    }
    // The root and the name before the first CNAME exist.
    if (parts.name.length === ROOT_OCTETS || answerCountOf(entry.wire) > 0) return;
    const types = this.#denied.get(parts.name) ?? [NOT_DENIED, NOT_DENIED, NOT_DENIED, NOT_DENIED];
    types[flagsIndex(parts)] = parts.type;
    this.#touch(parts.name, types);
  }

  /**
   * The denial of the question, made from that of its name or of one above it.
   *
   * @param apexOctets of the name of the zone with upstreams of its own; names above it say nothing
   * @returns an entry as the cache would keep it, but of no key; null when nothing is denied
   */
  find(key: string, apexOctets: number, nowMs: number, peek: Peek): CacheEntry | null {
    const parts = parseKey(key);
    const { name } = parts;
    const lastAt = name.length - Math.max(apexOctets, ROOT_OCTETS + 1);
    for (let at = 0; at <= lastAt; at += 1 + name.charCodeAt(at)) {
      const denied = at === 0 ? name : name.slice(at);
      const types = this.#denied.get(denied);
      const type = types?.[flagsIndex(parts)] ?? NOT_DENIED;
      if (types === undefined || type === NOT_DENIED) continue;
      const entry = peek(formatKey({ ...parts, name: denied, type }));
      if (entry === undefined || entry.kind !== 'nxdomain' || !isFresh(entry, nowMs)) {
        this.#forget(denied, types, flagsIndex(parts));
        continue;
      }
      this.#touch(denied, types);
      const denial = denialOf(parts, entry);
      if (denial !== null) return denial;
    }
    return null;
  }

  #touch(name: string, types: number[]): void {
    this.#denied.delete(name);
    this.#denied.set(name, types);
    if (this.#denied.size <= NAMES_MAX) return;
    for (const oldest of this.#denied.keys()) {
      this.#denied.delete(oldest);
      return;
    }
  }

  #forget(name: string, types: number[], index: number): void {
    types[index] = NOT_DENIED;
    if (types.every((type) => type === NOT_DENIED)) this.#denied.delete(name);
  }

  #exists(name: string): void {
    for (let at = 0; at < name.length; at += 1 + name.charCodeAt(at)) {
      this.#denied.delete(at === 0 ? name : name.slice(at));
    }
  }
}

const flagsIndex = ({ dnssecOk, cd }: KeyParts): number => (dnssecOk ? 1 : 0) | (cd ? 2 : 0);

const cursor = new RecordCursor();

/**
 * The same denial, of another question: what shows that a name does not exist shows it of all below it
 * (RFC 8020 §2), NSEC and NSEC3 included.
 */
function denialOf({ name, type }: KeyParts, of: CacheEntry): CacheEntry | null {
  const authorities = proofOf(of.wire);
  if (authorities === null) return null;
  const wire = writeResponse({
    id: 0,
    flags: flagsOf(of.wire) & (FLAG.RA | FLAG.AD),
    rcode: RCODE.NXDOMAIN,
    question: { name: keyToName(name), type },
    authorities,
  });
  if (wire.length > MESSAGE_OCTETS_MAX) return null;
  const ttlOffsets: number[] = [];
  for (let state = cursor.begin(wire); state > 0; state = cursor.next()) {
    ttlOffsets.push(cursor.ttlOffset);
  }
  return { ...of, wire, ttlOffsets };
}

/** @returns the records of the authority section that matter, uncompressed; null when it is odd */
function proofOf(wire: Uint8Array): RecordToWrite[] | null {
  if (hasFlag(wire, FLAG.TC)) return null;
  const records: RecordToWrite[] = [];
  for (let state = cursor.begin(wire); state > 0; state = cursor.next()) {
    const { section, type, ownerOffset, ttlOffset, rdataOffset, rdataLength } = cursor;
    if (section !== 'authority' || !PROOF_TYPES.has(type)) continue;
    const name = copyName(wire, ownerOffset);
    const rdata =
      type === TYPE.SOA
        ? soaRdata(wire, rdataOffset, rdataLength)
        : wire.slice(rdataOffset, rdataOffset + rdataLength);
    if (typeof name === 'number' || rdata === null || records.length === RECORDS_MAX) return null;
    const ttlSeconds = readTtlSeconds(wire, ttlOffset);
    records.push({ name, type, class: cursor.class, ttlSeconds, rdata });
  }
  return records;
}

/** MNAME and RNAME may be compressed (RFC 3597 §4): pointers mean nothing in another message. */
function soaRdata(wire: Uint8Array, offset: number, length: number): Uint8Array | null {
  const mname = copyName(wire, offset);
  if (typeof mname === 'number') return null;
  const rname = copyName(wire, skipName(wire, offset));
  const end = offset + length;
  if (typeof rname === 'number' || length < SOA_FIXED_OCTETS) return null;
  return Uint8Array.from([...mname, ...rname, ...wire.subarray(end - SOA_FIXED_OCTETS, end)]);
}
