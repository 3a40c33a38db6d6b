/** What is wrong now, one sentence each, the worst first; pure. */
import type { MailPart } from './parts.ts';
import type { Level, Snapshot } from './snapshot.ts';
import { ageText, countText, plural } from './words.ts';

export interface Trouble {
  readonly level: Exclude<Level, 'good' | 'none'>;
  readonly text: string;
  readonly next: string;
}

const SEE_LOG = 'Look at its log, and run postilion doctor.';
/** Mail that waits longer than most retries take. */
const OLD_MS = 4 * 3_600_000;
/** Some name or other always fails. */
const FAILING_SHARE = 0.01;
/** A change of pace is told of for so long. */
const CHANGE_MS = 600_000;

export function findTroubles(snapshot: Snapshot): readonly Trouble[] {
  const found = [...ofPrograms(snapshot), ...ofDns(snapshot.dns)];
  if (snapshot.mail.part !== null) found.push(...ofMail(snapshot.mail.part, snapshot.nowMs));
  return [
    ...found.filter(({ level }) => level === 'bad'),
    ...found.filter(({ level }) => level === 'warn'),
  ];
}

function ofPrograms({ dns, mail }: Snapshot): Trouble[] {
  const found: Trouble[] = [];
  for (const [name, { part, absent, expected }] of [
    ['mta', mail],
    ['resolver', dns],
  ] as const) {
    if (part === null && expected) {
      const text = `The ${name} does not answer: ${absent ?? 'no reason is known'}`;
      found.push({ level: 'bad', text, next: SEE_LOG });
    }
    if (part !== null && part.unready !== null) {
      found.push({
        level: 'bad',
        text: `The ${name} is not ready: ${part.unready}`,
        next: SEE_LOG,
      });
    }
  }
  return found;
}

function ofDns({ part, lately }: Snapshot['dns']): Trouble[] {
  if (part === null) return [];
  const found: Trouble[] = [];
  // When none is up, that is what it is not ready for.
  const down = part.unready === null ? part.upstreams.filter(({ up }) => !up) : [];
  for (const { address, lastFailure } of down) {
    found.push({
      level: 'warn',
      text: `Upstream ${address} does not answer${lastFailure === null ? '' : `: ${lastFailure}`}`,
      next: 'Others answer in its place. Mend it, or take it out of resolver.upstreams.',
    });
  }
  const stale = lately?.answers.stale ?? 0;
  if (stale > 0) {
    found.push({
      level: 'warn',
      text: `${countText(stale)} answers a second are past their time, for want of an upstream that answers`,
      next: 'See Upstreams and Domains in trouble.',
    });
  }
  const failing = lately?.answers.failure ?? 0;
  if (failing > FAILING_SHARE * (lately?.lookups ?? 0)) {
    found.push({
      level: 'warn',
      text: `${countText(failing)} lookups a second fail`,
      next: 'See Domains in trouble; postilion explain DOMAIN tells why.',
    });
  }
  return found;
}

function ofMail(part: MailPart, nowMs: number): Trouble[] {
  // What keeps it from being ready is said already.
  const found = part.troubles
    .filter((text) => text !== part.unready)
    .map((text): Trouble => ({ level: 'bad', text, next: 'See Waiting for what it holds up.' }));
  const held = part.sites.filter(({ hold }) => hold !== null);
  if (held.length > 0) {
    const [first] = held;
    found.push({
      level: 'warn',
      text: `${plural(held.length, 'site')} held: ${first!.hold!.text}`,
      next: 'It is probed by itself, ever more rarely; its page tells what its hosts say.',
    });
  }
  if (part.heldDomains.length > 0) {
    const [first] = part.heldDomains;
    found.push({
      level: 'warn',
      text: `${plural(part.heldDomains.length, 'domain')} wait${part.heldDomains.length === 1 ? 's' : ''} for DNS: ${first!.domain}: ${first!.wait.text}`,
      next: `postilion explain ${first!.domain} tells what DNS says.`,
    });
  }
  const slowed = part.changes.filter(
    ({ kind, atMs }) => (kind === 'slow' || kind === 'rest') && nowMs - atMs < CHANGE_MS,
  );
  if (slowed.length > 0) {
    found.push({
      level: 'warn',
      text: `${slowed[0]!.site} was slowed down ${ageText(nowMs - slowed[0]!.atMs)} ago: ${slowed[0]!.text}`,
      next: 'It speeds up again by itself. See Limits and why they changed.',
    });
  }
  if (part.suspensions.length > 0) {
    const [first] = part.suspensions;
    found.push({
      level: 'warn',
      text: `${plural(part.suspensions.length, 'suspension')} by operators: ${first!.scope} ${first!.name}, for ${ageText(nowMs - first!.sinceMs)}`,
      next: 'Resume it under Limits, or with postilion resume.',
    });
  }
  const oldest = part.waiting[0];
  if (oldest !== undefined && nowMs - oldest.receivedAtMs > OLD_MS) {
    found.push({
      level: 'warn',
      text: `The oldest message waits for ${ageText(nowMs - oldest.receivedAtMs)}: ${oldest.wait.text}`,
      next: `postilion why ${oldest.id} tells all of it.`,
    });
  }
  return found;
}
