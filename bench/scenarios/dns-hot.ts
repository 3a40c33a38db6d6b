/**
 * Cached answers as fast as they come: 1,000 names, every question a hit. CPU per answer of Postilion,
 * of five other resolvers, and of a server that only echoes.
 *
 * options: --rounds N, --seconds N, --only NAME,NAME, --results FOLDER
 */
import { hotLines } from '../load/dns-questions.ts';
import { tournamentMain } from '../load/tournament.ts';

const lines = (): string[] => hotLines(1_000);

await tournamentMain({
  name: 'dns-hot',
  contestants: [
    'postilion',
    'postilion-2-fronts',
    'postilion-portable',
    'unbound',
    'knot-resolver',
    'pdns-recursor',
    'dnsdist',
    'dnsmasq',
    'echo',
  ],
  loads: [{ label: '', warm: lines, lines }],
  rounds: 7,
  seconds: 2,
});
