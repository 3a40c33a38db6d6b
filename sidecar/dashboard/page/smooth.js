/** Seconds put together, where there are more of them than a chart has room for. */

const OVER_MS = 5_000;

/** @returns when each stretch begins → positions of its samples; the same instants for both programs */
function stretches(atMs) {
  const found = new Map();
  for (const [at, ms] of atMs.entries()) {
    const beginsMs = ms - (ms % OVER_MS);
    if (found.has(beginsMs)) found.get(beginsMs).push(at);
    else found.set(beginsMs, [at]);
  }
  return found;
}

/** The mean of what is known; null where nothing is. */
function mean(column, positions) {
  let sum = 0;
  let known = 0;
  for (const at of positions) {
    if (column[at] === null || column[at] === undefined) continue;
    sum += column[at];
    known += 1;
  }
  return known === 0 ? null : sum / known;
}

const eachOf = (columns, groups) =>
  Object.fromEntries(
    Object.entries(columns).map(([key, column]) => [
      key,
      groups.map((positions) => mean(column, positions)),
    ]),
  );

/** @param part { atMs, columns, answers or causes } of the history; the same, by five seconds */
export function smooth({ atMs, ...parts }) {
  const found = stretches(atMs);
  const groups = [...found.values()];
  return {
    atMs: [...found.keys()],
    ...Object.fromEntries(
      Object.entries(parts).map(([name, columns]) => [name, eachOf(columns, groups)]),
    ),
  };
}
