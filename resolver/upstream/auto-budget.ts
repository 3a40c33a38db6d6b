/**
 * `budget = "auto"`: finds how many packets a second this machine gets through, and stays below.
 *
 * Every INTERVAL_MS it looks at what the machine counts (signals.ts) and at our own time-outs. When
 * packets were lost while we sent, the limit falls to CUT of what came through; while there is no loss and
 * the limit is used, it rises by RISE_PACKETS: additive increase, multiplicative decrease. A limit at
 * which the cloud's own counters grew is remembered as a ceiling for a while, so that the same wall is
 * not run into every minute.
 *
 * A time-out alone says nothing of us: a server may be dead or slow. Time-outs count when the upstream
 * answers others of our questions in the same interval, when many of our packets were lost, and when
 * we sent near the limit.
 *
 * Invariants: LIMIT_MIN <= limit <= LIMIT_MAX; at most one cut per HOLD_MS; one reading at a time.
 */
import type { Clock } from '../../runtime/clock.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import type { Budget } from './budget.ts';
import { ALLOWANCES, type Allowance, type Signals } from './signals.ts';
import type { Upstream } from './upstream.ts';

/** Below the 1024 of an AWS interface, which leaves some to others on the machine. */
export const AUTO_PACKETS_INITIAL = 900;
const LIMIT_MIN = 100;
const LIMIT_MAX = 100_000;
const INTERVAL_MS = 1_000;
const RISE_PACKETS = 20;
const CUT = 0.7;
/** The effect of a cut must show before the next. */
const HOLD_MS = 3_000;
/** So much of the limit must be used before it rises, and before time-outs are laid to it. */
const USED_SHARE = 0.8;
const TIMEOUTS_SHARE = 0.05;
const TIMEOUTS_MIN = 5;
const CONNTRACK_FULL = 0.95;
const CEILING_MS = 10 * 60_000;
const CEILING_SHARE = 0.95;

export const CUT_REASONS = [...ALLOWANCES, 'conntrack', 'receive_buffer', 'timeouts'] as const;
export type CutReason = (typeof CUT_REASONS)[number];

export interface AutoBudgetOptions {
  readonly budget: Budget;
  readonly upstreams: readonly Upstream[];
  /** Never rejects. */
  readonly read: () => Promise<Signals>;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly onCut: (reason: CutReason, packetsPerSecond: number) => void;
}

interface Tally {
  readonly signals: Signals;
  readonly sent: number;
  readonly timeouts: number;
  readonly responses: number;
  readonly atMs: number;
}

export class AutoBudget implements AlarmOwner {
  readonly #options: AutoBudgetOptions;
  readonly #alarm = new Alarm(this, 0);
  #last: Tally | null = null;
  #heldUntilMs = 0;
  #ceiling = Number.POSITIVE_INFINITY;
  #ceilingUntilMs = 0;
  #stopped = false;
  readonly cuts: Record<CutReason, number>;

  constructor(options: AutoBudgetOptions) {
    this.#options = options;
    this.cuts = Object.fromEntries(CUT_REASONS.map((reason) => [reason, 0])) as Record<
      CutReason,
      number
    >;
    this.onAlarm();
  }

  /** The limit at which the cloud was last seen to drop packets; null when it was not, or long ago. */
  get ceiling(): number | null {
    const known = this.#options.clock.monotonicMs() < this.#ceilingUntilMs;
    return known ? this.#ceiling : null;
  }

  onAlarm(): void {
    void this.#options.read().then((signals) => {
      if (this.#stopped) return;
      this.#look(signals);
      this.#options.wheel.arm(this.#alarm, INTERVAL_MS);
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#options.wheel.disarm(this.#alarm);
  }

  #look(signals: Signals): void {
    const { budget, upstreams, clock } = this.#options;
    const sum = (of: (upstream: Upstream) => number): number =>
      upstreams.reduce((total, upstream) => total + of(upstream), 0);
    const now: Tally = {
      signals,
      sent: budget.bucket.spentTotal,
      timeouts: sum(({ timeouts }) => timeouts),
      responses: sum(({ responses }) => responses),
      atMs: clock.monotonicMs(),
    };
    const before = this.#last;
    this.#last = now;
    if (before === null || now.atMs <= before.atMs) return;
    const perSecond = 1000 / (now.atMs - before.atMs);
    const rate = (now.sent - before.sent) * perSecond;
    const reason = this.#lossBetween(before, now, rate);
    if (reason !== null) this.#cut(reason, rate, lost(reason, before, now) * perSecond, now.atMs);
    else if (rate >= USED_SHARE * budget.bucket.packetsPerSecond) this.#rise(now.atMs);
  }

  #lossBetween(before: Tally, now: Tally, rate: number): CutReason | null {
    if (now.sent === before.sent) return null;
    for (const allowance of ALLOWANCES) {
      const was = before.signals.exceeded[allowance];
      const is = now.signals.exceeded[allowance];
      if (was !== undefined && is !== undefined && is > was) return allowance;
    }
    const { conntrackFill, udpReceiveErrors } = now.signals;
    if (conntrackFill !== null && conntrackFill >= CONNTRACK_FULL) return 'conntrack';
    if ((udpReceiveErrors ?? 0) > (before.signals.udpReceiveErrors ?? Number.POSITIVE_INFINITY)) {
      return 'receive_buffer';
    }
    const timeouts = now.timeouts - before.timeouts;
    const many = Math.max(TIMEOUTS_MIN, TIMEOUTS_SHARE * (now.sent - before.sent));
    const nearLimit = rate >= USED_SHARE * this.#options.budget.bucket.packetsPerSecond;
    return nearLimit && timeouts >= many && now.responses > before.responses ? 'timeouts' : null;
  }

  #cut(reason: CutReason, rate: number, lostRate: number, nowMs: number): void {
    if (nowMs < this.#heldUntilMs) return;
    const { bucket } = this.#options.budget;
    // Others on the machine lose packets too, so no more than half is taken to be ours.
    const reached = Math.min(Math.max(rate - lostRate, rate / 2), bucket.packetsPerSecond);
    const limit = Math.max(LIMIT_MIN, Math.floor(reached * CUT));
    if (isAllowance(reason)) {
      this.#ceiling = Math.max(LIMIT_MIN, Math.floor(reached * CEILING_SHARE));
      this.#ceilingUntilMs = nowMs + CEILING_MS;
    }
    bucket.setLimit(limit);
    this.#heldUntilMs = nowMs + HOLD_MS;
    this.cuts[reason] += 1;
    this.#options.onCut(reason, limit);
  }

  #rise(nowMs: number): void {
    if (nowMs < this.#heldUntilMs) return;
    const { bucket } = this.#options.budget;
    const risen = bucket.packetsPerSecond + RISE_PACKETS;
    bucket.setLimit(Math.max(LIMIT_MIN, Math.min(risen, this.ceiling ?? LIMIT_MAX, LIMIT_MAX)));
  }
}

const isAllowance = (reason: CutReason): reason is Allowance =>
  ALLOWANCES.some((allowance) => allowance === reason);

/** Packets that the cloud says it dropped meanwhile; 0 when it is not the cloud that says so. */
const lost = (reason: CutReason, before: Tally, now: Tally): number =>
  isAllowance(reason)
    ? (now.signals.exceeded[reason] ?? 0) - (before.signals.exceeded[reason] ?? 0)
    : 0;
