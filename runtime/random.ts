/**
 * Randomness as everything else receives it. Ports, message IDs, jitter and shuffles all come from
 * here, so that a test can fix them and production cannot be guessed (RFC 5452 §9).
 */
import { randomFillSync } from 'node:crypto';

export interface Random {
  /** Uniform integer, 0 <= n < bound; 1 <= bound <= 2^32. */
  integer(bound: number): number;
  /** Uniform, 0 <= x < 1. */
  fraction(): number;
}

const POOL_WORDS = 1024;
const UINT32_SPAN = 0x1_0000_0000;

/** Cryptographic randomness, drawn from the kernel 4 KiB at a time. */
export function cryptoRandom(): Random {
  const pool = new Uint32Array(POOL_WORDS);
  let next = POOL_WORDS;
  const word = (): number => {
    if (next === POOL_WORDS) {
      randomFillSync(pool);
      next = 0;
    }
    return pool[next++]!;
  };
  return {
    integer(bound) {
      // Reject the uneven tail, so that every value is equally likely.
      const fair = UINT32_SPAN - (UINT32_SPAN % bound);
      let value = word();
      while (value >= fair) value = word();
      return value % bound;
    },
    fraction: () => word() / UINT32_SPAN,
  };
}
