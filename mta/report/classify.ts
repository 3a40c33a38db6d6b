/**
 * What kind of failure a reply tells of, for people who look after lists and reputation. It decides
 * nothing: whether mail is tried again is disposition.ts's to say.
 *
 * First the words of providers whose codes say less than their text, then the enhanced code as IANA
 * registers it (RFC 3463 and its successors), then the basic code.
 */
import type { Reply } from '../disposition.ts';

export const BOUNCE_CLASSES = [
  /** The mailbox does not exist, or no more. */
  'bad-mailbox',
  /** The domain does not exist or takes no mail. */
  'bad-domain',
  /** The mailbox is there, but full, disabled or not for everyone. */
  'mailbox-full',
  'inactive-mailbox',
  'too-large',
  /** The message was taken for spam, or for worse. */
  'spam',
  'virus',
  'content',
  /** Our address, name or a link in the message stands on a list. */
  'reputation',
  /** SPF, DKIM, DMARC or reverse DNS. */
  'authentication',
  /** More, or faster, than the host takes from us. */
  'rate',
  'greylisting',
  'policy',
  'relaying',
  /** TLS is missing or not good enough. */
  'security',
  'routing',
  'host-trouble',
  'protocol',
  'expired',
  'unknown',
] as const;
export type BounceClass = (typeof BOUNCE_CLASSES)[number];

/** Characters of a reply looked at. */
const TEXT_MAX = 2_000;

/** [what is said, what it means]; the first that matches. Written from what the hosts say in practice. */
const WORDS: readonly (readonly [RegExp, BounceClass])[] = [
  [/\b(?:grey|gray)list/i, 'greylisting'],
  [
    /over ?quota|quota exceeded|mailbox (?:is )?full|out of storage|insufficient storage/i,
    'mailbox-full',
  ],
  [
    /account (?:is |has been )?(?:disabled|inactive|suspended|locked)|mailbox (?:is )?(?:disabled|inactive|unavailable for this)/i,
    'inactive-mailbox',
  ],
  [
    /\b(?:dmarc|dkim|spf)\b|unauthenticated|not authenticated|sender id|reverse dns|\bptr\b|rdns/i,
    'authentication',
  ],
  [/virus|malware|phish|infected/i, 'virus'],
  [
    /spamhaus|barracuda|spamcop|sorbs|\brbl\b|\bdnsbl\b|block ?list|black ?list|denylist|listed (?:at|on|by|in)|poor reputation|bad reputation|low reputation|\bS3150\b|\bS3140\b|banned sending ip|\[?IPBL|5\.7\.606/i,
    'reputation',
  ],
  [/spam|unsolicited|junk|bulk mail|likely unwanted/i, 'spam'],
  [
    /rate limit|too (?:many|fast|frequent)|throttl|unusual rate|temporarily deferred|slow down|\bRP-00\d\b|\[?TSS?\d\d\]?|sending limit|exceeded .*(?:limit|connections)/i,
    'rate',
  ],
  [
    /relay(?:ing)? (?:not permitted|denied|access denied)|unable to relay|not (?:allowed|permitted) to relay/i,
    'relaying',
  ],
  [
    /(?:user|recipient|mailbox|address|account) (?:unknown|not found|does ?n[o']t exist|no longer|invalid|rejected: user)|no such (?:user|recipient|mailbox|person|address)|unknown (?:user|recipient|mailbox|local)|does ?n[o'’]t have an? .{0,60}account|invalid recipient|recipientnotfound/i,
    'bad-mailbox',
  ],
  [
    /(?:domain|host) (?:not found|unknown|does ?n[o']t exist)|no (?:mx|mail ?host)|null mx/i,
    'bad-domain',
  ],
];

/** Subject and detail of an enhanced code → class. A subject alone stands for the rest of it. */
const CODES: Readonly<Record<string, BounceClass>> = {
  '1.0': 'bad-mailbox',
  '1.1': 'bad-mailbox',
  '1.2': 'bad-domain',
  '1.3': 'bad-mailbox',
  '1.4': 'bad-mailbox',
  '1.6': 'bad-mailbox',
  '1.7': 'policy',
  '1.8': 'authentication',
  '1.9': 'routing',
  '1.10': 'bad-domain',
  '2.0': 'inactive-mailbox',
  '2.1': 'inactive-mailbox',
  '2.2': 'mailbox-full',
  '2.3': 'too-large',
  '2.4': 'routing',
  '3.1': 'host-trouble',
  '3.4': 'too-large',
  '3': 'host-trouble',
  '4.4': 'routing',
  '4.6': 'routing',
  '4.7': 'expired',
  '4': 'routing',
  '5.3': 'rate',
  '5': 'protocol',
  '6.7': 'protocol',
  '6': 'content',
  '7.0': 'policy',
  '7.1': 'policy',
  '7.8': 'authentication',
  '7.10': 'security',
  '7.11': 'security',
  '7.13': 'inactive-mailbox',
  '7.20': 'authentication',
  '7.21': 'authentication',
  '7.22': 'authentication',
  '7.23': 'authentication',
  '7.24': 'authentication',
  '7.25': 'authentication',
  '7.26': 'authentication',
  '7.27': 'bad-domain',
  '7.28': 'rate',
  '7.29': 'authentication',
  '7.30': 'security',
  '7.509': 'authentication',
  '7.606': 'reputation',
  '7.650': 'rate',
  '7': 'policy',
};

const BASIC: Readonly<Record<number, BounceClass>> = {
  421: 'host-trouble',
  450: 'greylisting',
  452: 'mailbox-full',
  521: 'bad-domain',
  550: 'bad-mailbox',
  551: 'bad-mailbox',
  552: 'mailbox-full',
  553: 'bad-mailbox',
  556: 'bad-domain',
};

/**
 * @param status RFC 3463, as in the bounce; where the host gave one it is the host's
 * @param reply  the host's, or null when DNS, age or we ourselves decided
 */
export function classify(status: string, reply: Reply | null): BounceClass {
  const text = reply === null ? '' : reply.lines.join(' ').slice(0, TEXT_MAX);
  const byWords = WORDS.find(([said]) => said.test(text))?.[1];
  if (byWords !== undefined) return byWords;
  const [, subject, detail] = status.split('.');
  const isVague = subject === '0';
  if (!isVague) {
    const byCode = CODES[`${subject}.${detail}`] ?? CODES[`${subject}`];
    if (byCode !== undefined) return byCode;
  }
  if (reply === null) return 'unknown';
  return BASIC[reply.code] ?? (reply.code >= 500 && reply.code <= 504 ? 'protocol' : 'unknown');
}
