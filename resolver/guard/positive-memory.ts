/**
 * Which names were seen to exist lately, and with which types, in a megabyte whatever the traffic.
 *
 * A table of SLOTS words, each the tag of one key and the hour when it was last seen; a newer key
 * takes the slot of an older one. So it may forget, which costs the guard one doubt, and about one
 * key in 2^22 is taken for another, which costs one query too many. Neither makes an answer wrong.
 */
import type { Random } from '../../runtime/random.ts';

const SLOTS = 1 << 18;
const HOUR_MS = 3_600_000;
/** Hours stand in ten bits, and wrap after six weeks. */
const HOURS_SPAN = 1_024;
const UINT32_SPAN = 0x1_0000_0000;

export class PositiveMemory {
  readonly #slots = new Uint32Array(SLOTS);
  readonly #keptHours: number;
  /** So that nobody can choose names that push out others. */
  readonly #seed: number;

  /** @param keptMs how long a sighting counts, at most 40 days */
  constructor(keptMs: number, random: Random) {
    this.#keptHours = Math.min(Math.max(Math.ceil(keptMs / HOUR_MS), 1), HOURS_SPAN - 64);
    this.#seed = random.integer(UINT32_SPAN);
  }

  remember(key: string, nowMs: number): void {
    const hash = hashOf(key, this.#seed);
    this.#slots[slotOf(hash)] = (hash & TAG_MASK) | hourOf(nowMs);
  }

  recalls(key: string, nowMs: number): boolean {
    const hash = hashOf(key, this.#seed);
    const word = this.#slots[slotOf(hash)]!;
    if (word === 0 || (word & TAG_MASK) !== (hash & TAG_MASK)) return false;
    const ageHours = (hourOf(nowMs) - (word & HOUR_MASK) + HOURS_SPAN) % HOURS_SPAN;
    return ageHours <= this.#keptHours;
  }

  forget(key: string): void {
    const hash = hashOf(key, this.#seed);
    const slot = slotOf(hash);
    if ((this.#slots[slot]! & TAG_MASK) === (hash & TAG_MASK)) this.#slots[slot] = 0;
  }
}

const HOUR_MASK = HOURS_SPAN - 1;
const TAG_MASK = ~HOUR_MASK;

/** Monotonic time may start at zero; hour 0 is left for slots that were never used. */
const hourOf = (nowMs: number): number => (Math.floor(nowMs / HOUR_MS) % (HOURS_SPAN - 1)) + 1;

/** The tag is taken from the upper bits, so the slot is not: both together tell keys apart. */
const slotOf = (hash: number): number => (Math.imul(hash, 0x9e37_79b1) >>> 7) % SLOTS;

/** FNV-1a over the key, then mixed as MurmurHash3 ends. */
function hashOf(key: string, seed: number): number {
  let hash = seed ^ 0x811c_9dc5;
  for (let at = 0; at < key.length; at += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(at), 0x0100_0193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}
