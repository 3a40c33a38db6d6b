/** Random histories against a model small enough to be seen to be right. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type MessageId, PRIORITIES, type RecipientKey } from '../../../mta/envelope.ts';
import type { Settlement, Spool } from '../../../mta/spool/spool.ts';
import { ManualClock } from '../../support/clock.ts';
import { scratchFolder } from '../../support/scratch.ts';
import { openAt, START_MS, submission } from './fixture.ts';

interface ModelRow {
  readonly key: RecipientKey;
  readonly domain: string;
  dueMs: number;
  attempts: number;
  leased: boolean;
}

/** Each run starts a thread and syncs files; on a busy machine that is slow. */
const TIMEOUT_MS = 180_000;
const DOMAINS = ['a.example', 'b.example', 'c.example'];

class World {
  readonly folder: string;
  readonly clock: ManualClock;
  spool: Spool;
  rows: ModelRow[] = [];
  content = new Map<MessageId, string>();
  #appended = 0;

  constructor(folder: string, clock: ManualClock, spool: Spool) {
    this.folder = folder;
    this.clock = clock;
    this.spool = spool;
  }

  /** One message to each list of domains, all at once; every second one handed over where `hands`. */
  async append(
    messages: readonly (readonly string[])[],
    delayMs: number,
    hands: boolean,
  ): Promise<void> {
    // Which lane mail is in changes its turn, never whether and when it is due.
    const receivedAtMs = this.clock.wallMs() + delayMs;
    const last = Math.max(0, ...this.content.keys());
    const ids = await Promise.all(
      messages.map((domains, at) => {
        this.#appended += 1;
        const addresses = domains.map((domain, n) => `${n}@${domain}`);
        const content = `content ${this.#appended}\r\n`;
        return this.spool
          .append(
            submission(addresses, {
              content,
              receivedAtMs,
              priority: PRIORITIES[this.#appended % 3]!,
              tenant: ['', 'acme', 'zeta'][(this.#appended >> 1) % 3]!,
            }),
            hands && at % 2 === 0,
          )
          .then((id) => ({ id, content }));
      }),
    );
    for (const [at, { id, content }] of ids.entries()) {
      expect(id).toBeGreaterThan(last);
      this.content.set(id, content);
      for (const [index, domain] of messages[at]!.entries()) {
        const key = { message: id, index };
        const leased = hands && at % 2 === 0;
        this.rows.push({ key, domain, dueMs: receivedAtMs, attempts: 0, leased });
      }
    }
    expect(new Set(ids.map(({ id }) => id)).size).toBe(messages.length);
  }

  async lease(
    domains: readonly string[],
    messagesMax: number,
    recipientsMax: number,
  ): Promise<void> {
    const nowMs = this.clock.wallMs();
    const due = this.rows.filter(
      (row) => !row.leased && row.dueMs <= nowMs && domains.includes(row.domain),
    );
    const { messages, nextDueMs } = await this.spool.lease({
      domains,
      nowMs,
      messagesMax,
      bytesMax: 1_000_000,
      recipientsMax,
    });
    for (const { message, recipients, content } of messages) {
      expect(Buffer.from(content).toString()).toBe(this.content.get(message));
      expect(recipients.length).toBeLessThanOrEqual(recipientsMax);
      for (const { index, domain, attempts } of recipients) {
        const row = due.find(({ key }) => key.message === message && key.index === index);
        expect(row).toMatchObject({ domain, attempts, leased: false });
        row!.leased = true;
      }
    }
    expect(messages.length).toBeLessThanOrEqual(messagesMax);
    if (messages.length < messagesMax) expect(due.filter((row) => !row.leased)).toEqual([]);
    for (const domain of domains) {
      const left = this.rows.filter((row) => !row.leased && row.domain === domain);
      const next = left.length === 0 ? null : Math.min(...left.map((row) => row.dueMs));
      expect(nextDueMs.get(domain)).toBe(next);
    }
  }

  /** Settles every leased row that `pick` chooses, with one notice for all. */
  async settle(pick: readonly number[], notices: number): Promise<void> {
    const nowMs = this.clock.wallMs();
    const settlements: Settlement[] = [];
    for (const [at, row] of this.rows.filter(({ leased }) => leased).entries()) {
      const fate = pick[at % pick.length]!;
      const { key } = row;
      if (fate === 0) continue;
      row.leased = false;
      if (fate === 1) {
        this.rows = this.rows.filter((other) => other !== row);
        settlements.push({ key, kind: 'done' });
      } else if (fate === 2) {
        settlements.push({ key, kind: 'released' });
      } else {
        row.dueMs = nowMs + fate;
        row.attempts += 1;
        const reason = { code: 'deferred-by-peer', text: '451 no', sinceMs: nowMs };
        const { dueMs, attempts } = row;
        settlements.push({ key, kind: 'deferred', dueMs, attempts, reason });
      }
    }
    const content = 'notice\r\n';
    const notice = submission([`n@${DOMAINS[0]}`], { content, receivedAtMs: nowMs });
    const ids = await this.spool.settle(settlements, Array(notices).fill(notice));
    for (const message of ids) {
      this.content.set(message, content);
      const key = { message, index: 0 };
      this.rows.push({ key, domain: DOMAINS[0]!, dueMs: nowMs, attempts: 0, leased: false });
    }
  }

  async reopen(): Promise<void> {
    await this.spool.close();
    this.spool = await openAt(this.folder, { clock: this.clock });
    for (const row of this.rows) row.leased = false;
  }

  async count(): Promise<void> {
    const leased = this.rows.filter((row) => row.leased).length;
    expect(await this.spool.counts()).toEqual({
      messages: new Set(this.rows.map(({ key }) => key.message)).size,
      queued: this.rows.length - leased,
      leased,
      quarantined: 0,
    });
  }

  /** Looks at all, which gives rows to what was handed over. */
  async check(): Promise<void> {
    const inOrder = this.rows.toSorted(
      (a, b) => a.key.message - b.key.message || a.key.index - b.key.index,
    );
    const listed = await this.spool.list({ domain: null, after: null, limit: 1000 });
    expect(
      listed.map(({ message, index, domain, dueMs, attempts, leased }) => ({
        key: { message, index },
        domain,
        dueMs,
        attempts,
        leased,
      })),
    ).toEqual(inOrder);
    await this.count();
    const queued = DOMAINS.flatMap((domain) => {
      const dues = this.rows.filter((row) => !row.leased && row.domain === domain);
      return dues.length === 0
        ? []
        : [{ domain, nextDueMs: Math.min(...dues.map(({ dueMs }) => dueMs)) }];
    });
    expect(await this.spool.domains(null, 10)).toEqual(queued);
  }
}

type Step = (world: World) => Promise<void> | void;

const domainsArb = fc.array(fc.constantFrom(...DOMAINS), { minLength: 1, maxLength: 6 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.array(domainsArb, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: -5, max: 5 }),
        fc.boolean(),
      )
      .map(
        ([messages, delayMs, hands]): Step =>
          (world) =>
            world.append(messages, delayMs, hands),
      ),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.subarray(DOMAINS, { minLength: 1 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
      )
      .map(
        ([domains, messagesMax, recipientsMax]): Step =>
          (world) =>
            world.lease(domains, messagesMax, recipientsMax),
      ),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1 }),
        fc.integer({ min: 0, max: 2 }),
      )
      .map(
        ([pick, notices]): Step =>
          (world) =>
            world.settle(pick, notices),
      ),
  },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 1, max: 5 }).map(
      (ms): Step =>
        (world) =>
          world.clock.advance(ms),
    ),
  },
  { weight: 1, arbitrary: fc.constant<Step>((world) => world.reopen()) },
  { weight: 2, arbitrary: fc.constant<Step>((world) => world.check()) },
);

test(
  'any history of appends, leases, settlements and restarts matches the model',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const folder = await scratchFolder('spool');
        const clock = new ManualClock();
        expect(clock.wallMs()).toBe(START_MS);
        const world = new World(folder.path, clock, await openAt(folder.path, { clock }));
        try {
          for (const one of steps) {
            await one(world);
            await world.count();
          }
          await world.check();
        } finally {
          await world.spool.close();
          await folder.remove();
        }
      }),
      { numRuns: 25 },
    );
  },
  TIMEOUT_MS,
);
