/**
 * What a session has said and means to say: actions decided, commands that must wait, replies awaited.
 *
 * Invariants
 * - Actions are taken in the order in which they were decided; commands decided one behind the other are one.
 * - Replies are awaited in the order of commands.
 */
import type { Action } from './phases.ts';
import type { Transaction, WaitPhase } from './transaction.ts';
import type { Awaited, Unsent, Work } from './work.ts';

const NO_ACTIONS: readonly never[] = [];
/** Answered ones that are kept at the front before the rest moves up: shift() would move it for each. */
const ANSWERED_MAX = 64;

export class Exchange<T extends Transaction> {
  /** Times that octets came in. */
  arrivals = 0;
  #actions: Action<T>[] = [];
  /** Commands decided behind the last action: they become one. */
  #text = '';
  readonly #awaited: Awaited<T>[] = [];
  /** Of these, so many are answered. */
  #answered = 0;
  /** Commands that must wait: all of them in lockstep, none when pipelining. */
  readonly #unsent: Unsent<T>[] = [];

  /** What has been decided since the last call, in order. */
  take(): readonly Action<T>[] {
    this.#endText();
    if (this.#actions.length === 0) return NO_ACTIONS;
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  /** take() has something to give. */
  get decided(): boolean {
    return this.#actions.length > 0 || this.#text !== '';
  }

  /** What the next reply answers; undefined when none is awaited. */
  get head(): Awaited<T> | undefined {
    return this.#answered < this.#awaited.length ? this.#awaited[this.#answered] : undefined;
  }

  get awaits(): number {
    return this.#awaited.length - this.#answered;
  }

  /** The head is answered. */
  answered(): void {
    this.#answered += 1;
    if (this.#answered < this.#awaited.length && this.#answered < ANSWERED_MAX) return;
    this.#awaited.splice(0, this.#answered);
    this.#answered = 0;
  }

  decide(action: Action<T>): void {
    this.#endText();
    this.#actions.push(action);
  }

  /** Part of a command line to come: what goes with it is said to be awaited by itself. */
  write(text: string): void {
    this.#text += text;
  }

  send(text: string, phase: WaitPhase, work: Work<T> | null, recipient = -1): void {
    this.#text += text;
    this.await(phase, work, recipient);
  }

  await(phase: WaitPhase, work: Work<T> | null, recipient = -1): void {
    this.#awaited.push({ phase, work, recipient, sentAfter: this.arrivals });
  }

  /** To be sent by sendNext(). */
  sendLater(text: string, phase: WaitPhase, work: Work<T> | null, recipient: number): void {
    this.#unsent.push({ text, phase, work, recipient });
  }

  /** The next command that had to wait. */
  sendNext(): void {
    const next = this.#unsent.shift();
    if (next !== undefined) this.send(next.text, next.phase, next.work, next.recipient);
  }

  /** Commands that had to wait are not to be sent any more. @returns how many */
  dropUnsent(): number {
    return this.#unsent.splice(0).length;
  }

  /** What was decided to be said and is not taken yet is not said any more. */
  silence(): void {
    this.#actions = this.#actions.filter(({ kind }) => kind !== 'command' && kind !== 'content');
    this.#text = '';
  }

  #endText(): void {
    if (this.#text === '') return;
    this.#actions.push({ kind: 'command', text: this.#text });
    this.#text = '';
  }
}
