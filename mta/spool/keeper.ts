/**
 * Keeps the store open and answers batches: writes first, in one commit, then reads, which so see
 * only what is durable.
 *
 * Invariants
 * - `standing` is null exactly while appends are tried.
 * - Trouble ends by a probe that made a durable write, never by hope.
 * - While the database is open leases and settlements are served, whatever stands in the way of appends.
 */
import { statfsSync } from 'node:fs';
import { BALLAST_OCTETS, dropBallast, makeBallast } from './ballast.ts';
import type { Out } from './journal.ts';
import { Leases } from './leases.ts';
import type { Records } from './log-writer.ts';
import type {
  Answer,
  AppendBlock,
  Appended,
  Batch,
  BatchReply,
  Incident,
  Refusal,
  Standing,
  WorkerSetup,
} from './protocol.ts';
import { discardIndex, openDatabase } from './schema.ts';
import { type ReadRequest, type SettleRequest, Store, type Surroundings } from './store.ts';
import { StoreFault, type StoreTrouble, troubleOf } from './trouble.ts';

/** Room that must be free before a full disk is trusted again, the ballast to be made anew included. */
const RECOVERY_OCTETS = 1_048_576 + BALLAST_OCTETS;
/** Pause between two steps of giving space back, so that moving pages costs little beside the mail. */
const TIDY_MS = 1_000;
/** What making room may end. */
const CROWDED: ReadonlySet<StoreTrouble> = new Set(['full', 'reserve']);
/** An index that is damaged so soon after it was made anew tells of a disk that nobody should write to. */
const REBUILD_MS = 600_000;
/** These are looked at afresh with a new file descriptor when a probe still meets them. */
const REOPEN: ReadonlySet<StoreTrouble | null> = new Set(['io', 'read-only', 'not-writable']);

interface Numbered<R> {
  readonly at: number;
  readonly asks: R;
}

export class Keeper {
  readonly #folder: string;
  readonly #reserveBytes: number;
  readonly #segmentOctets: number | undefined;
  readonly #leases = new Leases();
  readonly #out: Out = new Map();
  /** Of the last block that brought one. */
  #arena: Buffer = Buffer.alloc(0);
  #store: Store | null = null;
  #standing: Standing | null = { trouble: 'closed', message: 'the spool is not open yet' };
  #incidents: Incident[] = [];
  #tidyAtMs = 0;
  #rebuiltAtMs = Number.NEGATIVE_INFINITY;

  constructor({ folder, reserveBytes, segmentOctets }: WorkerSetup) {
    this.#folder = folder;
    this.#reserveBytes = reserveBytes;
    this.#segmentOctets = segmentOctets;
  }

  run({ sequence, nowMs, appends, requests }: Batch): BatchReply {
    // Filled in another order; each request has its answer in the end.
    const answers: Answer[] = [];
    const settles: Numbered<SettleRequest>[] = [];
    const reads: Numbered<ReadRequest>[] = [];
    let closes = false;
    for (const [at, request] of requests.entries()) {
      if (request.op === 'settle') {
        settles.push({ at, asks: request.asks });
      } else if (request.op === 'probe' || request.op === 'close') {
        answers[at] = { ok: true, value: null };
        if (request.op === 'probe') this.#probe(nowMs);
        else closes = true;
      } else {
        reads.push({ at, asks: request });
      }
    }
    const appended = this.#write(this.#recordsOf(appends), settles, nowMs, answers);
    if (reads.length > 0) {
      const asked = reads.map(({ asks }) => asks);
      this.#attempt((store) => store.prepareFor(asked));
    }
    for (const { at, asks } of reads) answers[at] = this.#read(asks, nowMs);
    if (nowMs >= this.#tidyAtMs) this.#tidy(nowMs);
    if (closes) this.#close();
    const incidents = this.#incidents;
    this.#incidents = [];
    return { sequence, appended, answers, standing: this.#standing, incidents };
  }

  /** When nobody waits: what makes later requests cheaper. */
  catchUp(): void {
    this.#attempt((store) => store.catchUp());
  }

  #recordsOf(block: AppendBlock | null): Records | null {
    if (block === null) return null;
    if (block.arena !== null) this.#arena = Buffer.from(block.arena);
    const { octets, drafts, synced } = block;
    return { records: this.#arena.subarray(0, octets), drafts, synced };
  }

  #write(
    appends: Records | null,
    settles: readonly Numbered<SettleRequest>[],
    nowMs: number,
    answers: Answer[],
  ): Appended | null {
    if (appends !== null && this.#standing === null) this.#checkRoom();
    if (appends !== null && (this.#store === null || this.#standing !== null)) {
      this.#write(null, settles, nowMs, answers);
      return this.#refusal();
    }
    if (appends === null && settles.length === 0) return null;
    const store = this.#store;
    if (store === null) {
      for (const { at } of settles) answers[at] = this.#refusal();
      return null;
    }
    try {
      const asks = settles.map((one) => one.asks);
      const { ids, notices } = store.write(appends, asks, nowMs);
      for (const [n, { at }] of settles.entries()) answers[at] = { ok: true, value: notices[n] };
      return appends === null ? null : { ok: true, ids };
    } catch (error) {
      this.#notice(error);
      return this.#afterFailure(appends, settles, { error, nowMs, answers });
    }
  }

  /** Settlements are tried again without the appends; a mistake in one request fails only that one. */
  #afterFailure(
    appends: Records | null,
    settles: readonly Numbered<SettleRequest>[],
    {
      error,
      nowMs,
      answers,
    }: { readonly error: unknown; readonly nowMs: number; readonly answers: Answer[] },
  ): Appended | null {
    if (appends !== null) {
      this.#write(null, settles, nowMs, answers);
      return failure(error);
    }
    if (settles.length > 1 && troubleOf(error) === null) {
      for (const settle of settles) this.#write(null, [settle], nowMs, answers);
    } else {
      for (const { at } of settles) answers[at] = failure(error);
    }
    return null;
  }

  #read(request: ReadRequest, nowMs: number): Answer {
    if (this.#store === null) return this.#refusal();
    try {
      return { ok: true, value: this.#store.read(request, nowMs) };
    } catch (error) {
      this.#notice(error);
      return failure(error);
    }
  }

  #probe(nowMs: number): void {
    if (this.#standing === null) return;
    try {
      if (this.#standing.trouble === 'corrupt') {
        if (nowMs - this.#rebuiltAtMs < REBUILD_MS) return;
        this.#rebuiltAtMs = nowMs;
        this.#discardIndex(nowMs, this.#standing.message);
      }
      if (this.#store === null) this.#open(nowMs);
      if (this.#standing !== null && CROWDED.has(this.#standing.trouble)) {
        this.#attempt((store) => store.makeRoom());
      }
      this.#requireRoom(this.#standing?.trouble === 'full' ? RECOVERY_OCTETS : 0);
      this.#store?.probe(nowMs);
      makeBallast(this.#folder);
      this.#standing = null;
    } catch (error) {
      this.#standing = { trouble: troubleOf(error) ?? 'io', message: textOf(error) };
      if (REOPEN.has(troubleOf(error))) this.#abandon();
    }
  }

  #open(nowMs: number): void {
    const report = (incident: Incident): void => void this.#incidents.push(incident);
    const db = openDatabase(this.#folder, nowMs, report);
    try {
      this.#store = new Store(db, this.#surroundings(report), nowMs);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  #surroundings(report: Surroundings['report']): Surroundings {
    return {
      folder: this.#folder,
      segments: { reserveOctets: this.#reserveBytes, segmentOctets: this.#segmentOctets },
      leases: this.#leases,
      out: this.#out,
      report,
    };
  }

  /** Leases stay; the log has all that was acknowledged. */
  #discardIndex(nowMs: number, cause: string): void {
    this.#abandon();
    const report = (incident: Incident): void => void this.#incidents.push(incident);
    discardIndex(this.#folder, { nowMs, cause, report });
  }

  /** Closes what is broken; leases stay, and the next probe opens it again. */
  #abandon(): void {
    const store = this.#store;
    this.#store = null;
    try {
      store?.close();
    } catch {
      // Why it is broken is known already.
    }
  }

  #tidy(nowMs: number): void {
    this.#tidyAtMs = nowMs + TIDY_MS;
    if (this.#standing === null) this.#attempt((store) => store.giveBack());
  }

  #attempt(work: (store: Store) => void): void {
    try {
      if (this.#store !== null) work(this.#store);
    } catch (error) {
      this.#notice(error);
      if (troubleOf(error) !== null) return;
      const fields = { cause: error instanceof Error ? error.stack : String(error) };
      this.#incidents.push({ level: 'error', fields, message: 'the spool is at fault; going on' });
    }
  }

  #close(): void {
    this.#abandon();
    this.#standing = { trouble: 'closed', message: 'the spool is closed' };
  }

  #checkRoom(): void {
    try {
      this.#requireRoom(0);
    } catch (error) {
      this.#notice(error);
    }
  }

  #requireRoom(octetsMin: number): void {
    const octets = Math.max(this.#reserveBytes, octetsMin);
    if (octets === 0 || this.#store === null) return;
    const { bavail, bsize } = statfsSync(this.#folder);
    const onDisk = bavail * bsize;
    if (onDisk >= octets) return;
    throw new StoreFault(
      this.#reserveBytes > 0 ? 'reserve' : 'full',
      `the disk of ${this.#folder} has ${onDisk} octets free, ${octets} are to be kept`,
    );
  }

  #notice(error: unknown): void {
    const trouble = troubleOf(error);
    if (trouble === null) return;
    this.#standing = { trouble, message: textOf(error) };
    if (trouble === 'full') dropBallast(this.#folder);
  }

  #refusal(): Refusal {
    const { trouble, message } = this.#standing!;
    return { ok: false, trouble, message };
  }
}

const failure = (error: unknown): Refusal => ({
  ok: false,
  trouble: troubleOf(error),
  message: textOf(error),
});

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
