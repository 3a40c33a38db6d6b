/**
 * Questions as a mail server asks them: MX 50 %, A and AAAA 30 %, TXT and TLSA 20 %, domains by Zipf's
 * law out of 10,000; two in a hundred are for names that nobody asked for yet.
 *
 * options: --rounds N, --seconds N, --only NAME,NAME, --results FOLDER
 */
import { mailLines, mailWarmLines } from '../load/dns-questions.ts';
import { tournamentMain } from '../load/tournament.ts';

/** More than the fastest answers in a round, so that a miss stays one. */
const QUESTIONS = 600_000;

await tournamentMain({
  name: 'dns-mail',
  contestants: ['postilion', 'unbound', 'knot-resolver', 'pdns-recursor', 'dnsdist', 'dnsmasq'],
  loads: [{ label: '', warm: mailWarmLines, lines: (round) => mailLines(QUESTIONS, round) }],
  rounds: 5,
  seconds: 2,
});
