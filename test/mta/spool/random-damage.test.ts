/**
 * Octets flipped and files cut off at random places of every file of a spool, one that was closed and one that
 * was killed: nothing crashes, nothing wrong is handed out, and what is missing is quarantined and told.
 */
import { cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seededFraction } from '../../../bench/load/internet.ts';
import type { MessageId } from '../../../mta/envelope.ts';
import type { LeasedMessage } from '../../../mta/spool/spool.ts';
import { ManualClock } from '../../support/clock.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { contentOf } from './crash/promises.ts';
import { leaseOf, listeningLog, openAt, submission } from './fixture.ts';

const MESSAGES = 40;
const DOMAINS = ['a.example', 'b.example', 'c.example'];
const FLIPS_MAX = 8;
/** Of each kind, of each file. */
const TRIALS = 3;

let scratch: Folder;
/** Message → its number. */
const numbers = new Map<MessageId, number>();

const addressOf = (number: number): string => `${number}@${DOMAINS[number % DOMAINS.length]}`;

beforeAll(async () => {
  scratch = await scratchFolder('damage');
  const folder = join(scratch.path, 'spool');
  const spool = await openAt(folder);
  for (let number = 0; number < MESSAGES; number += 1) {
    const details = { content: contentOf(number) };
    numbers.set(await spool.append(submission([addressOf(number)], details)), number);
  }
  await cp(folder, join(scratch.path, 'killed'), { recursive: true });
  await spool.close();
  await cp(folder, join(scratch.path, 'closed'), { recursive: true });
});
afterAll(() => scratch.remove());

/** Files that hold mail; not who owns the folder, nor room kept. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\.(sqlite|sqlite-wal|seg)$/.test(entry.name))
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort();
}

/** @returns what was done, for whoever reads of a failure */
async function flipSome(file: string, fraction: () => number): Promise<string> {
  const octets = await readFile(file);
  const at = Math.floor(fraction() * octets.length);
  const count = 1 + Math.floor(fraction() * FLIPS_MAX);
  for (let offset = at; offset < Math.min(octets.length, at + count); offset += 1) {
    octets[offset]! ^= 1 << Math.floor(fraction() * 8);
  }
  await writeFile(file, octets);
  return `${count} octets at ${at} of ${octets.length}`;
}

async function cutOff(file: string, fraction: () => number): Promise<string> {
  const { size } = await stat(file);
  const at = Math.floor(fraction() * size);
  await truncate(file, at);
  return `cut off at ${at} of ${size}`;
}

interface Found {
  readonly whole: number;
  /** Handed out and not what was put in. */
  readonly wrong: string[];
  readonly errors: number;
  readonly trouble: string | null;
}

/** Opens the spool, takes out all that it hands out, and puts one message in. */
async function takeOut(folder: string): Promise<Found> {
  const [clock, log] = [new ManualClock(), listeningLog()];
  const spool = await openAt(folder, { clock, log });
  const lease = async (domains: readonly string[]): Promise<readonly LeasedMessage[]> => {
    const request = leaseOf(domains, { nowMs: Number.MAX_SAFE_INTEGER });
    try {
      return (await spool.lease(request)).messages;
    } catch {
      // The index was found to be damaged; a second later it has been made anew.
      clock.advance(1_000);
      return (await spool.lease(request)).messages;
    }
  };
  try {
    const wrong: string[] = [];
    const whole = new Set<MessageId>();
    for (
      let messages = await lease(DOMAINS);
      messages.length > 0;
      messages = await lease(DOMAINS)
    ) {
      for (const { message, content, reversePath, recipients } of messages) {
        const number = numbers.get(message);
        const envelope = [reversePath, ...recipients.map(({ address }) => address)].join();
        if (number === undefined || !contentOf(number).equals(content)) wrong.push(`${message}`);
        else if (envelope !== `from@sender.example.net,${addressOf(number)}`) wrong.push(envelope);
        else whole.add(message);
      }
    }
    // What the index has lost sight of is found when its time is up, and returned.
    const expired = await spool.leaseExpired({
      acceptedBeforeMs: Number.MAX_SAFE_INTEGER,
      messagesMax: MESSAGES,
      bytesMax: Number.MAX_SAFE_INTEGER,
    });
    for (const { message } of expired) whole.add(message);
    await spool.append(submission(['later@d.example']));
    expect(await lease(['d.example'])).toHaveLength(1);
    return {
      whole: whole.size,
      wrong,
      errors: log.lines.filter(({ level }) => level === 'error').length,
      trouble: spool.trouble()?.code ?? null,
    };
  } finally {
    await spool.close();
  }
}

describe.each(['closed', 'killed'])('a spool that was %s', (state) => {
  test.each([
    ['flipped', flipSome],
    ['cut off', cutOff],
  ] as const)(
    '%s at random',
    async (_name, spoil) => {
      const fraction = seededFraction(11);
      const original = join(scratch.path, state);
      for (const file of await filesIn(original)) {
        for (let trial = 0; trial < TRIALS; trial += 1) {
          const folder = join(scratch.path, `${state}-${spoil.name}-${trial}`);
          await mkdir(folder);
          await cp(original, folder, { recursive: true });
          const name = relative(original, file);
          const what = `${name}: ${await spoil(join(folder, name), fraction)}`;
          const found = await takeOut(folder);
          expect(found, what).toMatchObject({ wrong: [], trouble: null });
          // All that is acknowledged is in the segments: whatever becomes of the index, nothing is lost.
          if (!name.endsWith('.seg')) expect(found.whole, what).toBe(MESSAGES);
          // What a kill leaves ends anywhere, and nobody was told of what is behind.
          else if (found.whole < MESSAGES && (spoil !== cutOff || state === 'closed')) {
            expect(found.errors, what).toBeGreaterThan(0);
          }
          await rm(folder, { recursive: true });
        }
      }
    },
    180_000,
  );
});
