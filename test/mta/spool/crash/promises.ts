/** What a spool has promised, and whether a folder keeps it. */
import { expect } from 'vitest';
import type { MessageId } from '../../../../mta/envelope.ts';
import { listeningLog, openAt } from '../fixture.ts';

const CONTENT_OCTETS_MAX = 6_000;

/** The content of a message: its size and octets follow from its number. */
export function contentOf(number: number): Buffer {
  const head = `Subject: ${number}\r\n\r\n`;
  const octets = head.length + ((number * 977) % CONTENT_OCTETS_MAX);
  return Buffer.alloc(octets, `${head}${number} line of text\r\n`);
}

export class Promises {
  /** Message → number of its content, and recipients. */
  readonly #kept = new Map<MessageId, { readonly number: number; readonly recipients: number }>();
  readonly #done = new Set<string>();
  /** Asked for, and perhaps not answered: may be done or not. */
  readonly #trying = new Set<string>();

  constructor(lines: readonly string[]) {
    for (const line of lines) {
      const [verb, id, ...rest] = line.split(' ');
      if (verb === 'done') this.#done.add(`${id}.${rest[0]}`);
      else if (verb === 'trying') this.#trying.add(`${id}.${rest[0]}`);
      else this.#kept.set(Number(id), { number: Number(rest[0]), recipients: Number(rest[1]) });
    }
  }

  get count(): number {
    return this.#kept.size + this.#done.size;
  }

  /** Opens the spool and asks for everything in it; @param where names the crash in a failure */
  async expectKeptIn(folder: string, where: string): Promise<void> {
    const log = listeningLog();
    const spool = await openAt(folder, { log });
    try {
      const found = new Set<string>();
      const wrong: string[] = [];
      const rows = await spool.list({ domain: null, after: null, limit: 10_000 });
      for (const { message, index } of rows) found.add(`${message}.${index}`);
      for (const [message, { number, recipients }] of this.#kept) {
        let left = 0;
        for (let index = 0; index < recipients; index += 1) {
          const key = `${message}.${index}`;
          if (this.#done.has(key) && found.has(key)) wrong.push(`${key} is there again`);
          if (!this.#trying.has(key) && !found.has(key)) wrong.push(`${key} is lost`);
          if (found.has(key)) left += 1;
        }
        if (left === 0) continue;
        const leased = await spool.leaseMessage({ message, index: null });
        if (leased === null || !contentOf(number).equals(leased.content))
          wrong.push(`${message} has not its content`);
      }
      const { queued, leased, quarantined } = await spool.counts();
      expect(
        { wrong, trouble: spool.trouble(), quarantined, log: log.lines, total: queued + leased },
        where,
      ).toEqual({ wrong: [], trouble: null, quarantined: 0, log: [], total: rows.length });
    } finally {
      await spool.close();
    }
  }
}
