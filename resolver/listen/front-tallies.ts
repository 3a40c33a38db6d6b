/** What fronts count, in the words of the core's counters. */
import { type Counters, SOURCES, TYPE_LABELS } from '../counters.ts';
import { TALLIES, TALLY } from './front-memory.ts';

const [HOT] = SOURCES;

/** Adds what a front counts to the counters whenever somebody reads them. */
export function addTallies(tallies: Float64Array, counters: Counters): void {
  const told = new Float64Array(TALLIES);
  counters.onRead((into) => {
    const now = tallies.slice();
    const grown = (index: number): number => now[index]! - told[index]!;
    for (let type = 0; type < TYPE_LABELS.length; type += 1) {
      const answers = grown(TALLY.types + type);
      into.queries[0]![type] = into.queries[0]![type]! + answers;
      into.answers[HOT] += answers;
    }
    for (let rcode = 0; rcode < into.rcodes.length; rcode += 1) {
      into.rcodes[rcode] = into.rcodes[rcode]! + grown(TALLY.rcodes + rcode);
    }
    for (let bucket = 0; bucket < into.answerBuckets.length; bucket += 1) {
      const answers = grown(TALLY.buckets + bucket);
      into.answerBuckets[bucket] = into.answerBuckets[bucket]! + answers;
    }
    into.answerSecondsSum += grown(TALLY.seconds);
    into.drops.backlog += grown(TALLY.backlog);
    into.drops.long += grown(TALLY.long);
    into.batches += grown(TALLY.batches);
    told.set(now);
  });
}
