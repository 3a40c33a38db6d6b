/**
 * Messages to a bounce domain that no format explains and nobody else gets: files in a folder, for an
 * operator to read.
 *
 * Invariant: the folder holds at most octetsMax; the oldest go for the newest.
 */
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

interface Kept {
  readonly name: string;
  readonly octets: number;
}

export class UnreadMail {
  readonly #folder: string;
  readonly #octetsMax: number;
  /** The oldest first; null until the folder was read. */
  #kept: Kept[] | null = null;
  #work: Promise<unknown> = Promise.resolve();

  constructor(folder: string, octetsMax: number) {
    this.#folder = folder;
    this.#octetsMax = octetsMax;
  }

  /**
   * Resolves with the file's path when it would survive power loss.
   * @param name unique, rising with time, fit for a file
   * @throws the system's error
   */
  keep(name: string, content: Uint8Array): Promise<string> {
    const work = this.#work.then(() => this.#keep(`${name}.eml`, content));
    this.#work = work.catch(() => undefined);
    return work;
  }

  async #keep(name: string, content: Uint8Array): Promise<string> {
    this.#kept ??= await this.#read();
    const path = join(this.#folder, name);
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.writeFile(content);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
    this.#kept.push({ name, octets: content.length });
    await this.#makeRoom(this.#kept);
    return path;
  }

  async #makeRoom(kept: Kept[]): Promise<void> {
    let octets = kept.reduce((sum, each) => sum + each.octets, 0);
    while (octets > this.#octetsMax && kept.length > 1) {
      const oldest = kept.shift()!;
      octets -= oldest.octets;
      await rm(join(this.#folder, oldest.name), { force: true });
    }
  }

  async #read(): Promise<Kept[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith('.eml')).sort();
    const kept: Kept[] = [];
    for (const name of names) {
      kept.push({ name, octets: (await stat(join(this.#folder, name))).size });
    }
    return kept;
  }
}
