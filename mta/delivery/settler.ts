/**
 * Hands outcomes to the spool, many in one commit, and keeps them until the spool has them.
 *
 * Invariants
 * - One settle() is under way at a time; what arrives meanwhile forms the next batch.
 * - An outcome leaves memory only when the spool confirmed it: a full disk delays it, never loses it.
 * - A notice is signed before its batch is formed; one that cannot be signed holds up its own outcomes only.
 * - Above PENDING_MAX outcomes, saturated() is true and no new work is to be leased.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { MessageId, Submission } from '../envelope.ts';
import { IntakeBusy, MessageNotSigned, SpoolUnavailable } from '../errors.ts';
import type { Settlement, Spool } from '../spool/spool.ts';

const PENDING_MAX = 20_000;
const BATCH_MAX = 512;
const RETRY_MS = 1_000;
const NO_IDS: readonly MessageId[] = [];

interface Entry {
  readonly settlements: readonly Settlement[];
  readonly notices: readonly Submission[];
  /** Runs when the spool has it, with the ids of the notices. */
  readonly settled: (notices: readonly MessageId[]) => void;
}

export interface SettlerDeps {
  readonly spool: Spool;
  readonly clock: Clock;
  readonly log: Log;
  /** @throws MessageNotSigned, IntakeBusy */
  readonly sign: (notice: Submission) => Promise<Submission>;
}

export class Settler {
  readonly #spool: Spool;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #sign: SettlerDeps['sign'];
  /** Entries whose notices are being signed. */
  #signing = 0;
  #pending: Entry[] = [];
  #pendingCount = 0;
  /** Being settled just now. */
  #batch: readonly Entry[] = [];
  #busy = false;
  #idleWaiters: (() => void)[] = [];

  constructor({ spool, clock, log, sign }: SettlerDeps) {
    this.#spool = spool;
    this.#clock = clock;
    this.#log = log;
    this.#sign = sign;
  }

  saturated(): boolean {
    return this.#pendingCount > PENDING_MAX;
  }

  /** The spool has not recorded an outcome of this message yet. */
  owes(message: MessageId): boolean {
    const isOf = ({ settlements }: Entry): boolean =>
      settlements.some(({ key }) => key.message === message);
    return this.#batch.some(isOf) || this.#pending.some(isOf);
  }

  add(
    settlements: readonly Settlement[],
    notices: readonly Submission[],
    settled: Entry['settled'],
  ): void {
    this.#pendingCount += settlements.length;
    if (notices.length === 0) this.#enqueue({ settlements, notices, settled });
    else void this.#signFirst({ settlements, notices, settled });
  }

  /** Resolves when nothing is pending. */
  idle(): Promise<void> {
    if (this.#idle) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  get #idle(): boolean {
    return !this.#busy && this.#signing === 0;
  }

  #enqueue(entry: Entry): void {
    this.#pending.push(entry);
    if (!this.#busy) void this.#run();
  }

  async #signFirst(entry: Entry): Promise<void> {
    this.#signing += 1;
    for (;;) {
      try {
        const notices = await Promise.all(entry.notices.map(this.#sign));
        this.#signing -= 1;
        this.#enqueue({ ...entry, notices });
        return;
      } catch (error) {
        if (!(error instanceof MessageNotSigned || error instanceof IntakeBusy)) throw error;
        this.#log.error({ code: error.code }, `notice waits to be signed: ${error.message}`);
        await new Promise<void>((resolve) => this.#clock.after(RETRY_MS, resolve));
      }
    }
  }

  async #run(): Promise<void> {
    this.#busy = true;
    // Let the outcomes of this turn of the event loop gather.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0, BATCH_MAX);
      this.#batch = batch;
      await this.#settle(batch);
      this.#batch = [];
      for (const entry of batch) this.#pendingCount -= entry.settlements.length;
    }
    this.#busy = false;
    if (!this.#idle) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  async #settle(batch: readonly Entry[]): Promise<void> {
    const settlements: Settlement[] = [];
    const notices: Submission[] = [];
    for (const entry of batch) {
      for (const settlement of entry.settlements) settlements.push(settlement);
      for (const notice of entry.notices) notices.push(notice);
    }
    for (;;) {
      try {
        const ids = await this.#spool.settle(settlements, notices);
        let next = 0;
        for (const entry of batch) {
          const { length } = entry.notices;
          entry.settled(length === 0 ? NO_IDS : ids.slice(next, next + length));
          next += length;
        }
        return;
      } catch (error) {
        if (!(error instanceof SpoolUnavailable)) throw error;
        this.#log.error(
          { code: error.code, trouble: error.trouble, outcomes: settlements.length },
          'spool cannot record outcomes; trying again',
        );
        await new Promise<void>((resolve) => this.#clock.after(RETRY_MS, resolve));
      }
    }
  }
}
