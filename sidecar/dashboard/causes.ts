/** Why attempts are put off, in words, and what an operator can do about each. */

interface Cause {
  /** Completes "mostly because …". */
  readonly text: string;
  readonly next: string;
}

/** By WaitReason.code, which the mta's judgements are named by. */
const CAUSES: Readonly<Record<string, Cause>> = {
  greylisted: {
    text: 'hosts want to see it again later (greylisting)',
    next: 'Nothing to do: it is tried again by itself, from the same address.',
  },
  throttled: {
    text: 'hosts ask for fewer messages',
    next: 'Sites slow down by themselves; see the log of limits, or set them in [mta.shaping].',
  },
  'deferred-by-peer': {
    text: 'hosts refuse it for now',
    next: 'Read what they say on the page of the site.',
  },
  'too-many-recipients': {
    text: 'hosts take fewer recipients at a time',
    next: 'Nothing to do: the rest goes in the next transaction.',
  },
  'host-unavailable': {
    text: 'hosts close the connection, or are not ready for mail',
    next: 'Read what they say on the page of the site; other hosts are tried.',
  },
  'host-refused': {
    text: 'hosts turn us away in their greeting',
    next: 'See whether our address is on a block list that they use.',
  },
  'no-mail-service': { text: 'hosts take no mail at all', next: 'Check the domains for typos.' },
  connect: {
    text: 'hosts cannot be reached',
    next: 'See that this machine may connect to port 25: postilion doctor.',
  },
  tls: {
    text: 'TLS fails, or is not offered where it is required',
    next: 'Look at the site, or ask less of mta.delivery.tls.',
  },
  'out-of-step': { text: 'hosts answer what was not asked', next: 'Look at the site and the log.' },
  'connection-lost': {
    text: 'connections break in the middle',
    next: 'Look for a firewall or a time-out between here and there.',
  },
  'maybe-delivered': {
    text: 'connections break after the last octet, so that it may have been taken',
    next: 'Nothing to do: it is tried again, and may arrive twice.',
  },
};

/** The commonest of them. @returns null when there is none */
export function mainCause(causes: Readonly<Record<string, number>>): Cause | null {
  const [code] = Object.keys(causes).sort((one, other) => causes[other]! - causes[one]!);
  if (code === undefined) return null;
  return CAUSES[code] ?? { text: code, next: 'Look at the page of the site.' };
}
