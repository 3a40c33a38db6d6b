/**
 * A process to be killed: appends without end, twenty messages at a time, and prints the id of each as
 * soon as it is acknowledged. Usage: node appender.ts FOLDER
 */
import { openSqliteSpool } from '../../../mta/spool/sqlite-engine.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLog } from '../../../runtime/log.ts';
import { submission } from './fixture.ts';

const APPENDERS = 20;

const spool = await openSqliteSpool({
  folder: process.argv[2]!,
  reserveBytes: 0,
  clock: systemClock(),
  log: silentLog,
});
const content = Buffer.alloc(10_240, 'abcdefgh ');

async function appendForever(appender: number): Promise<void> {
  for (let n = 0; ; n += 1) {
    const id = await spool.append(submission([`${n}@d${appender}.example`], { content }));
    process.stdout.write(`${id}\n`);
  }
}
await Promise.all(Array.from({ length: APPENDERS }, (_, appender) => appendForever(appender)));
