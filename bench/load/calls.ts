/** What one call of something costs: nanoseconds of CPU, the best of ROUNDS, so that a busy machine disturbs least. */

export const CALLS = 1_000_000;
const ROUNDS = 7;
const LABEL_WIDTH = 44;

/**
 * Prints a line of it.
 *
 * @param call given the number of the call; its results are added up
 * @returns nanoseconds
 */
export function measureCalls(label: string, call: (index: number) => number): number {
  let best = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const start = process.cpuUsage();
    for (let index = 0; index < CALLS; index += 1) sum += call(index);
    const { user, system } = process.cpuUsage(start);
    best = Math.min(best, user + system);
  }
  const nanoseconds = (best * 1000) / CALLS;
  // The sum is shown so that no call can be optimised away.
  console.log(`${label.padEnd(LABEL_WIDTH)}${nanoseconds.toFixed(0).padStart(6)} ns   (${sum})`);
  return nanoseconds;
}
