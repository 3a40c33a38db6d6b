/**
 * Keeps MTA-STS policies across restarts, so that a restart is no chance for a downgrade: one JSON file,
 * replaced as a whole, within WRITE_MS of a change. A file that cannot be read is as good as none, and said.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { type KeptPolicy, POLICIES_MAX } from './sts.ts';

const WRITE_MS = 1_000;

const fileSchema = z.object({
  version: z.literal(1),
  policies: z
    .array(
      z.object({
        domain: z.string(),
        id: z.string(),
        mode: z.enum(['enforce', 'testing', 'none']),
        mx: z.array(z.string()),
        maxAgeSeconds: z.number(),
        fetchedAtMs: z.number(),
        expiresAtMs: z.number(),
      }),
    )
    .max(POLICIES_MAX),
});

export interface StsStore {
  load(): Promise<ReadonlyMap<string, KeptPolicy>>;
  /** To be written soon; the latest counts. */
  save(policies: Iterable<readonly [string, KeptPolicy]>): void;
  /** Writes what is not written yet. */
  close(): Promise<void>;
}

export class StsFile implements StsStore {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #unwritten: string | null = null;
  #timer: Timer | null = null;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, clock: Clock, log: Log) {
    this.#path = path;
    this.#clock = clock;
    this.#log = log;
  }

  async load(): Promise<ReadonlyMap<string, KeptPolicy>> {
    try {
      const { policies } = fileSchema.parse(JSON.parse(await readFile(this.#path, 'utf8')));
      return new Map(
        policies.map(({ domain, id, mode, mx, maxAgeSeconds, fetchedAtMs, expiresAtMs }) => [
          domain,
          { policy: { mode, mx, maxAgeSeconds }, id, fetchedAtMs, expiresAtMs },
        ]),
      );
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') {
        this.#log.error({ path: this.#path }, `MTA-STS policies cannot be read: ${String(error)}`);
      }
      return new Map();
    }
  }

  save(policies: Iterable<readonly [string, KeptPolicy]>): void {
    const list = [...policies].map(([domain, { policy, ...kept }]) => ({
      domain,
      ...kept,
      ...policy,
    }));
    this.#unwritten = JSON.stringify({ version: 1, policies: list });
    this.#timer ??= this.#clock.after(WRITE_MS, () => this.#write());
  }

  close(): Promise<void> {
    this.#write();
    return this.#writing;
  }

  #write(): void {
    this.#timer?.cancel();
    this.#timer = null;
    const text = this.#unwritten;
    if (text === null) return;
    this.#unwritten = null;
    this.#writing = this.#writing.then(() => this.#replace(text));
  }

  async #replace(text: string): Promise<void> {
    const temporary = `${this.#path}.new`;
    try {
      await writeFile(temporary, text, { mode: 0o640, flush: true });
      await rename(temporary, this.#path);
    } catch (error) {
      this.#log.error({ path: this.#path }, `MTA-STS policies cannot be kept: ${String(error)}`);
    }
  }
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : null;
