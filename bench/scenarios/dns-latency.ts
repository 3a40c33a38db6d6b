/**
 * How long a hit takes at 1,000, 10,000 and 50,000 questions a second.
 *
 * options: --rounds N, --seconds N, --only NAME,NAME, --results FOLDER
 */
import { hotLines } from '../load/dns-questions.ts';
import { tournamentMain } from '../load/tournament.ts';

const lines = (): string[] => hotLines(1_000);

await tournamentMain({
  name: 'dns-latency',
  contestants: ['postilion', 'unbound', 'knot-resolver', 'pdns-recursor', 'dnsdist', 'dnsmasq'],
  loads: [1_000, 10_000, 50_000].map((perSecond) => ({
    label: `${perSecond.toLocaleString('en')}/s`,
    warm: lines,
    lines,
    perSecond,
  })),
  rounds: 5,
  seconds: 2,
  isAboutLatency: true,
});
