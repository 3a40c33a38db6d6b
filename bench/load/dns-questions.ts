/**
 * Files of questions for dnsperf, and the zone that answers all of them: wildcards, so that a million
 * names cost the authority nothing.
 */
import { writeFile } from 'node:fs/promises';
import type { Zone } from '../../test/support/nsd.ts';

/** Everything below is there, whatever the type. */
export const QUESTION_ZONES: readonly Zone[] = [
  {
    origin: 'hot.example',
    negativeTtlSeconds: 3_600,
    records: [
      '* 86400 IN A 192.0.2.1',
      '* 86400 IN AAAA 2001:db8::1',
      '* 86400 IN MX 10 mx1.hot.example.',
      '* 86400 IN MX 20 mx2.hot.example.',
      '* 86400 IN TXT "v=spf1 include:_spf.hot.example ip4:192.0.2.0/24 -all"',
      `* 86400 IN TLSA 3 1 1 ${'ab'.repeat(32)}`,
    ],
  },
];

const MAIL_DOMAINS = 10_000;
const MISS_ONE_IN = 50;

/** So many different names, each once, in an order without pattern. */
export function hotLines(names: number): string[] {
  const lines = Array.from({ length: names }, (_, index) => `h${index}.hot.example A`);
  return shuffle(lines, 1);
}

/**
 * As a mail server asks: MX 50 %, A and AAAA 30 %, TXT and TLSA 20 %, domains by Zipf's law out of
 * 10,000. Two in a hundred are of names that nobody asked for yet.
 *
 * @param round its misses are those of no other round
 */
export function mailLines(questions: number, round: number): string[] {
  const random = sequence(round + 1);
  const pick = zipf(MAIL_DOMAINS, random);
  return Array.from({ length: questions }, (_, index) => {
    const isMiss = index % MISS_ONE_IN === 0;
    const domain = isMiss ? `m${round}x${index}` : `d${pick()}`;
    return questionAbout(domain, random());
  });
}

function questionAbout(domain: string, draw: number): string {
  const name = `${domain}.hot.example`;
  if (draw < 0.5) return `${name} MX`;
  if (draw < 0.7) return `mx.${name} A`;
  if (draw < 0.8) return `mx.${name} AAAA`;
  if (draw < 0.9) return `${name} TXT`;
  return `_25._tcp.mx.${name} TLSA`;
}

/** Every question that {@link mailLines} repeats, once. */
export const mailWarmLines = (): string[] =>
  Array.from({ length: MAIL_DOMAINS }, (_, domain) =>
    [0, 0.5, 0.7, 0.8, 0.9].map((draw) => questionAbout(`d${domain}`, draw)),
  ).flat();

/** Names that were never asked for, of no other round. */
export const missLines = (questions: number, round: number): string[] =>
  Array.from({ length: questions }, (_, index) => `u${round}x${index}.hot.example MX`);

export const writeLines = (file: string, lines: readonly string[]): Promise<void> =>
  writeFile(file, `${lines.join('\n')}\n`);

/** Numbers from 0 to 1 that look random and are always the same. */
function sequence(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) >>> 0) / 0x1_0000_0000;
  };
}

/** The n-th is 1/n as likely as the first. */
function zipf(count: number, random: () => number): () => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let index = 0; index < count; index += 1) {
    sum += 1 / (index + 1);
    sums[index] = sum;
  }
  return () => {
    const wanted = random() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sums[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

function shuffle(lines: string[], seed: number): string[] {
  const random = sequence(seed);
  for (let index = lines.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [lines[index], lines[other]] = [lines[other]!, lines[index]!];
  }
  return lines;
}
