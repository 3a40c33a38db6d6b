/**
 * What an answer costs when 1,000 to 1,000,000 of them are cached, asked for all alike.
 *
 * options: --rounds N, --seconds N, --only NAME,NAME, --results FOLDER
 */
import { hotLines } from '../load/dns-questions.ts';
import { tournamentMain } from '../load/tournament.ts';

const SIZES = [1_000, 10_000, 100_000, 1_000_000];

await tournamentMain({
  name: 'dns-scale',
  contestants: ['postilion', 'unbound'],
  loads: SIZES.map((size) => {
    const lines = (): string[] => hotLines(size);
    return { label: size.toLocaleString('en'), warm: lines, lines };
  }),
  rounds: 3,
  seconds: 3,
});
