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
import { Leases } from './leases.ts';
import type { Answer, Batch, BatchReply, Incident, Request, Standing } from './protocol.ts';
import { openDatabase } from './schema.ts';
import { type ReadRequest, Store, type WriteRequest } from './store.ts';
import { StoreFault, type StoreTrouble, troubleOf } from './trouble.ts';

/** Room that must be free before a full disk is trusted again. */
const RECOVERY_OCTETS = 1_048_576;
/** What the log may need while free pages inside the file are filled, as a share of the reserve. */
const LOG_SHARE = 0.5;
/** Pause between two steps of giving space back, so that moving pages costs little beside the mail. */
const TIDY_MS = 1_000;
/** These are looked at afresh with a new file descriptor when a probe still meets them. */
const REOPEN: ReadonlySet<StoreTrouble | null> = new Set(['io', 'read-only', 'not-writable']);

interface Numbered<R extends Request> {
  readonly at: number;
  readonly request: R;
}

export class Keeper {
  readonly #folder: string;
  readonly #reserveBytes: number;
  readonly #leases = new Leases();
  #store: Store | null = null;
  #standing: Standing | null = { trouble: 'closed', message: 'the spool is not open yet' };
  #incidents: Incident[] = [];
  #tidyAtMs = 0;

  constructor(folder: string, reserveBytes: number) {
    this.#folder = folder;
    this.#reserveBytes = reserveBytes;
  }

  run({ sequence, nowMs, requests }: Batch): BatchReply {
    // Filled in another order; each request has its answer in the end.
    const answers: Answer[] = [];
    const writes: Numbered<WriteRequest>[] = [];
    const reads: Numbered<ReadRequest>[] = [];
    let closes = false;
    for (const [at, request] of requests.entries()) {
      if (request.op === 'append' || request.op === 'settle') {
        writes.push({ at, request });
      } else if (request.op === 'probe' || request.op === 'close') {
        answers[at] = { ok: true, value: null };
        if (request.op === 'probe') this.#probe(nowMs);
        else closes = true;
      } else {
        reads.push({ at, request });
      }
    }
    if (writes.length > 0) this.#write(writes, nowMs, answers);
    for (const { at, request } of reads) answers[at] = this.#read(request, nowMs);
    if (nowMs >= this.#tidyAtMs) this.#tidy(nowMs);
    if (closes) this.#close();
    const incidents = this.#incidents;
    this.#incidents = [];
    return { sequence, answers, standing: this.#standing, incidents };
  }

  #write(writes: Numbered<WriteRequest>[], nowMs: number, answers: Answer[]): void {
    const isAppend = ({ request }: Numbered<WriteRequest>): boolean => request.op === 'append';
    if (this.#standing === null && writes.some(isAppend)) this.#checkRoom();
    let admitted = writes;
    if (this.#store === null || this.#standing !== null) {
      this.#refuse(writes.filter(isAppend), answers);
      admitted = writes.filter((write) => !isAppend(write));
    }
    if (admitted.length === 0) return;
    const store = this.#store;
    if (store === null) {
      this.#refuse(admitted, answers);
      return;
    }
    try {
      const values = store.write(
        admitted.map(({ request }) => request),
        nowMs,
      );
      for (const [n, { at }] of admitted.entries()) answers[at] = { ok: true, value: values[n] };
    } catch (error) {
      this.#notice(error);
      this.#afterFailure(admitted, error, nowMs, answers);
    }
  }

  /** Settlements are tried again without the appends; a mistake in one request fails only that one. */
  #afterFailure(
    writes: Numbered<WriteRequest>[],
    error: unknown,
    nowMs: number,
    answers: Answer[],
  ): void {
    const settles = writes.filter(({ request }) => request.op === 'settle');
    if (writes.length > 1 && troubleOf(error) === null) {
      for (const write of writes) this.#write([write], nowMs, answers);
    } else if (settles.length > 0 && settles.length < writes.length) {
      this.#write(writes, nowMs, answers);
    } else {
      for (const { at } of writes) answers[at] = failure(error);
    }
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
      if (this.#store === null) this.#open(nowMs);
      if (this.#standing?.trouble === 'corrupt') return;
      this.#requireRoom(this.#standing?.trouble === 'full' ? RECOVERY_OCTETS : 0);
      this.#store?.probe();
      this.#standing = null;
    } catch (error) {
      this.#standing = { trouble: troubleOf(error) ?? 'io', message: textOf(error) };
      if (REOPEN.has(troubleOf(error))) this.#abandon();
    }
  }

  #open(nowMs: number): void {
    const report = (incident: Incident): void => void this.#incidents.push(incident);
    const db = openDatabase(this.#folder, nowMs, report);
    this.#store = new Store(db, { folder: this.#folder, leases: this.#leases, report });
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
    try {
      if (this.#standing === null) this.#store?.giveBack();
    } catch (error) {
      this.#notice(error);
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

  /**
   * Free pages inside the file count as room, so that a spool that filled its disk takes mail again
   * once it has been worked off; but the log needs some of the disk itself.
   */
  #requireRoom(octetsMin: number): void {
    const octets = Math.max(this.#reserveBytes, octetsMin);
    if (octets === 0 || this.#store === null) return;
    const { bavail, bsize } = statfsSync(this.#folder);
    const onDisk = bavail * bsize;
    if (onDisk >= octets) return;
    if (onDisk >= octets * LOG_SHARE && onDisk + this.#store.freeOctets() >= octets) return;
    throw new StoreFault(
      this.#reserveBytes > 0 ? 'reserve' : 'full',
      `the disk of ${this.#folder} has ${onDisk} octets free, ${octets} are to be kept`,
    );
  }

  #notice(error: unknown): void {
    const trouble = troubleOf(error);
    if (trouble !== null) this.#standing = { trouble, message: textOf(error) };
  }

  #refuse(writes: readonly Numbered<WriteRequest>[], answers: Answer[]): void {
    for (const { at } of writes) answers[at] = this.#refusal();
  }

  #refusal(): Answer {
    const { trouble, message } = this.#standing!;
    return { ok: false, trouble, message };
  }
}

const failure = (error: unknown): Answer => ({
  ok: false,
  trouble: troubleOf(error),
  message: textOf(error),
});

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
