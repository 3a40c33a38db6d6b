/** What a spool holds, read from a copy of its files while nobody has it open; the original is not touched. */
import { cp } from 'node:fs/promises';
import { openSqliteSpool } from '../../mta/spool/sqlite-engine.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { scratchFolder } from '../../test/support/scratch.ts';

const PAGE = 10_000;

/** @returns addresses of the recipients in it */
export async function recipientsInCopyOf(folder: string): Promise<Set<string>> {
  const copy = await scratchFolder('spool-copy');
  try {
    await cp(folder, copy.path, { recursive: true });
    const spool = await openSqliteSpool({
      folder: copy.path,
      reserveBytes: 0,
      clock: systemClock(),
      log: silentLog,
    });
    try {
      const addresses = new Set<string>();
      for (let after = null; ; ) {
        const rows = await spool.list({ domain: null, after, limit: PAGE });
        for (const { address } of rows) addresses.add(address);
        const last = rows.at(-1);
        if (last === undefined) return addresses;
        after = { message: last.message, index: last.index };
      }
    } finally {
      await spool.close();
    }
  } finally {
    await copy.remove();
  }
}
