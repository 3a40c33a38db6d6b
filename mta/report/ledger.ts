/**
 * A small database beside the spool for what reports and feedback have to remember: tallies of TLS
 * sessions, suppressed addresses. Written in a thread of its own, many statements in one commit; read
 * here, at once.
 *
 * Invariants
 * - run() resolves when the change would survive power loss; until then no read may show it.
 * - Statements take effect in the order they were given, and each either wholly or not at all.
 * - Waiting statements <= WAITING_MAX; beyond that run() rejects at once.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import type { Log } from '../../runtime/log.ts';
import { startThread } from '../../runtime/thread.ts';

const WAITING_MAX = 50_000;
/** Statements of one commit: about 10 ms of work, and the cost of its sync is spread. */
const BATCH_MAX = 1_000;
/** A reader meets a writer's lock only for a moment, when the log is moved into the database. */
const BUSY_MS = 2_000;
const YOUNG_MIB_MAX = 8;

export type SqlValue = string | number | null;
export type Statement = readonly [sql: string, ...values: SqlValue[]];

/** The thread's vocabulary. */
export interface LedgerSetup {
  readonly path: string;
  readonly schema: readonly string[];
  /** Wall ms; names what is put aside. */
  readonly nowMs: number;
}
export type LedgerReply =
  | { readonly kind: 'open'; readonly damaged: string | null }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'done'; readonly changes: readonly number[] }
  | { readonly kind: 'refused'; readonly message: string };

/** The change was not kept; it may be tried again. */
export class LedgerUnavailable extends Error {
  override readonly name = 'LedgerUnavailable';
  readonly code = 'MTA_LEDGER_UNAVAILABLE';
}

export interface LedgerOptions {
  readonly path: string;
  /** CREATE TABLE IF NOT EXISTS …, run when it is opened. */
  readonly schema: readonly string[];
  readonly nowMs: number;
  readonly log: Log;
}

interface Waiting {
  readonly statement: Statement;
  resolve(changes: number): void;
  reject(error: Error): void;
}

export class Ledger {
  readonly #worker: Worker;
  readonly #reader: Database.Database;
  readonly #selects = new Map<string, Database.Statement>();
  readonly #log: Log;
  #waiting: Waiting[] = [];
  #underWay: Waiting[] = [];
  #scheduled = false;
  #ended = false;
  #idle: (() => void) | null = null;
  /** Why the last change was not kept, in a sentence, or null. */
  trouble: string | null = null;

  private constructor(worker: Worker, reader: Database.Database, log: Log) {
    this.#worker = worker;
    this.#reader = reader;
    this.#log = log;
    worker.on('message', (reply: LedgerReply) => this.#onReply(reply));
    worker.on('error', (error) => this.#onEnd(String(error)));
    worker.on('exit', () => this.#onEnd('its thread has ended'));
  }

  /**
   * A damaged file is put aside, and an empty one begun; the log says so.
   * @throws Error when the file cannot be opened
   */
  static async open({ path, schema, nowMs, log }: LedgerOptions): Promise<Ledger> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const setup: LedgerSetup = { path, schema, nowMs };
    const worker = startThread(new URL('./ledger-worker.ts', import.meta.url), {
      name: 'ledger',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB_MAX },
      workerData: setup,
    });
    const reply = await new Promise<LedgerReply>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    if (reply.kind !== 'open') {
      await worker.terminate();
      throw new Error(`${path}: ${reply.kind === 'failed' ? reply.message : reply.kind}`);
    }
    if (reply.damaged !== null) {
      log.error({ path, aside: reply.damaged }, 'the ledger was damaged; an empty one was begun');
    }
    const reader = new Database(path, { readonly: true, fileMustExist: true, timeout: BUSY_MS });
    return new Ledger(worker, reader, log);
  }

  /**
   * @returns rows changed
   * @throws LedgerUnavailable
   */
  run(...statement: Statement): Promise<number> {
    if (this.#ended || this.#waiting.length >= WAITING_MAX) {
      const text = this.#ended ? 'the ledger is closed' : 'too much waits for the ledger';
      return Promise.reject(new LedgerUnavailable(text));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ statement, resolve, reject });
      this.#schedule();
    });
  }

  /** What is committed. Rows are the caller's to type, as its SELECT names them. */
  all<Row>(sql: string, ...values: SqlValue[]): Row[] {
    return this.#select(sql).all(...values) as Row[];
  }

  get<Row>(sql: string, ...values: SqlValue[]): Row | undefined {
    return this.#select(sql).get(...values) as Row | undefined;
  }

  /** Commits what was handed in, then closes. Idempotent. */
  async close(): Promise<void> {
    if (this.#ended) return;
    if (this.#waiting.length > 0 || this.#underWay.length > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    this.#ended = true;
    this.#reader.close();
    await new Promise<void>((resolve) => {
      this.#worker.once('exit', () => resolve());
      this.#worker.postMessage(null);
    });
  }

  #select(sql: string): Database.Statement {
    let select = this.#selects.get(sql);
    if (select === undefined) {
      select = this.#reader.prepare(sql);
      this.#selects.set(sql, select);
    }
    return select;
  }

  /** At the end of this turn of the loop, so that what is given in it shares a commit. */
  #schedule(): void {
    if (this.#scheduled || this.#underWay.length > 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#ended || this.#underWay.length > 0 || this.#waiting.length === 0) return;
    this.#underWay = this.#waiting.splice(0, BATCH_MAX);
    this.#worker.postMessage(this.#underWay.map(({ statement }) => statement));
  }

  #onReply(reply: LedgerReply): void {
    const batch = this.#underWay;
    this.#underWay = [];
    if (reply.kind === 'done') {
      this.trouble = null;
      for (const [at, { resolve }] of batch.entries()) resolve(reply.changes[at]!);
    } else {
      const text = 'message' in reply ? reply.message : reply.kind;
      this.trouble = `the ledger cannot be written: ${text}`;
      this.#log.error({ statements: batch.length }, this.trouble);
      for (const { reject } of batch) reject(new LedgerUnavailable(text));
    }
    if (this.#waiting.length > 0) this.#send();
    else this.#idle?.();
  }

  #onEnd(text: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.trouble = `the ledger is lost until a restart: ${text}`;
    this.#log.error({}, this.trouble);
    for (const { reject } of [...this.#underWay, ...this.#waiting]) {
      reject(new LedgerUnavailable(text));
    }
    this.#underWay = [];
    this.#waiting = [];
    this.#idle?.();
  }
}
