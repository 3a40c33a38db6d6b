/**
 * Signs messages before they are kept, in threads of their own: RSA costs more than all the rest of a
 * message's way through the mta.
 *
 *   sign ─► waiting ─batch─► thread ─fields─► put in front of the content
 *
 * Invariants
 * - What is waiting or in a thread is bounded: WAITING_MAX messages, WAITING_OCTETS_MAX octets; beyond
 *   that sign() refuses with IntakeBusy.
 * - A message that a key is meant for is resolved signed, or rejected; never resolved unsigned.
 * - A thread has at most BATCHES_MAX batches, answered in order.
 */
import { domainToASCII } from 'node:url';
import type { Worker } from 'node:worker_threads';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { startThread } from '../../runtime/thread.ts';
import type { Submission } from '../envelope.ts';
import { IntakeBusy, MessageNotSigned } from '../errors.ts';
import type { KeyRing, Signing } from './dkim.ts';
import { KeyStore, type SigningConfig } from './keys.ts';
import type { Job, Keys, Order, Results } from './protocol.ts';

const WAITING_MAX = 4_096;
const WAITING_OCTETS_MAX = 256 * 1_048_576;
/** RSA signatures of 260 µs: a batch is done within 5 ms, and the cost of handing it over is spread. */
const BATCH_MAX = 16;
const BATCH_OCTETS_MAX = 4 * 1_048_576;
/** The second one is at hand when the first is done, however busy the mta's thread is. */
const BATCHES_MAX = 2;
/** A thread that has died is followed by another after so long. */
const RESTART_MS = 1_000;

export interface SignerDeps {
  readonly clock: Clock;
  readonly log: Log;
}

export interface SigningCounters {
  /** Signatures made, by algorithm. */
  readonly signatures: Record<'rsa-sha256' | 'ed25519-sha256', number>;
  /** Messages that a key was meant for and that could not be signed. */
  failures: number;
}

interface Waiting {
  readonly job: Job;
  resolve(fields: string): void;
  reject(error: Error): void;
}

interface Thread {
  readonly worker: Worker;
  readonly batches: (readonly Waiting[])[];
}

export class Signer {
  readonly counters: SigningCounters = {
    signatures: { 'rsa-sha256': 0, 'ed25519-sha256': 0 },
    failures: 0,
  };
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #threadsMax: number;
  readonly #store: KeyStore;
  readonly #threads = new Set<Thread>();
  #keys: Keys = [];
  #waiting: Waiting[] = [];
  /** Messages and octets waiting or in a thread. */
  #messages = 0;
  #octets = 0;
  #scheduled = false;
  #closed = false;

  private constructor(config: SigningConfig, { clock, log }: SignerDeps) {
    this.#clock = clock;
    this.#log = log;
    this.#threadsMax = config.dkim_threads;
    const onChange = (ring: KeyRing): void => this.#useKeys([...ring]);
    this.#store = new KeyStore(config, { clock, log, onChange });
  }

  /**
   * A bad key is no reason to reject: mail of its domain is refused, and `problems` says why.
   * @throws Error when the folder of keys cannot be read
   */
  static async open(config: SigningConfig, deps: SignerDeps): Promise<Signer> {
    const signer = new Signer(config, deps);
    await signer.#store.open();
    return signer;
  }

  /** What an operator must mend, one sentence each. */
  get problems(): readonly string[] {
    return this.#store.problems;
  }

  /**
   * @returns the submission with its signatures in front, or as it is when no key is meant for it
   * @throws MessageNotSigned, IntakeBusy
   */
  async sign(submission: Submission): Promise<Submission> {
    if (this.#keys.length === 0) return submission;
    const { content, envelope, headroom = 0 } = submission;
    const reversePathDomain = domainOf(envelope.reversePath);
    const fields = await this.#ask({ content, reversePathDomain });
    return fields === '' ? submission : { ...submission, ...prepend(fields, content, headroom) };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#store.close();
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()));
  }

  #ask(job: Job): Promise<string> {
    if (this.#threads.size === 0) {
      this.counters.failures += 1;
      return Promise.reject(new MessageNotSigned('no signing thread runs'));
    }
    const octets = job.content.length;
    if (this.#messages >= WAITING_MAX || this.#octets + octets > WAITING_OCTETS_MAX) {
      const text = `${this.#messages} messages with ${this.#octets} octets wait to be signed`;
      return Promise.reject(new IntakeBusy('dkim_waiting', text));
    }
    this.#messages += 1;
    this.#octets += octets;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      this.#schedule();
    });
  }

  /** At the end of this turn of the loop, so that what arrives in it shares a batch. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#handOut();
    });
  }

  #handOut(): void {
    for (let batches = 0; batches < BATCHES_MAX; batches += 1) {
      for (const thread of this.#threads) {
        if (this.#waiting.length === 0) return;
        if (thread.batches.length <= batches) this.#send(thread);
      }
    }
  }

  #send(thread: Thread): void {
    // Shared out evenly, so that few messages keep all threads busy.
    const share = Math.ceil(this.#waiting.length / this.#threads.size);
    let count = 0;
    for (let octets = 0; count < Math.min(share, BATCH_MAX); count += 1) {
      octets += this.#waiting[count]!.job.content.length;
      if (count > 0 && octets > BATCH_OCTETS_MAX) break;
    }
    const batch = this.#waiting.splice(0, count);
    thread.batches.push(batch);
    const seconds = Math.floor(this.#clock.wallMs() / 1000);
    this.#tell(thread, { kind: 'batch', seconds, jobs: batch.map(({ job }) => job) });
  }

  #tell({ worker }: Thread, order: Order): void {
    worker.postMessage(order);
  }

  #useKeys(keys: Keys): void {
    this.#keys = keys;
    for (const thread of this.#threads) this.#tell(thread, { kind: 'keys', keys });
    if (keys.length === 0) return;
    while (this.#threads.size < this.#threadsMax) this.#start();
  }

  #start(): void {
    const worker = startThread(new URL('./sign-worker.ts', import.meta.url), { name: 'dkim' });
    const thread: Thread = { worker, batches: [] };
    this.#threads.add(thread);
    worker.on('message', (results: Results) => this.#onResults(thread, results));
    worker.on('error', (error) => this.#onEnd(thread, `a signing thread failed: ${error}`));
    worker.on('exit', () => this.#onEnd(thread, 'a signing thread has ended'));
    this.#tell(thread, { kind: 'keys', keys: this.#keys });
  }

  #onResults(thread: Thread, results: Results): void {
    const batch = thread.batches.shift()!;
    for (const [at, waiting] of batch.entries()) this.#settle(waiting, results[at]!);
    if (this.#waiting.length > 0) this.#handOut();
  }

  #settle({ job, resolve, reject }: Waiting, signing: Signing): void {
    this.#messages -= 1;
    this.#octets -= job.content.length;
    if (signing.fault === null) {
      for (const algorithm of signing.algorithms) this.counters.signatures[algorithm] += 1;
      resolve(signing.fields);
      return;
    }
    this.counters.failures += 1;
    this.#log.error({ fault: signing.fault }, `message not signed: ${signing.text}`);
    reject(new MessageNotSigned(signing.text));
  }

  #onEnd(thread: Thread, text: string): void {
    if (!this.#threads.delete(thread)) return;
    const lost = thread.batches.splice(0).flat();
    // Nobody is left to take them.
    if (this.#threads.size === 0) lost.push(...this.#waiting.splice(0));
    for (const waiting of lost) this.#settle(waiting, { fault: 'key', text });
    if (this.#closed) return;
    this.#log.error({ messages: lost.length }, `${text}; another follows`);
    this.#clock.after(RESTART_MS, () => {
      if (this.#closed || this.#threads.size >= this.#threadsMax) return;
      this.#start();
      this.#schedule();
    });
  }
}

/** A-labels in lower case; '' for the null reverse-path. */
const domainOf = (reversePath: string): string =>
  domainToASCII(reversePath.slice(reversePath.lastIndexOf('@') + 1));

/** In the room that is left before the content, where it is large enough; else in a copy. */
function prepend(
  fields: string,
  content: Uint8Array,
  headroom: number,
): Pick<Submission, 'content' | 'headroom'> {
  const octets = fields.length;
  const roomy = octets <= headroom;
  const length = octets + content.length;
  const signed = roomy
    ? Buffer.from(content.buffer, content.byteOffset - octets, length)
    : Buffer.allocUnsafeSlow(length);
  if (!roomy) signed.set(content, octets);
  signed.write(fields, 0, 'latin1');
  return { content: signed, headroom: roomy ? headroom - octets : 0 };
}
