/**
 * Nothing is cached: every question goes upstream, to NSD on the same machine.
 *
 * options: --rounds N, --seconds N, --only NAME,NAME, --results FOLDER
 */
import { missLines } from '../load/dns-questions.ts';
import { tournamentMain } from '../load/tournament.ts';

const QUESTIONS = 400_000;

await tournamentMain({
  name: 'dns-miss',
  contestants: [
    'postilion',
    'unbound',
    'knot-resolver',
    'pdns-recursor',
    'dnsdist',
    'dnsmasq-small-cache',
  ],
  loads: [
    {
      label: '',
      warm: () => missLines(1_000, 999),
      lines: (round) => missLines(QUESTIONS, round),
    },
  ],
  rounds: 5,
  seconds: 2,
});
