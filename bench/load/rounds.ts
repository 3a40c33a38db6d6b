/**
 * Contestants in turn, round after round, so that what else the machine does meets all of them alike;
 * then the median of each figure.
 */

export const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

export type Figures = Readonly<Record<string, number>>;

/**
 * @param run measures one contestant once
 * @returns by contestant, each figure's median over the rounds
 */
export async function interleave<Name extends string, F extends Figures>(
  names: readonly Name[],
  rounds: number,
  run: (name: Name, round: number) => Promise<F>,
): Promise<Map<Name, { readonly medians: F; readonly runs: readonly F[] }>> {
  const runs = new Map<Name, F[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    // Whoever begins meets a cooler machine: each round begins with the next one.
    const first = round % names.length;
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      runs.get(name)!.push(await run(name, round));
    }
  }
  const results = new Map<Name, { medians: F; runs: F[] }>();
  for (const [name, figures] of runs) {
    const medians = Object.fromEntries(
      Object.keys(figures[0] ?? {}).map((key) => [key, median(figures.map((one) => one[key]!))]),
    );
    results.set(name, { medians: medians as F, runs: figures });
  }
  return results;
}
