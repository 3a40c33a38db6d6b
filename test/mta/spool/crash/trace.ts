/**
 * What a process did to a disk, as disk.c wrote it down, and what the disk may hold after a crash at any
 * point of it.
 *
 * - kill -9: everything done so far, since the kernel has it.
 * - Power loss: what was synced, and of the rest any part. Of an unsynced write any of its sectors may be
 *   there; names (creations, renames, deletions) persist in order up to some point, at least to the last
 *   sync of a folder.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

const HEAD_OCTETS = 16;
const SECTOR_OCTETS = 512;

/** W data at an offset, T truncation to it, S sync, C and D creation of file and folder, R renaming, U deletion, A output. */
type Op = 'W' | 'T' | 'S' | 'C' | 'D' | 'R' | 'U' | 'A';

interface Call {
  readonly op: Op;
  readonly path: string;
  readonly offset: number;
  readonly data: Buffer;
}

/** 0 <= x < 1. */
export type Fraction = () => number;

/** A file's octets, which outlive its name. */
class Inode {
  #octets = Buffer.alloc(0);
  #length = 0;

  get octets(): Buffer {
    return this.#octets.subarray(0, this.#length);
  }

  write(data: Buffer, offset: number): void {
    this.#reserve(offset + data.length);
    data.copy(this.#octets, offset);
    this.#length = Math.max(this.#length, offset + data.length);
  }

  truncate(length: number): void {
    this.#reserve(length);
    this.#octets.fill(0, length);
    this.#length = length;
  }

  #reserve(length: number): void {
    if (length <= this.#octets.length) return;
    const larger = Buffer.alloc(length * 2);
    this.#octets.copy(larger);
    this.#octets = larger;
  }
}

export class Trace {
  readonly #calls: readonly Call[];
  readonly #root: string;

  constructor(file: Buffer, root: string) {
    const calls: Call[] = [];
    for (let at = 0; at < file.length; ) {
      const pathEnd = at + HEAD_OCTETS + file.readUInt16LE(at + 2);
      const end = pathEnd + file.readUInt32LE(at + 4);
      calls.push({
        op: String.fromCharCode(file[at]!) as Op,
        path: file.toString('utf8', at + HEAD_OCTETS, pathEnd),
        offset: Number(file.readBigUInt64LE(at + 8)),
        data: file.subarray(pathEnd, end),
      });
      at = end;
    }
    this.#calls = calls;
    this.#root = root;
  }

  get length(): number {
    return this.#calls.length;
  }

  /** Changes and syncs: the calls at which a process can be killed. */
  get callsOnDisk(): number {
    return this.#calls.filter(({ op }) => op !== 'A').length;
  }

  /** "S spool.sqlite-wal": for whoever reads of a failure. */
  describe(at: number): string {
    const { op, path } = this.#calls[at]!;
    return `${at}: ${op} ${path === '' ? '' : relative(this.#root, path)}`;
  }

  /** Everything but plain writes, which are many: where syncs, names and output stand. */
  turningPoints(): number[] {
    return this.#calls.flatMap(({ op }, at) => (op === 'W' ? [] : [at]));
  }

  /** Lines that match and were put out while something in a segment was written and not synced. */
  unsyncedPromises(pattern: RegExp): number {
    let count = 0;
    let unsynced = false;
    for (const { op, path, data } of this.#calls) {
      if (op === 'W' && path.endsWith('.seg')) unsynced = true;
      else if (op === 'S' && path.endsWith('.seg')) unsynced = false;
      else if (op === 'A' && unsynced && pattern.test(data.toString())) count += 1;
    }
    return count;
  }

  /** Lines that the process had put out before the call. */
  linesBefore(at: number): string[] {
    const output = this.#calls.slice(0, at).filter(({ op }) => op === 'A');
    return Buffer.concat(output.map(({ data }) => data))
      .toString('utf8')
      .split('\n')
      .slice(0, -1);
  }

  /** Fills `folder` as the disk stands when the process is killed before call `at`. */
  writeKilled(at: number, folder: string): Promise<void> {
    return this.#write(folder, this.#calls.slice(0, at), () => 'all');
  }

  /** Fills `folder` as the disk may stand when the power fails before call `at`. */
  writePowerless(at: number, folder: string, fraction: Fraction): Promise<void> {
    const calls = this.#calls.slice(0, at);
    const syncs = new Map<string, number>();
    let namesSynced = 0;
    const folders = new Set(calls.filter(({ op }) => op === 'D').map(({ path }) => path));
    for (const [position, { op, path }] of calls.entries()) {
      if (op === 'S' && folders.has(path)) namesSynced = position;
      else if (op === 'S') syncs.set(path, position);
      // Syncs are of the file, which had another name before.
      else if (op === 'R') syncs.set(calls[position]!.data.toString(), syncs.get(path) ?? 0);
    }
    const namesUntil = namesSynced + Math.floor(fraction() * (at - namesSynced + 1));
    return this.#write(
      folder,
      calls,
      ({ op, path }, position) => {
        if (op === 'W' || op === 'T') {
          if (position <= (syncs.get(path) ?? -1)) return 'all';
          const luck = fraction();
          return luck < 0.5 ? 'nothing' : op === 'W' && luck < 0.7 ? 'sectors' : 'all';
        }
        return position <= namesUntil ? 'all' : 'nothing';
      },
      fraction,
    );
  }

  async #write(
    folder: string,
    calls: readonly Call[],
    kept: (call: Call, position: number) => 'all' | 'sectors' | 'nothing',
    fraction: Fraction = () => 0,
  ): Promise<void> {
    // Two views of names: as the process saw them, by which it wrote, and as they persist.
    const seen = new Map<string, Inode>();
    const persisted = new Map<string, Inode>();
    const folders: string[] = [];
    for (const [position, call] of calls.entries()) {
      const { op, path, offset, data } = call;
      if (op === 'A' || op === 'S') continue;
      const how = kept(call, position);
      if (op === 'W' || op === 'T') {
        const inode = seen.get(path)!;
        if (how === 'all' && op === 'W') inode.write(data, offset);
        else if (how === 'all') inode.truncate(offset);
        else if (how === 'sectors') writeSectors(inode, data, offset, fraction);
        continue;
      }
      const inode = op === 'C' ? new Inode() : seen.get(path)!;
      for (const names of how === 'all' ? [seen, persisted] : [seen]) {
        if (op === 'C') names.set(path, inode);
        else if (op === 'R') names.set(data.toString(), inode);
        if (op === 'R' || op === 'U') names.delete(path);
      }
      if (op === 'D' && how === 'all') folders.push(path);
    }
    const inFolder = (path: string): string => join(folder, relative(this.#root, path));
    for (const path of folders) await mkdir(inFolder(path), { recursive: true });
    for (const [path, { octets }] of persisted) {
      await mkdir(dirname(inFolder(path)), { recursive: true });
      await writeFile(inFolder(path), octets);
    }
  }
}

function writeSectors(inode: Inode, data: Buffer, offset: number, fraction: Fraction): void {
  for (let at = 0; at < data.length; ) {
    const end = Math.min(data.length, at + SECTOR_OCTETS - ((offset + at) % SECTOR_OCTETS));
    if (fraction() < 0.5) inode.write(data.subarray(at, end), offset + at);
    at = end;
  }
}
