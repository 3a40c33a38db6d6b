/**
 * Owns the signing keys: which files hold them, what is wrong with those, and when they have changed.
 *
 * Invariants
 * - A file that turns bad leaves the key that it held before in use, and a sentence in `problems`.
 * - A domain whose files hold no usable key stays in the ring with no keys: its mail is refused rather
 *   than sent unsigned.
 * - At most FILES_MAX files of the folder are read.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { MtaConfig } from '../config.ts';
import type { Form } from './canonical.ts';
import type { Algorithm, KeyRing, SigningKey } from './dkim.ts';
import { domainName, selectorName } from './names.ts';

export type SigningConfig = Pick<MtaConfig, 'dkim' | 'dkim_folder' | 'dkim_threads'>;

const FILES_MAX = 20_000;
/** Key files are looked at so often: a new key is in use soon after, and a stat costs microseconds. */
export const RELOAD_MS = 5_000;
/** RFC 8301 §3.2: shorter keys are not to be used; below RSA_BITS_GOOD they are, but not advisedly. */
const RSA_BITS_MIN = 1024;
const RSA_BITS_GOOD = 2048;

interface Source {
  readonly domain: string;
  readonly selector: string;
  readonly file: string;
  readonly header: Form;
  readonly body: Form;
}

interface Held {
  /** Of the file that was last read, whatever came of it. */
  readonly stamp: string;
  /** null when no content of the file was ever usable. */
  readonly key: SigningKey | null;
  /** '' when the file is good. */
  readonly problem: string;
}

export interface KeyStoreDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Called whenever the ring has changed. */
  readonly onChange: (ring: KeyRing) => void;
}

export class KeyStore {
  readonly #config: SigningConfig;
  readonly #deps: KeyStoreDeps;
  /** By source, in order of configuration, then of name. */
  #held = new Map<string, Held>();
  #folderSources: readonly Source[] = [];
  #folderProblem = '';
  #timer: Timer | null = null;
  #closed = false;

  constructor(config: SigningConfig, deps: KeyStoreDeps) {
    this.#config = config;
    this.#deps = deps;
  }

  /**
   * Reads every key, then looks for changes until close(). Bad keys are told of in `problems`.
   * @throws Error when the folder cannot be read: then nobody knows whose mail is to be signed
   */
  async open(): Promise<void> {
    await this.refresh();
    if (this.#folderProblem !== '') throw new Error(this.#folderProblem);
    this.#watch();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** What an operator must mend, one sentence each. */
  get problems(): string[] {
    const sentences = [...this.#held.values()].map(({ problem }) => problem);
    return [this.#folderProblem, ...sentences].filter((sentence) => sentence !== '');
  }

  /** Looks at every file, and reads those that have changed. */
  async refresh(): Promise<void> {
    const held = new Map<string, Held>();
    let changed = false;
    for (const source of await this.#sources()) {
      const id = `${source.domain} ${source.selector} ${source.file}`;
      const before = held.get(id) ?? this.#held.get(id) ?? null;
      const after = await this.#look(source, before);
      changed ||= after.key !== before?.key || before === null;
      held.set(id, after);
    }
    changed ||= held.size !== this.#held.size;
    this.#held = held;
    if (changed && !this.#closed) this.#deps.onChange(ringOf(held));
  }

  #watch(): void {
    if (this.#closed) return;
    this.#timer = this.#deps.clock.after(RELOAD_MS, () => {
      void this.refresh().finally(() => this.#watch());
    });
  }

  async #sources(): Promise<readonly Source[]> {
    const { dkim, dkim_folder } = this.#config;
    if (dkim_folder !== '') {
      try {
        this.#folderSources = await listFolder(dkim_folder);
        this.#folderProblem = '';
      } catch (error) {
        const problem = `the folder of DKIM keys cannot be read: ${messageOf(error)}`;
        this.#report(problem, this.#folderProblem);
        this.#folderProblem = problem;
      }
    }
    const configured = dkim.map(({ domain, selector, key, canonicalization }) => {
      const [header, body] = canonicalization.split('/') as [Form, Form];
      return { domain, selector, file: key, header, body };
    });
    return [...configured, ...this.#folderSources];
  }

  async #look(source: Source, before: Held | null): Promise<Held> {
    let stamp = '';
    try {
      const { ino, size, mtimeMs } = await stat(source.file);
      stamp = `${ino} ${size} ${mtimeMs}`;
      if (stamp === before?.stamp) return before;
      const key = readKey(await readFile(source.file, 'utf8'), source);
      this.#deps.log.info(describe(source), before === null ? 'DKIM key in use' : 'DKIM key read');
      this.#warnOfShort(key, source);
      return { stamp, key, problem: '' };
    } catch (error) {
      const key = before?.key ?? null;
      const rest = key === null ? '' : '; the key read before stays in use';
      const problem = `DKIM key ${source.file} of ${source.domain}: ${messageOf(error)}${rest}`;
      this.#report(problem, before?.problem ?? '');
      return { stamp, key, problem };
    }
  }

  #report(problem: string, before: string): void {
    if (problem !== before) this.#deps.log.error({}, problem);
  }

  #warnOfShort({ key }: SigningKey, source: Source): void {
    const bits = key.asymmetricKeyDetails?.modulusLength ?? RSA_BITS_GOOD;
    if (bits >= RSA_BITS_GOOD) return;
    const advice = `${RSA_BITS_GOOD} or more are advised (RFC 8301)`;
    this.#deps.log.warn(describe(source), `RSA key of ${bits} bits; ${advice}`);
  }
}

const describe = ({ domain, selector, file }: Source): object => ({ domain, selector, file });

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

function ringOf(held: ReadonlyMap<string, Held>): KeyRing {
  const ring = new Map<string, SigningKey[]>();
  for (const [id, { key }] of held) {
    const domain = id.slice(0, id.indexOf(' '));
    const keys = ring.get(domain) ?? [];
    if (key !== null) keys.push(key);
    ring.set(domain, keys);
  }
  return ring;
}

/**
 * DOMAIN/SELECTOR.pem; whatever is named otherwise is passed over.
 * @throws the system's error when a folder cannot be read; an Error when there are too many files
 */
async function listFolder(folder: string): Promise<Source[]> {
  const sources: Source[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const domain = domainName(name);
    if (domain === null || !(await stat(join(folder, name))).isDirectory()) continue;
    for (const file of (await readdir(join(folder, name))).sort()) {
      const selector = file.endsWith('.pem') ? selectorName(file.slice(0, -'.pem'.length)) : null;
      if (selector === null) continue;
      if (sources.length === FILES_MAX) throw new Error(`more than ${FILES_MAX} keys`);
      const path = join(folder, name, file);
      sources.push({ domain, selector, file: path, header: 'relaxed', body: 'relaxed' });
    }
  }
  return sources;
}

/** @throws Error when it is no private key that DKIM knows */
function readKey(pem: string, { domain, selector, header, body }: Source): SigningKey {
  const key = createPrivateKey(pem);
  return { domain, selector, algorithm: algorithmOf(key), key, header, body };
}

function algorithmOf(key: KeyObject): Algorithm {
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519-sha256';
  if (key.asymmetricKeyType !== 'rsa') {
    throw new Error(`a key of type ${key.asymmetricKeyType}; DKIM knows RSA and Ed25519`);
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits >= RSA_BITS_MIN) return 'rsa-sha256';
  throw new Error(`an RSA key of ${bits} bits; ${RSA_BITS_MIN} is the least (RFC 8301)`);
}
