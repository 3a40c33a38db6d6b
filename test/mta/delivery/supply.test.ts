/** Who may come straight from a submitter, and who has to wait its turn in the spool. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Allotment } from '../../../mta/delivery/allotment.ts';
import type { SiteContext } from '../../../mta/delivery/site-context.ts';
import type { Standing } from '../../../mta/delivery/standing.ts';
import { Supply } from '../../../mta/delivery/supply.ts';
import type { Turns } from '../../../mta/delivery/turns.ts';
import type { Limits } from '../../../mta/plan/shaping.ts';
import { siteOf } from '../../../mta/plan/site.ts';
import type { Lease, LeasedMessage } from '../../../mta/spool/spool.ts';
import { ManualClock } from '../../support/clock.ts';

const MEMORY_OCTETS = 1_000;
const ROOM_UNPROVEN = 10;
const ROOM = 50;
const site = siteOf({ ranks: [['mx.example']], port: 25, tls: 'none', source: '' });
const LIMITS = {
  recipientsPerMessage: 100,
  messagesPerConnection: 100,
  connections: { max: 5, scope: 'site x' },
  messagesPerSecond: null,
} as unknown as Limits;

const to = (domain: string) => [{ index: 0, address: `a@${domain}`, domain }];
const message = (id: number, domain = 'a.example'): LeasedMessage => ({
  message: id,
  reversePath: '',
  body: '7bit',
  smtpUtf8: false,
  receivedAtMs: 0,
  priority: 'normal',
  tenant: '',
  campaign: '',
  content: new Uint8Array(1),
  recipients: to(domain).map((one) => ({
    ...one,
    attempts: 0,
    reason: { code: 'new', text: '', sinceMs: 0 },
  })),
});

let clock: ManualClock;
let memory: Allotment;
let standing: { proven: boolean; probing: boolean };
let turns: { blocked: string | null; pace: object | null };
/** What the spool hands out next. */
let lease: Lease;
let released: number;
let supply: Supply;

beforeEach(() => {
  clock = new ManualClock();
  memory = new Allotment(MEMORY_OCTETS);
  standing = { proven: true, probing: false };
  turns = { blocked: null, pace: null };
  released = 0;
  const context = {
    clock,
    memory,
    spool: { lease: async () => lease },
    shaping: { limitsOf: () => LIMITS },
    accepting: () => true,
    park: () => false,
    heldTenants: () => [],
    drained: () => undefined,
    reroute: () => undefined,
    release: (consignments: readonly unknown[]) => {
      released += consignments.length;
    },
  } as unknown as SiteContext;
  const fakeTurns = {
    get pace() {
      return turns.pace;
    },
    blockedCount: 0,
    blocks: (domain: string) => domain === turns.blocked,
    forget: () => undefined,
  } as unknown as Turns;
  supply = new Supply(site, context, fakeTurns, {
    standing: standing as unknown as Standing,
    closed: () => false,
    work: () => supply.replenish(),
    again: () => undefined,
  });
});

/** Lets the gathering end, and the lease come. */
async function leased(one: Lease): Promise<void> {
  lease = one;
  clock.advance(10);
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
}

const due = (domain: string, dueMs: number | null) => new Map([[domain, dueMs]]);

describe('a message is taken straight', () => {
  test('while there is room; what is on its way counts', () => {
    for (let n = 0; n < ROOM; n += 1) {
      expect(supply.reserve(to('a.example'), 1)).toBe(true);
      if (n % 2 === 0) supply.redeem(message(n));
    }
    expect(supply.reserve(to('a.example'), 1)).toBe(false);
    supply.withdraw();
    expect(supply.reserve(to('a.example'), 1)).toBe(true);
    expect(supply.buffer.length).toBe(ROOM / 2);
    expect(memory.taken).toBe(ROOM / 2);
    supply.empty();
    expect([released, memory.taken]).toEqual([ROOM / 2, 0]);
  });

  test('a few only by a site that has not taken any yet', () => {
    standing.proven = false;
    for (let n = 0; n < ROOM_UNPROVEN; n += 1) {
      expect(supply.reserve(to('a.example'), 1)).toBe(true);
    }
    expect(supply.reserve(to('a.example'), 1)).toBe(false);
  });

  test.each([
    { what: 'memory is short', spoil: () => memory.claim(MEMORY_OCTETS - 5) },
    {
      what: 'others wait for memory',
      spoil: () => {
        memory.claim(MEMORY_OCTETS);
        memory.take(0, () => undefined);
        memory.leave(() => undefined);
      },
    },
    {
      what: 'its domain has reached a limit of its own',
      spoil: () => (turns.blocked = 'a.example'),
    },
    { what: 'the site goes slowly', spoil: () => (turns.pace = {}) },
    {
      what: 'mail of another domain waits in the spool',
      spoil: () => supply.add('b.example', Number.MAX_VALUE, false),
    },
  ])('not when $what', ({ spoil }) => {
    expect(supply.reserve(to('a.example'), 10)).toBe(true);
    spoil();
    expect(supply.reserve(to('a.example'), 10)).toBe(false);
  });

  test('beside mail that has just come the long way, but not before mail that has waited', async () => {
    supply.add('a.example', Number.MAX_VALUE, true);
    expect(supply.reserve(to('a.example'), 1)).toBe(true);
    await leased({ messages: [message(1)], nextDueMs: due('a.example', clock.wallMs()) });
    expect(supply.reserve(to('a.example'), 1)).toBe(false);
    supply.empty();
    lease = { messages: [], nextDueMs: due('a.example', null) };
    supply.replenish();
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    expect(supply.domains).toBe(0);
    expect(supply.reserve(to('a.example'), 1)).toBe(true);
  });

  test('not once others had to wait because there was no room', async () => {
    supply.add('b.example', Number.MAX_VALUE, true);
    lease = { messages: [], nextDueMs: due('b.example', null) };
    for (let n = 0; n < ROOM; n += 1) {
      supply.reserve(to('a.example'), 1);
      supply.redeem(message(n));
    }
    supply.touch('b.example');
    supply.buffer.take(() => true);
    expect(supply.reserve(to('a.example'), 1)).toBe(false);
    await leased({ messages: [message(99, 'b.example')], nextDueMs: due('b.example', null) });
    supply.buffer.take(() => true);
    supply.buffer.take(() => true);
    expect(supply.reserve(to('a.example'), 1)).toBe(true);
  });
});
