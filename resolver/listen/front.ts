/**
 * The core's end of one front: its socket, its thread, and the queries that it could not answer, which
 * are answered from here over the front's own socket.
 *
 * Invariants: the socket outlives the thread, so what arrives while a dead thread is being replaced
 * waits in the kernel; the core sends without waiting; at most one thread at a time.
 */
import type { Worker } from 'node:worker_threads';
import type { Log } from '../../runtime/log.ts';
import { type Endpoint, formatEndpoint } from '../../runtime/settings.ts';
import { startThread } from '../../runtime/thread.ts';
import type { ClockHandle } from '../../runtime/thread-clock.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import type { AnswerTableMemory } from '../cache/answer-table-layout.ts';
import type { Counters } from '../counters.ts';
import { FrontsUnavailable } from '../errors.ts';
import { ANSWER_OCTETS_MAX, type Client } from '../replies.ts';
import { MISSED, type Service } from '../service.ts';
import {
  BATCH_MAX,
  CONTROL_WORDS,
  DatagramBatch,
  PEER_WORDS,
  QUERY_OCTETS_MAX,
} from './datagram-batch.ts';
import { type DatagramSocket, shutDatagramSocket } from './datagram-socket.ts';
import { createFrontMemory, FrontMemory, ORDER } from './front-memory.ts';
import { addTallies } from './front-tallies.ts';
import type { FrontOrders } from './front-thread.ts';
import type { Libc } from './libc.ts';
import { addressOfPeer } from './peer.ts';

/** A thread needs little: no garbage is made while it serves. */
const THREAD_LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 };
/** Before a thread is replaced that died within HEALTHY_MS; doubled each time, up to the second. */
const REPLACE_DELAY_MS = 100;
const REPLACE_DELAY_MS_MAX = 5_000;
/** Queries taken before timers and upstreams get their turn. */
const TAKE_MAX = 1_024;

export interface FrontOptions {
  readonly libc: Libc;
  readonly socket: DatagramSocket;
  readonly table: AnswerTableMemory;
  readonly clock: ClockHandle;
  /** Networks that may ask. */
  readonly allow: readonly string[];
  readonly service: Pick<Service, 'answer' | 'resolve'>;
  readonly counters: Counters;
  readonly wheel: TimerWheel;
  readonly log: Log;
}

export class Front implements AlarmOwner {
  readonly endpoint: Endpoint;
  readonly #options: FrontOptions;
  readonly #buffer = createFrontMemory();
  readonly memory = new FrontMemory(this.#buffer);
  readonly #batch: DatagramBatch;
  readonly #replaceAlarm = new Alarm(this, 0);
  readonly #query = new Uint8Array(QUERY_OCTETS_MAX);
  readonly #from = new Int32Array(PEER_WORDS + CONTROL_WORDS);
  readonly #out = new Uint8Array(ANSWER_OCTETS_MAX);
  #worker: Worker | null = null;
  #deathsInSuccession = 0;
  #closed = false;
  #draining = false;
  #flushIsDue = false;

  constructor(options: FrontOptions) {
    this.#options = options;
    const { libc, socket, counters } = options;
    this.endpoint = socket.endpoint;
    const { fd, family, wildcard } = socket;
    this.#batch = new DatagramBatch({ libc, fd, family, wantsLocal: wildcard });
    addTallies(this.memory.tallies, counters);
  }

  /**
   * Starts the thread, and serves what it cannot.
   *
   * @throws FrontsUnavailable when it dies before it is ready
   */
  async start(): Promise<void> {
    this.#listen();
    const worker = this.#spawn();
    await new Promise<void>((resolve, reject) => {
      let cause = 'the thread ended before it was ready';
      worker.once('message', () => resolve());
      worker.once('error', (error) => (cause = error.message));
      worker.once('exit', () => reject(new FrontsUnavailable(cause)));
    });
  }

  /** Another process holds the socket too. */
  get isShared(): boolean {
    return this.#options.socket.shared;
  }

  /** The thread that serves now; null between two. */
  get worker(): Worker | null {
    return this.#worker;
  }

  /**
   * Ends the thread. What it took is answered from here as before; what it did not take is for whoever
   * else holds the socket.
   */
  async drain(): Promise<void> {
    const worker = this.#worker;
    this.#draining = true;
    this.#options.wheel.disarm(this.#replaceAlarm);
    this.memory.order = ORDER.stop;
    if (worker !== null) await new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    this.memory.wake();
  }

  /** Ends the thread and closes the socket. */
  async close(): Promise<void> {
    const { libc, socket, wheel } = this.#options;
    this.#closed = true;
    wheel.disarm(this.#replaceAlarm);
    this.memory.order = ORDER.stop;
    const worker = this.#worker;
    const ended = new Promise<void>((resolve) => {
      if (worker === null) resolve();
      else worker.once('exit', () => resolve());
    });
    // Whoever shares the socket goes on; then the thread comes round by its own time-out.
    if (!socket.shared) shutDatagramSocket(libc, socket.fd);
    this.memory.wake();
    await ended;
    libc.close(socket.fd);
  }

  onAlarm(): void {
    this.#spawn();
  }

  /** Sends an answer that took time, along with others of this turn of the event loop. */
  send(answer: Uint8Array, from: Int32Array): void {
    if (this.#closed) return;
    this.#queue(answer, from);
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    setImmediate(() => {
      this.#flushIsDue = false;
      if (!this.#closed) this.#flush();
    });
  }

  #spawn(): Worker {
    const { socket, table, clock, allow, log } = this.#options;
    const { fd, family, wildcard } = socket;
    const memory = this.#buffer;
    const orders: FrontOrders = { fd, family, wantsLocal: wildcard, allow, clock, table, memory };
    this.memory.order = ORDER.serve;
    const worker = startThread(new URL('./front-thread.ts', import.meta.url), {
      workerData: orders,
      name: 'front',
      resourceLimits: THREAD_LIMITS,
    });
    this.#worker = worker;
    let cause = 'terminated';
    worker.on('error', (error) => {
      cause = error.message;
    });
    worker.on('message', () => {
      this.#deathsInSuccession = 0;
    });
    worker.on('exit', () => {
      this.#worker = null;
      if (this.#closed || this.#draining) return;
      log.error({ listen: formatEndpoint(this.endpoint), cause }, 'a front died; replacing it');
      this.#replace();
    });
    return worker;
  }

  #replace(): void {
    const delayMs = REPLACE_DELAY_MS * 2 ** this.#deathsInSuccession;
    this.#deathsInSuccession += 1;
    // The first is replaced at once: it served until now.
    if (this.#deathsInSuccession === 1) this.#spawn();
    else this.#options.wheel.arm(this.#replaceAlarm, Math.min(delayMs, REPLACE_DELAY_MS_MAX));
  }

  readonly #listen = (): void => {
    while (!this.#closed) {
      if (this.#takeQueries()) {
        setImmediate(this.#listen);
        return;
      }
      if (this.memory.sleep(this.#listen)) return;
    }
  };

  /** @returns whether there may be more */
  #takeQueries(): boolean {
    const { service, socket } = this.#options;
    const from = this.#from;
    let taken = 0;
    for (; taken < TAKE_MAX; taken += 1) {
      const octets = this.memory.take(this.#query, from);
      if (octets < 0) break;
      const query = this.#query.subarray(0, octets);
      const address = addressOfPeer(from, 0, socket.family);
      const answered = service.answer(query, 'udp', address, this.#out);
      if (answered > 0) this.#queue(this.#out.subarray(0, answered), from);
      else if (answered === MISSED) service.resolve(query, new FrontClient(this, address, from));
    }
    this.#flush();
    return taken === TAKE_MAX;
  }

  #queue(answer: Uint8Array, from: Int32Array): void {
    const batch = this.#batch;
    if (batch.sending === BATCH_MAX) this.#flush();
    const place = batch.sending;
    batch.octets.set(answer, batch.at(place));
    for (let word = 0; word < PEER_WORDS; word += 1) {
      batch.words[batch.peerWord(place) + word] = from[word]!;
    }
    for (let word = 0; word < CONTROL_WORDS; word += 1) {
      batch.words[batch.controlWord(place) + word] = from[PEER_WORDS + word]!;
    }
    batch.queue(place, answer.length);
  }

  #flush(): void {
    if (this.#batch.sending > 0) this.#options.counters.drops.backlog += this.#batch.flush();
  }
}

/** Who waits for an answer over a front's socket. */
class FrontClient implements Client {
  readonly transport = 'udp';
  readonly address: string;
  readonly #front: Front;
  readonly #from: Int32Array;

  constructor(front: Front, address: string, from: Int32Array) {
    this.#front = front;
    this.address = address;
    this.#from = from.slice();
  }

  send(answer: Uint8Array): void {
    this.#front.send(answer, this.#from);
  }
}
