/**
 * A life of a spool on one thread, so that what is said and what is synced come in a certain order: appends
 * messages that may be in memory and others in turn, and prints a line for each once it is acknowledged, before
 * the spool gets the time to catch up. Usage: node memory-life.ts FOLDER
 */
import { writeSync } from 'node:fs';
import { Arena } from '../../../../mta/spool/arena.ts';
import { Keeper } from '../../../../mta/spool/keeper.ts';
import type { Batch, BatchReply } from '../../../../mta/spool/protocol.ts';
import { submission } from '../fixture.ts';

const MESSAGES = 20;

const keeper = new Keeper({ folder: process.argv[2]!, reserveBytes: 0 });
const arena = new Arena();
let sequence = 0;

function run(batch: Partial<Batch>): BatchReply {
  sequence += 1;
  return keeper.run({ sequence, nowMs: Date.now(), appends: null, requests: [], ...batch });
}

run({ requests: [{ op: 'probe', asks: null }] });
for (let number = 0; number < MESSAGES; number += 1) {
  const durability = number % 2 === 0 ? 'memory' : 'fsync';
  const message = { ...submission([`${number}@x.example`]), durability } as const;
  run({ appends: arena.layOut([{ submission: message, handOver: false }]) });
  writeSync(1, `${durability} ${number}\n`);
  keeper.catchUp();
}
run({ requests: [{ op: 'close', asks: null }] });
