/**
 * Undoing an upstream's clamp of TTLs. Cloud resolvers cut every TTL to some minutes (AWS: 300 s), so
 * that an MX that its domain keeps for a day is asked a hundred times more often than it need be.
 *
 * A clamp shows in what an upstream never does: of SAMPLES_MIN answers of a type none lives longer than
 * one value, and AT_CAP_MIN live exactly so long; a single longer TTL ends it. Then an MX or NS set that
 * came back unchanged is kept twice as long as the last time, up to the configured ceiling; one that
 * changed starts again at what the upstream says. No name is kept longer than it was seen stable.
 */
import type { CacheEntry } from '../cache/entry.ts';
import { parseKey } from '../cache/key.ts';
import { TYPE, typeName } from '../wire/constants.ts';
import { copyOctets, RecordCursor, writeUint32 } from '../wire/message.ts';
import { nameKey } from '../wire/names.ts';

const SAMPLES_MIN = 200;
const AT_CAP_MIN = 10;
/** Nobody clamps to more; domains themselves do. */
const CAP_SECONDS_MAX = 3_600;
const PREFERENCE_OCTETS = 2;

interface Clamp {
  samples: number;
  maxSeconds: number;
  /** Answers that lived exactly `maxSeconds`. */
  atMax: number;
}

const cursor = new RecordCursor();

export class TtlUncap {
  /** 0 is off. */
  ceilingMs: number;
  /** By upstream and type; both come from the configuration and from our two types. */
  readonly #clamps = new Map<string, Clamp>();
  /** Answers kept longer than the upstream said. */
  extendedTotal = 0;
  /** Exchanges that a name in use would have needed in that time. */
  packetsAvoidedTotal = 0;

  constructor(ceilingMs: number) {
    this.ceilingMs = ceilingMs;
  }

  /** Clamps found: "192.0.2.53:53", "MX", seconds. */
  caps(): readonly (readonly [upstream: string, type: string, seconds: number])[] {
    return [...this.#clamps].flatMap(([id, clamp]) => {
      const [upstream, type] = id.split(' ') as [string, string];
      return isClamp(clamp) ? [[upstream, type, clamp.maxSeconds] as const] : [];
    });
  }

  /**
   * @param entry just admitted
   * @param previous what the key had before
   * @returns the entry, or one in its place that lives longer
   */
  uncapped(
    key: string,
    entry: CacheEntry,
    previous: CacheEntry | undefined,
    nowMs: number,
  ): CacheEntry {
    if (this.ceilingMs === 0 || entry.kind !== 'answer' || entry.upstream === null) return entry;
    const { type } = parseKey(key);
    if (type !== TYPE.MX && type !== TYPE.NS) return entry;
    const seconds = (entry.expiresAtMs - entry.storedAtMs) / 1000;
    const clamp = this.#observe(`${entry.upstream} ${typeName(type)}`, seconds);
    if (!isClamp(clamp) || previous === undefined || previous.kind !== 'answer') return entry;
    if (recordsOf(previous.wire) !== recordsOf(entry.wire)) return entry;
    const capMs = clamp.maxSeconds * 1000;
    const previousMs = previous.expiresAtMs - previous.storedAtMs;
    if (nowMs - previous.expiresAtMs < capMs) {
      this.packetsAvoidedTotal += Math.max(0, Math.floor(previousMs / capMs) - 1);
    }
    const livesMs = Math.min(this.ceilingMs, Math.max(previousMs * 2, capMs));
    if (livesMs <= entry.expiresAtMs - entry.storedAtMs) return entry;
    this.extendedTotal += 1;
    return living(entry, livesMs);
  }

  #observe(id: string, seconds: number): Clamp {
    const clamp = this.#clamps.get(id) ?? { samples: 0, maxSeconds: 0, atMax: 0 };
    this.#clamps.set(id, clamp);
    if (seconds > clamp.maxSeconds) {
      // Whatever was seen before says nothing of this value.
      Object.assign(clamp, { samples: 0, maxSeconds: seconds, atMax: 0 });
    }
    clamp.samples += 1;
    if (seconds === clamp.maxSeconds) clamp.atMax += 1;
    return clamp;
  }
}

const isClamp = ({ samples, atMax, maxSeconds }: Clamp): boolean =>
  samples >= SAMPLES_MIN && atMax >= AT_CAP_MIN && maxSeconds <= CAP_SECONDS_MAX;

/** The entry with every TTL of its answer raised, so that clients are told what we do. */
function living(entry: CacheEntry, livesMs: number): CacheEntry {
  const wire = copyOctets(entry.wire, 0, entry.wire.length);
  for (let state = cursor.begin(wire); state > 0; state = cursor.next()) {
    if (cursor.section !== 'answer') break;
    writeUint32(wire, cursor.ttlOffset, Math.floor(livesMs / 1000));
  }
  const expiresAtMs = entry.storedAtMs + livesMs;
  const staleMs = entry.staleUntilMs - entry.expiresAtMs;
  return { ...entry, wire, expiresAtMs, staleUntilMs: expiresAtMs + staleMs };
}

/** What the answer says, whatever the order of its records and the case of its names. */
function recordsOf(wire: Uint8Array): string {
  const records: string[] = [];
  for (let state = cursor.begin(wire); state > 0; state = cursor.next()) {
    if (cursor.section !== 'answer') break;
    const { type, rdataOffset } = cursor;
    const nameAt = type === TYPE.MX ? rdataOffset + PREFERENCE_OCTETS : rdataOffset;
    const before = wire.slice(rdataOffset, nameAt).join();
    records.push(`${type} ${before} ${nameKey(wire, nameAt)}`);
  }
  return records.toSorted().join('\n');
}
