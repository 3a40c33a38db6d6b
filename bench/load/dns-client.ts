/**
 * A client that asks many questions over UDP, so many at once, and sorts what comes back. It never
 * asks twice and gives up when glibc and Postfix do.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { EXTENDED_ERROR, RCODE, TYPE } from '../../resolver/wire/constants.ts';
import { readExtendedError } from '../../resolver/wire/extended-error.ts';
import { textToName } from '../../resolver/wire/names.ts';
import { writeQuery } from '../../resolver/wire/write.ts';
import type { Endpoint } from '../../runtime/settings.ts';

/** glibc's and Postfix's. */
export const CLIENT_TIMEOUT_MS = 5_000;
const SOCKETS = 8;
const SWEEP_MS = 50;
const RECEIVE_BUFFER_OCTETS = 8_388_608;
/** Asked in one turn of the loop, so that answers are read meanwhile. */
const BATCH = 200;

/** failed: SERVFAIL or the like with an extended error that says why; unexplained: without. */
export const ENDINGS = ['answered', 'stale', 'failed', 'unexplained', 'unanswered'] as const;
export type Ending = (typeof ENDINGS)[number];

export interface Ended {
  readonly number: number;
  readonly ending: Ending;
  readonly elapsedMs: number;
  /** When the answer came, on performance.now(). */
  readonly atMs: number;
  /** EXTRA-TEXT, "" without one. */
  readonly reason: string;
}

export interface Asking {
  readonly server: Endpoint;
  /** Name of the question number 0, 1, …; null ends it. */
  nameOf(number: number): string | null;
  readonly outstandingMax: number;
  /** Questions a second; Infinity: as fast as it can. */
  readonly perSecond?: number;
}

interface Waiting {
  readonly number: number;
  readonly sentAtMs: number;
}

/** @returns how each question ended, in the order in which they did */
export async function askAll(asking: Asking): Promise<Ended[]> {
  const run = new Run(asking);
  return run.toEnd();
}

class Run {
  readonly #asking: Asking;
  readonly #sockets: Socket[] = [];
  /** By socket and ID, which counts up and wraps after 65,536 questions. */
  readonly #waiting: Map<number, Waiting>[] = [];
  readonly #ended: Ended[] = [];
  readonly #perSecond: number;
  #outstanding = 0;
  #next = 0;
  #exhausted = false;
  #startedAtMs = 0;
  #done = Promise.withResolvers<void>();

  constructor(asking: Asking) {
    this.#asking = asking;
    this.#perSecond = asking.perSecond ?? Number.POSITIVE_INFINITY;
  }

  async toEnd(): Promise<Ended[]> {
    for (let index = 0; index < SOCKETS; index += 1) await this.#open(index);
    this.#startedAtMs = performance.now();
    const sweep = setInterval(() => this.#sweep(), SWEEP_MS);
    const pump = setInterval(() => this.#pump(), 1);
    this.#pump();
    await this.#done.promise;
    clearInterval(sweep);
    clearInterval(pump);
    for (const socket of this.#sockets) socket.close();
    return this.#ended;
  }

  async #open(index: number): Promise<void> {
    const { address, port } = this.#asking.server;
    const socket = createSocket('udp4');
    const waiting = new Map<number, Waiting>();
    this.#sockets.push(socket);
    this.#waiting.push(waiting);
    socket.on('message', (message) => this.#take(waiting, message));
    socket.connect(port, address);
    await once(socket, 'connect');
    socket.setRecvBufferSize(RECEIVE_BUFFER_OCTETS);
    void index;
  }

  #pump(): void {
    const { outstandingMax, nameOf } = this.#asking;
    const nowMs = performance.now();
    const due = ((nowMs - this.#startedAtMs) / 1_000) * this.#perSecond;
    for (let sent = 0; sent < BATCH && !this.#exhausted; sent += 1) {
      if (this.#outstanding >= outstandingMax || this.#next > due) return;
      const name = nameOf(this.#next);
      if (name === null) this.#exhausted = true;
      else this.#ask(name, nowMs);
    }
    this.#settleIfDone();
  }

  #ask(name: string, nowMs: number): void {
    const number = this.#next++;
    const index = number % SOCKETS;
    const id = Math.floor(number / SOCKETS) % 65_536;
    const wire = textToName(name);
    if (typeof wire === 'number') throw new Error(`not a name: ${name}`);
    this.#waiting[index]!.set(id, { number, sentAtMs: nowMs });
    this.#outstanding += 1;
    this.#sockets[index]!.send(writeQuery({ id, name: wire, type: TYPE.MX }));
  }

  #take(waiting: Map<number, Waiting>, message: Buffer): void {
    const id = message.readUInt16BE(0);
    const asked = waiting.get(id);
    if (asked === undefined) return;
    waiting.delete(id);
    const rcode = message[3]! & 0x0f;
    const error = readExtendedError(message);
    let ending: Ending;
    if (rcode !== RCODE.NOERROR) ending = error === null ? 'unexplained' : 'failed';
    else ending = error?.code === EXTENDED_ERROR.STALE_ANSWER ? 'stale' : 'answered';
    this.#end(asked, ending, error?.text ?? '');
    this.#pump();
  }

  #sweep(): void {
    const limitMs = performance.now() - CLIENT_TIMEOUT_MS;
    for (const waiting of this.#waiting) {
      // In the order of asking, so the first that is young ends it.
      for (const [id, asked] of waiting) {
        if (asked.sentAtMs > limitMs) break;
        waiting.delete(id);
        this.#end(asked, 'unanswered', '');
      }
    }
    this.#settleIfDone();
  }

  #end({ number, sentAtMs }: Waiting, ending: Ending, reason: string): void {
    const atMs = performance.now();
    this.#outstanding -= 1;
    this.#ended.push({ number, ending, elapsedMs: atMs - sentAtMs, atMs, reason });
  }

  #settleIfDone(): void {
    if (this.#exhausted && this.#outstanding === 0) this.#done.resolve();
  }
}

/** @param share 0 to 1. @returns 0 when there are none */
export function percentileMs(ended: readonly Ended[], share: number): number {
  const sorted = Float64Array.from(ended, ({ elapsedMs }) => elapsedMs).sort();
  return sorted.length === 0 ? 0 : sorted[Math.ceil(sorted.length * share) - 1]!;
}

export const countOf = (ended: readonly Ended[], ending: Ending): number =>
  ended.filter((it) => it.ending === ending).length;
