/**
 * Many deadlines over one timer. A busy resolver arms and disarms several per query; an object of the
 * event loop for each would cost more than the query.
 *
 * Invariants: an {@link Alarm} is in at most one slot; the loop's timer runs exactly while some alarm
 * is armed; an alarm never fires early, and at most one tick (and the loop's own delay) late.
 */
import type { Clock, Timer } from './clock.ts';

/** Coarse enough to be nearly free, fine beside the shortest time-out in use (100 ms). */
export const TICK_MS = 10;
/** Power of two. Alarms further away than SLOTS ticks (10 s) stay in their slot for another turn. */
const SLOTS = 1024;

/** Told which of its alarms is due; `kind` is the owner's own numbering. */
export interface AlarmOwner {
  onAlarm(kind: number): void;
}

/** One deadline of one owner; armed and disarmed any number of times. */
export class Alarm {
  readonly owner: AlarmOwner;
  readonly kind: number;
  /** Tick at which it fires; -1 while disarmed. Fields below belong to the wheel. */
  dueTick = -1;
  next: Alarm | null = null;
  previous: Alarm | null = null;

  constructor(owner: AlarmOwner, kind: number) {
    this.owner = owner;
    this.kind = kind;
  }

  get armed(): boolean {
    return this.dueTick !== -1;
  }
}

export class TimerWheel {
  readonly #clock: Clock;
  readonly #slots: (Alarm | null)[] = Array.from({ length: SLOTS }, () => null);
  /** Every alarm due at or before this tick has fired. */
  #doneTick: number;
  #armed = 0;
  #timer: Timer | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#doneTick = this.#tickNow();
  }

  /** Alarms armed now. */
  get size(): number {
    return this.#armed;
  }

  /** Fires `delayMs` from now; an armed alarm is moved. */
  arm(alarm: Alarm, delayMs: number): void {
    this.disarm(alarm);
    if (this.#armed === 0) this.#doneTick = this.#tickNow();
    const dueMs = this.#clock.monotonicMs() + Math.max(delayMs, 0);
    alarm.dueTick = Math.max(Math.ceil(dueMs / TICK_MS), this.#doneTick + 1);
    const slot = alarm.dueTick % SLOTS;
    const head = this.#slots[slot]!;
    alarm.next = head;
    if (head !== null) head.previous = alarm;
    this.#slots[slot] = alarm;
    this.#armed += 1;
    this.#timer ??= this.#clock.after(TICK_MS, this.#turn);
  }

  /** No effect on an alarm that is not armed. */
  disarm(alarm: Alarm): void {
    if (alarm.dueTick === -1) return;
    if (alarm.previous === null) this.#slots[alarm.dueTick % SLOTS] = alarm.next;
    else alarm.previous.next = alarm.next;
    if (alarm.next !== null) alarm.next.previous = alarm.previous;
    alarm.next = null;
    alarm.previous = null;
    alarm.dueTick = -1;
    this.#armed -= 1;
  }

  /** Disarms every alarm and leaves no timer behind. */
  stop(): void {
    for (let slot = 0; slot < SLOTS; slot += 1) {
      for (let alarm = this.#slots[slot]!; alarm !== null; alarm = this.#slots[slot]!) {
        this.disarm(alarm);
      }
    }
    this.#timer?.cancel();
    this.#timer = null;
  }

  #tickNow(): number {
    return Math.floor(this.#clock.monotonicMs() / TICK_MS);
  }

  readonly #turn = (): void => {
    this.#timer = null;
    const nowTick = this.#tickNow();
    // After a long pause one full turn visits every slot; more would visit them again.
    let tick = Math.max(this.#doneTick + 1, nowTick - SLOTS + 1);
    this.#doneTick = nowTick;
    for (; tick <= nowTick && this.#armed > 0; tick += 1) this.#fireSlot(tick % SLOTS, nowTick);
    if (this.#armed > 0) this.#timer ??= this.#clock.after(TICK_MS, this.#turn);
  };

  #fireSlot(slot: number, nowTick: number): void {
    // An owner may disarm its neighbours, so the walk restarts after each alarm that fired. It ends:
    // whatever is armed meanwhile is due after nowTick.
    let alarm = this.#slots[slot]!;
    while (alarm !== null) {
      if (alarm.dueTick > nowTick) {
        alarm = alarm.next!;
        continue;
      }
      this.disarm(alarm);
      alarm.owner.onAlarm(alarm.kind);
      alarm = this.#slots[slot]!;
    }
  }
}
