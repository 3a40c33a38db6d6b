/**
 * Asks upstreams that are down whether they are back, every one to two seconds, so that an outage
 * ends for us when it ends (an upstream backed off for minutes is an outage of our making).
 * The question is for the name servers of the root: every resolver has them at hand.
 *
 * Invariant: while an upstream is down a probe of it is due within PROBE_MS_MAX; otherwise nothing runs.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import { HEADER_OCTETS, QUESTION_FIXED_OCTETS, TYPE } from '../wire/constants.ts';
import { ROOT_NAME } from '../wire/names.ts';
import { writeQuery } from '../wire/write.ts';
import { type Budget, type BudgetWaiter, LANE, Place } from './budget.ts';
import type { Route } from './group.ts';
import type { StreamExchange, StreamOwner } from './stream.ts';
import type { UdpExchange, UdpOwner } from './udp.ts';
import type { Upstream } from './upstream.ts';

const PROBE_MS_MIN = 1_000;
const PROBE_MS_MAX = 2_000;
const QUESTION_END = HEADER_OCTETS + ROOT_NAME.length + QUESTION_FIXED_OCTETS;
/** Without EDNS: whoever is back must answer this. */
const QUERY = writeQuery({ id: 0, name: ROOT_NAME, type: TYPE.NS, edns: false });

export class Prober implements AlarmOwner {
  readonly #probes: readonly Probe[];
  readonly #random: Random;
  readonly #wheel: TimerWheel;
  readonly #alarm = new Alarm(this, 0);

  constructor(
    routes: readonly { readonly route: Route; readonly budget: Budget }[],
    { clock, random, wheel }: { clock: Clock; random: Random; wheel: TimerWheel },
    onReturned: (upstream: Upstream) => void,
  ) {
    this.#random = random;
    this.#wheel = wheel;
    this.#probes = routes.map(({ route, budget }) => new Probe(route, budget, clock, onReturned));
  }

  /** Some upstream has gone down. */
  wake(): void {
    if (this.#alarm.armed) return;
    const delayMs = PROBE_MS_MIN + this.#random.integer(PROBE_MS_MAX - PROBE_MS_MIN);
    this.#wheel.arm(this.#alarm, delayMs);
  }

  onAlarm(): void {
    let anyDown = false;
    for (const probe of this.#probes) {
      probe.close();
      if (probe.upstream.up) continue;
      anyDown = true;
      probe.send();
    }
    if (anyDown) this.wake();
  }

  stop(): void {
    this.#wheel.disarm(this.#alarm);
    for (const probe of this.#probes) probe.close();
  }
}

class Probe implements UdpOwner, StreamOwner, BudgetWaiter {
  readonly upstream: Upstream;
  readonly lane = LANE.probe;
  readonly #route: Route;
  readonly #budget: Budget;
  readonly #clock: Clock;
  readonly #onReturned: (upstream: Upstream) => void;
  readonly #place: Place;
  #datagram: UdpExchange | null = null;
  #stream: StreamExchange | null = null;
  #sentAtMs = 0;

  constructor(
    route: Route,
    budget: Budget,
    clock: Clock,
    onReturned: (upstream: Upstream) => void,
  ) {
    this.upstream = route.upstream;
    this.#route = route;
    this.#budget = budget;
    this.#clock = clock;
    this.#onReturned = onReturned;
    this.#place = new Place(this, route.upstream.bucket);
  }

  send(): void {
    const packets = this.#route.udp === null ? this.#route.stream.askPackets : 1;
    if (this.#budget.take(this.#place, packets)) this.onGranted();
  }

  onGranted(): void {
    const { udp, stream } = this.#route;
    this.#sentAtMs = this.#clock.monotonicMs();
    if (udp === null) {
      this.#stream = stream.ask(QUERY, QUESTION_END, this);
      return;
    }
    this.#datagram = udp.open(QUERY, QUESTION_END, this);
    if (this.#datagram !== null) udp.send(this.#datagram);
  }

  onDatagram(): void {
    this.#noteResponse();
  }

  onStreamResponse(): void {
    this.#stream = null;
    this.#noteResponse();
  }

  onNearMiss(): void {
    // Somebody guesses at a question that matters to nobody; the right answer may still come.
  }

  onUdpError(code: string): void {
    this.close();
    this.upstream.noteUnreachable(code);
  }

  onStreamError(code: string): void {
    this.#stream = null;
    this.upstream.noteUnreachable(code);
  }

  close(): void {
    this.#budget.leave(this.#place);
    if (this.#datagram !== null) this.#route.udp?.close(this.#datagram);
    if (this.#stream !== null) this.#route.stream.close(this.#stream);
    this.#datagram = null;
    this.#stream = null;
  }

  #noteResponse(): void {
    this.close();
    const returned = this.upstream.noteResponse(this.#clock.monotonicMs() - this.#sentAtMs);
    if (returned) this.#onReturned(this.upstream);
  }
}
