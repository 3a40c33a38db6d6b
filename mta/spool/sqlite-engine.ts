/**
 * The embedded engine of {@link Spool}: this side collects requests into batches for the spool's own
 * thread, where each batch is one commit.
 *
 * Invariants
 * - One batch is under way at a time. What arrives meanwhile makes the next one, so batches grow with
 *   load, and a lone message does not wait.
 * - What waits is bounded: appendsWaitingMax, appendOctetsWaitingMax; beyond them appends are refused.
 * - While trouble() is not null appends are refused here, and the thread is asked once a second whether
 *   the trouble is over.
 */
import { strict as assert } from 'node:assert';
import type { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { startThread } from '../../runtime/thread.ts';
import { LABEL, type MessageId, type Submission } from '../envelope.ts';
import { SpoolLost, SpoolUnavailable, SubmittedBefore } from '../errors.ts';
import { Arena, type Outgoing } from './arena.ts';
import { unpackAnswer } from './parcel.ts';
import type {
  Batch,
  BatchReply,
  Operation,
  Operations,
  Refusal,
  Repeated,
  Request,
  Standing,
  WorkerSetup,
} from './protocol.ts';
import {
  type CensusPage,
  type CensusRequest,
  type DomainDue,
  type ExpiryRequest,
  type Lease,
  type LeasedMessage,
  type LeaseRequest,
  type ListRequest,
  type MessageRequest,
  mayHandOver,
  type QueuedRecipient,
  type Settlement,
  type Spool,
  type SpoolCounts,
  type WaitReason,
} from './spool.ts';
import { asSpoolTrouble, REMEDY, type StoreTrouble } from './trouble.ts';

/** Appends in one commit: beyond this a larger batch saves little, and others would wait. */
const BATCH_APPENDS_MAX = 256;
/** Octets of content in one commit; the first append goes whatever its size. */
const BATCH_OCTETS_MAX = 16 * 1_048_576;
/** Leases, settlements and look-ups in one batch. */
const BATCH_ERRANDS_MAX = 64;
/** Appends not yet answered; intake has its own, lower bounds. */
const APPENDS_WAITING_MAX = 16_384;
const APPEND_OCTETS_WAITING_MAX = 512 * 1_048_576;
/** Of the thread's heap, MiB. Against Node's default it saved 23 MiB of RSS, and no CPU that could be measured. */
const YOUNG_MIB_MAX = 8;
/** How often trouble is looked at. */
const PROBE_MS = 1_000;
/** The thread may take so long over its last commit and checkpoint. */
const CLOSE_MS = 30_000;

export interface SqliteSpoolOptions {
  /** Made when it is missing. */
  readonly folder: string;
  /** Disk space to keep free, octets; below it nothing is appended. */
  readonly reserveBytes: number;
  /** Of the log's files; tests make it small. */
  readonly segmentOctets?: number | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * The spool's thread has died: only another process can open the spool again. Called once; by default
   * the error is thrown where nobody catches it, which ends the process.
   */
  readonly onLost?: ((error: SpoolLost) => void) | undefined;
}

export interface PreparedSpool {
  /**
   * Opens the spool of a folder. Never throws for what may pass: when the folder cannot be used yet,
   * trouble() says why, and the spool opens as soon as it can.
   */
  open(): Promise<Spool>;
}

/**
 * Starts the spool's thread, which takes the better part of opening it, and touches nothing yet: so that
 * whoever waits for another process to let go of the folder has it a moment later.
 */
export function prepareSqliteSpool(options: SqliteSpoolOptions): PreparedSpool {
  const spool = new SqliteSpool(options);
  return {
    async open() {
      await spool.probe();
      return spool;
    },
  };
}

/** As {@link PreparedSpool.open} does. */
export const openSqliteSpool = (options: SqliteSpoolOptions): Promise<Spool> =>
  prepareSqliteSpool(options).open();

interface Waiting {
  readonly request: Request;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

interface WaitingAppend extends Outgoing {
  resolve(kept: MessageId | Repeated): void;
  reject(error: Error): void;
}

class SqliteSpool implements Spool {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #folder: string;
  readonly #onLost: (error: SpoolLost) => void;
  readonly #worker: Worker;
  readonly #arena = new Arena();
  #appends: WaitingAppend[] = [];
  #errands: Waiting[] = [];
  #appendsUnderWay: WaitingAppend[] = [];
  #errandsUnderWay: Waiting[] = [];
  #appendOctets = 0;
  #sequence = 0;
  #isScheduled = false;
  #trouble: { readonly standing: Standing; readonly reason: WaitReason } | null = null;
  #probeTimer: Timer | null = null;
  #closing: Promise<void> | null = null;
  /** Set when the thread is gone: then nothing is ever sent again. */
  #ended: Standing | null = null;

  constructor({
    folder,
    reserveBytes,
    segmentOctets,
    clock,
    log,
    onLost = raise,
  }: SqliteSpoolOptions) {
    this.#folder = folder;
    this.#onLost = onLost;
    this.#clock = clock;
    this.#log = log;
    const setup: WorkerSetup = { folder, reserveBytes, segmentOctets };
    this.#worker = startThread(new URL('./sqlite-worker.ts', import.meta.url), {
      name: 'spool',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB_MAX },
      workerData: setup,
    });
    this.#worker.on('message', (reply: BatchReply) => this.#onReply(reply));
    this.#worker.on('error', (error) => {
      this.#onEnd(`the thread of the spool failed: ${error}`, error);
    });
    this.#worker.on('exit', () => this.#onEnd('the thread of the spool has ended'));
  }

  async append(submission: Submission, handOver = false): Promise<MessageId> {
    assert(!handOver || mayHandOver(submission), 'the message may be handed over');
    const refusal = this.#refusalOf(submission);
    if (refusal !== null) throw refusal;
    this.#appendOctets += submission.content.length;
    const kept = await new Promise<MessageId | Repeated>((resolve, reject) => {
      this.#appends.push({ submission, handOver, resolve, reject });
      this.#schedule();
    });
    if (typeof kept === 'number') return kept;
    throw new SubmittedBefore(kept.message, kept.digest);
  }

  lease(request: LeaseRequest): Promise<Lease> {
    return this.#ask('lease', request);
  }

  leaseExpired(request: ExpiryRequest): Promise<readonly LeasedMessage[]> {
    return this.#ask('leaseExpired', request);
  }

  leaseMessage(request: MessageRequest): Promise<LeasedMessage | null> {
    return this.#ask('leaseMessage', request);
  }

  settle(
    settlements: readonly Settlement[],
    notices: readonly Submission[],
  ): Promise<readonly MessageId[]> {
    for (const notice of notices) assertSound(notice);
    return this.#ask('settle', { ...packed(settlements), notices });
  }

  domains(afterDomain: string | null, limit: number): Promise<readonly DomainDue[]> {
    return this.#ask('domains', { after: afterDomain, limit });
  }

  inspect(message: MessageId): Promise<readonly QueuedRecipient[]> {
    return this.#ask('inspect', message);
  }

  async list({ domain, after, limit }: ListRequest): Promise<readonly QueuedRecipient[]> {
    const rows: QueuedRecipient[] = [];
    let from = after;
    do {
      const page = await this.#ask('list', { domain, after: from, limit: limit - rows.length });
      rows.push(...page.rows);
      from = page.resume;
    } while (from !== null && rows.length < limit);
    return rows;
  }

  census(request: CensusRequest): Promise<CensusPage> {
    return this.#ask('census', request);
  }

  counts(): Promise<SpoolCounts> {
    return this.#ask('counts', null);
  }

  trouble(): WaitReason | null {
    return this.#trouble?.reason ?? null;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async probe(): Promise<void> {
    this.#probeTimer = null;
    await this.#ask('probe', null).catch(() => undefined);
  }

  async #close(): Promise<void> {
    this.#probeTimer?.cancel();
    let timer: Timer | null = null;
    const late = new Promise<void>((resolve) => {
      timer = this.#clock.after(CLOSE_MS, resolve);
    });
    await Promise.race([this.#enqueue('close', null).catch(() => undefined), late]);
    (timer as Timer | null)?.cancel();
    await this.#worker.terminate();
  }

  #ask<Op extends Operation>(
    op: Op,
    asks: Operations[Op]['asks'],
  ): Promise<Operations[Op]['yields']> {
    if (this.#closing !== null) {
      return Promise.reject(new SpoolUnavailable('closed', 'the spool is being closed'));
    }
    return this.#enqueue(op, asks);
  }

  #enqueue<Op extends Operation>(
    op: Op,
    asks: Operations[Op]['asks'],
  ): Promise<Operations[Op]['yields']> {
    if (this.#ended !== null) {
      return Promise.reject(unavailable(this.#ended.trouble, this.#ended.message));
    }
    return new Promise<Operations[Op]['yields']>((resolve, reject) => {
      const waiting = {
        request: { op, asks } as Request,
        resolve: resolve as (value: unknown) => void,
        reject,
      };
      this.#errands.push(waiting);
      this.#schedule();
    });
  }

  /** At the end of this turn of the loop, so that what arrives in it shares a commit. */
  #schedule(): void {
    if (this.#isScheduled || this.#isUnderWay) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#send();
    });
  }

  get #isUnderWay(): boolean {
    return this.#appendsUnderWay.length > 0 || this.#errandsUnderWay.length > 0;
  }

  #send(): void {
    if (this.#ended !== null || this.#isUnderWay) return;
    const errands = this.#errands.splice(0, BATCH_ERRANDS_MAX);
    const appends = this.#appends.splice(0, this.#appendsInBatch());
    // Appends handed in before close() are still to be committed: it goes with the last of them.
    if (errands.at(-1)?.request.op === 'close' && this.#appends.length > 0) {
      this.#errands.push(errands.pop()!);
    }
    this.#errandsUnderWay = errands;
    this.#appendsUnderWay = appends;
    if (!this.#isUnderWay) return;
    this.#sequence += 1;
    const batch: Batch = {
      sequence: this.#sequence,
      nowMs: this.#clock.wallMs(),
      appends: appends.length === 0 ? null : this.#arena.layOut(appends),
      requests: errands.map(({ request }) => request),
    };
    this.#worker.postMessage(batch);
  }

  #appendsInBatch(): number {
    let octets = 0;
    let count = 0;
    for (const { submission } of this.#appends) {
      if (count === BATCH_APPENDS_MAX) break;
      octets += submission.content.length;
      if (count > 0 && octets > BATCH_OCTETS_MAX) break;
      count += 1;
    }
    return count;
  }

  #onReply({ sequence, appended, answers, standing, incidents }: BatchReply): void {
    assert.equal(sequence, this.#sequence, 'replies come in order');
    for (const { level, fields, message } of incidents) this.#log[level](fields, message);
    const errands = this.#errandsUnderWay;
    const appends = this.#appendsUnderWay;
    this.#errandsUnderWay = [];
    this.#appendsUnderWay = [];
    this.#stand(standing);
    for (const [at, { submission, resolve, reject }] of appends.entries()) {
      this.#appendOctets -= submission.content.length;
      if (appended?.ok === true) resolve(appended.ids[at]!);
      else reject(errorOf(appended!));
    }
    for (const [at, { request, resolve, reject }] of errands.entries()) {
      const answer = answers[at]!;
      if (answer.ok) resolve(unpackAnswer(request, answer.value));
      else reject(errorOf(answer));
    }
    if (this.#appends.length > 0 || this.#errands.length > 0) this.#schedule();
  }

  #stand(standing: Standing | null): void {
    const before = this.#trouble;
    if (standing === null) {
      this.#trouble = null;
      if (before !== null) this.#log.info({ folder: this.#folder }, 'the spool takes mail again');
      return;
    }
    if (this.#closing === null) {
      this.#probeTimer ??= this.#clock.after(PROBE_MS, () => void this.probe());
    }
    if (before?.standing.trouble === standing.trouble) return;
    const { trouble, message } = standing;
    const text = `${message}; to end this: ${REMEDY[trouble]}`;
    const sinceMs = this.#clock.wallMs();
    this.#trouble = { standing, reason: { code: `spool-${trouble}`, text, sinceMs } };
    if (this.#closing === null) {
      this.#log.error({ folder: this.#folder, trouble }, `the spool takes no mail: ${text}`);
    }
  }

  #refusalOf(submission: Submission): Error | null {
    assertSound(submission);
    if (this.#closing !== null) {
      return new SpoolUnavailable('closed', 'the spool is being closed');
    }
    if (this.#ended !== null) return unavailable(this.#ended.trouble, this.#ended.message);
    if (this.#trouble !== null) {
      const { standing, reason } = this.#trouble;
      return unavailable(standing.trouble, reason.text);
    }
    const waits = this.#appends.length + this.#appendsUnderWay.length;
    if (
      waits < APPENDS_WAITING_MAX &&
      this.#appendOctets + submission.content.length <= APPEND_OCTETS_WAITING_MAX
    ) {
      return null;
    }
    return unavailable(
      'busy',
      `${waits} messages with ${this.#appendOctets} octets wait to be written`,
    );
  }

  /** The thread is gone. After close() that is what was wanted; else nothing here can bring it back. */
  #onEnd(message: string, cause: unknown = null): void {
    if (this.#ended !== null) return;
    const standing: Standing = { trouble: 'closed', message };
    this.#ended = standing;
    this.#probeTimer?.cancel();
    this.#stand(standing);
    const errands = [...this.#errandsUnderWay, ...this.#errands];
    const lost = [...errands, ...this.#appendsUnderWay, ...this.#appends];
    this.#errandsUnderWay = [];
    this.#appendsUnderWay = [];
    this.#errands = [];
    this.#appends = [];
    for (const { reject } of lost) reject(new SpoolUnavailable('closed', message));
    if (this.#closing === null) this.#onLost(new SpoolLost(message, { cause }));
  }
}

const raise = (error: SpoolLost): never => {
  throw error;
};

const unavailable = (trouble: StoreTrouble, message: string): SpoolUnavailable =>
  new SpoolUnavailable(asSpoolTrouble(trouble), message);

/** Most are done, and say no more than their key: numbers cross to the other thread as one piece. */
function packed(settlements: readonly Settlement[]): { done: Float64Array; others: Settlement[] } {
  const others = settlements.filter(({ kind }) => kind !== 'done');
  const done = new Float64Array(2 * (settlements.length - others.length));
  let at = 0;
  for (const { kind, key } of settlements) {
    if (kind !== 'done') continue;
    done[at] = key.message;
    done[at + 1] = key.index;
    at += 2;
  }
  return { done, others };
}

const errorOf = ({ trouble, message }: Refusal): Error =>
  trouble === null ? new Error(message) : unavailable(trouble, message);

/** Our own callers' duty: somebody to deliver to, each recipient once, and labels that are labels. */
function assertSound({ envelope, tenant = '', campaign = '' }: Submission): void {
  assert(tenant === '' || LABEL.test(tenant), 'the tenant is a label');
  assert(campaign === '' || LABEL.test(campaign), 'the campaign is a label');
  let last = -1;
  for (const { index, domain } of envelope.recipients) {
    assert(index > last, 'recipients are in order of index');
    assert(domain !== '', 'every recipient has a domain');
    last = index;
  }
  assert(last >= 0, 'a message has recipients');
}
