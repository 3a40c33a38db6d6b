/**
 * One question put to the resolver until there is a response or time is up: UDP, twice again when
 * nothing comes, then TCP when the response is truncated.
 */

import { FLAG } from '../../resolver/wire/constants.ts';
import { hasFlag } from '../../resolver/wire/message.ts';
import type { Random } from '../../runtime/random.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import { askOverTcp } from './dns-tcp.ts';
import type { Question, UdpPath } from './dns-udp.ts';

/** The resolver gives up on its upstreams after 4 s, so after 5 its silence is its own. */
export const GIVE_UP_MS = 5_000;
/** Instants of the second and the third transmission. */
const SEND_AGAIN_AT_MS = [1_500, 3_000] as const;

const ALARM_AGAIN = 0;
const ALARM_GIVE_UP = 1;

export type Ending =
  | { readonly kind: 'response'; readonly message: Uint8Array }
  /** unreachable: the system, not silence alone, said that nobody is there. */
  | { readonly kind: 'none'; readonly unreachable: boolean; readonly overTcp: boolean };

/** Told what happens, for counters. */
export interface ExchangeEvents {
  onSentAgain(): void;
  onTcp(): void;
  onHeard(): void;
}

export class Exchange implements Question, AlarmOwner {
  readonly wire: Uint8Array;
  readonly questionEnd: number;
  /** Resolves once; never rejects. */
  readonly ending: Promise<Ending>;
  readonly #server: Endpoint;
  readonly #path: UdpPath;
  readonly #wheel: TimerWheel;
  readonly #events: ExchangeEvents;
  readonly #again = new Alarm(this, ALARM_AGAIN);
  readonly #giveUp = new Alarm(this, ALARM_GIVE_UP);
  readonly #resolve: (ending: Ending) => void;
  #transmissions = 1;
  #unreachable = false;
  #cancelTcp: (() => void) | null = null;

  constructor(
    question: { readonly wire: Uint8Array; readonly questionEnd: number },
    parts: { readonly server: Endpoint; readonly path: UdpPath; readonly wheel: TimerWheel },
    events: ExchangeEvents,
  ) {
    this.wire = question.wire;
    this.questionEnd = question.questionEnd;
    this.#server = parts.server;
    this.#path = parts.path;
    this.#wheel = parts.wheel;
    this.#events = events;
    const { promise, resolve } = Promise.withResolvers<Ending>();
    this.ending = promise;
    this.#resolve = resolve;
  }

  start(random: Random): Promise<Ending> {
    this.#wheel.arm(this.#giveUp, GIVE_UP_MS);
    this.#wheel.arm(this.#again, SEND_AGAIN_AT_MS[0]);
    this.#path.begin(this, random);
    return this.ending;
  }

  onResponse(message: Uint8Array): void {
    this.#events.onHeard();
    if (!hasFlag(message, FLAG.TC)) {
      this.#finish({ kind: 'response', message });
      return;
    }
    if (this.#cancelTcp !== null) return;
    this.#wheel.disarm(this.#again);
    this.#events.onTcp();
    this.#cancelTcp = askOverTcp(this.#server, this.wire, this.questionEnd, (response) => {
      if (response === null) this.#finish(this.#nothing());
      else this.#finish({ kind: 'response', message: response });
    });
  }

  onUnreachable(): void {
    this.#unreachable = true;
  }

  onClosed(): void {
    this.#finish(this.#nothing());
  }

  onAlarm(kind: number): void {
    if (kind === ALARM_GIVE_UP) {
      this.#finish(this.#nothing());
      return;
    }
    this.#events.onSentAgain();
    const [second, third] = SEND_AGAIN_AT_MS;
    if (this.#transmissions === 1) this.#wheel.arm(this.#again, third - second);
    this.#transmissions += 1;
    this.#path.send(this);
  }

  #nothing(): Ending {
    const overTcp = this.#cancelTcp !== null;
    return { kind: 'none', unreachable: this.#unreachable && !overTcp, overTcp };
  }

  #finish(ending: Ending): void {
    this.#wheel.disarm(this.#again);
    this.#wheel.disarm(this.#giveUp);
    this.#path.end(this);
    this.#cancelTcp?.();
    this.#resolve(ending);
  }
}
