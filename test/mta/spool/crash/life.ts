/**
 * A life of a spool, to be watched or cut short: opens it, appends, every third message leased as it is,
 * leases, settles and defers, closes it, and does so again; prints a line for each promise as soon as it is made, and before it
 * asks for what ends one. Usage: node life.ts FOLDER LIVES
 */
import { writeSync } from 'node:fs';
import type { MessageId, RecipientKey } from '../../../../mta/envelope.ts';
import type { Settlement, Spool } from '../../../../mta/spool/spool.ts';
import { openSqliteSpool } from '../../../../mta/spool/sqlite-engine.ts';
import { systemClock } from '../../../../runtime/clock.ts';
import { silentLog } from '../../../../runtime/log.ts';
import { leaseOf, submission } from '../fixture.ts';
import { contentOf } from './promises.ts';

const ROUNDS = 6;
/** So that a life has several, and some are made of spares. */
const SEGMENT_OCTETS = 49_152;
const APPENDS = 6;
const DOMAINS = ['a.example', 'b.example'];

const [folder, lives] = [process.argv[2]!, Number(process.argv[3])];
/** Whoever reads it knows that the promise was made; a write to standard output is a single call. */
const promise = (line: string): void => void writeSync(1, `${line}\n`);

async function append(spool: Spool, number: number): Promise<void> {
  const addresses = DOMAINS.slice(0, 1 + (number % 2)).map((domain) => `${number}@${domain}`);
  const content = contentOf(number);
  const handOver = number % 3 === 0;
  const details = { content, receivedAtMs: Date.now() };
  const id = await spool.append(submission(addresses, details), handOver);
  promise(`kept ${id} ${number} ${addresses.length}`);
  if (handOver) handed.push(...addresses.map((_, index) => ({ message: id, index })));
}

/** Leased since they were appended. */
const handed: RecipientKey[] = [];

/** Of what is leased every third is left leased, every third deferred, and the others are done, some with a notice. */
async function settleSome(spool: Spool, round: number): Promise<void> {
  const { messages } = await spool.lease(
    leaseOf(DOMAINS, { nowMs: Date.now(), messagesMax: 5, recipientsMax: 1 }),
  );
  const keys = messages.map(({ message, recipients }) => ({
    message,
    index: recipients[0]!.index,
  }));
  const settlements: Settlement[] = [];
  const notices = round % 3 === 0 ? [submission(['n@a.example'], { content: contentOf(0) })] : [];
  for (const [at, key] of [...keys, ...handed.splice(0, 3)].entries()) {
    const reason = { code: 'connect', text: 'no answer', sinceMs: Date.now() };
    if (at % 3 === 1)
      settlements.push({ key, kind: 'deferred', dueMs: Date.now() + 1, attempts: 1, reason });
    else if (at % 3 === 2) settlements.push({ key, kind: 'done' });
  }
  for (const { key, kind } of settlements) {
    if (kind === 'done') promise(`trying ${key.message} ${key.index}`);
  }
  const ids: readonly MessageId[] = await spool.settle(settlements, notices);
  for (const id of ids) promise(`kept ${id} 0 1`);
  for (const { key, kind } of settlements) {
    if (kind === 'done') promise(`done ${key.message} ${key.index}`);
  }
}

let number = 1;
for (let life = 0; life < lives; life += 1) {
  const spool = await openSqliteSpool({
    folder,
    reserveBytes: 0,
    segmentOctets: SEGMENT_OCTETS,
    clock: systemClock(),
    log: silentLog,
  });
  for (let round = 0; round < ROUNDS; round += 1) {
    const appends = Array.from({ length: APPENDS }, () => append(spool, number++));
    await Promise.all([...appends, settleSome(spool, round)]);
  }
  await spool.close();
  handed.length = 0;
}
