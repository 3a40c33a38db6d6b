/**
 * How much mail is in the spool of a folder, in recipients, for the package's removal, when nothing runs. Opens it
 * as the mta does, since what was accepted last may stand in its log alone. What is in quarantine counts.
 * Prints the number; fails where it cannot be known.
 */
import { existsSync } from 'node:fs';
import { openSqliteSpool } from '../../mta/spool/sqlite-engine.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';

const [folder = '/var/lib/postilion/spool'] = process.argv.slice(2);
process.stdout.write(`${existsSync(folder) ? await waitingIn(folder) : 0}\n`);

async function waitingIn(folder: string): Promise<number> {
  const spool = await openSqliteSpool({
    folder,
    reserveBytes: 0,
    clock: systemClock(),
    log: silentLog,
  });
  try {
    const trouble = spool.trouble();
    if (trouble !== null) throw new Error(trouble.text);
    const { queued, leased, quarantined } = await spool.counts();
    return queued + leased + quarantined;
  } finally {
    await spool.close();
  }
}
