/**
 * What the spool costs: durable appends, lease and settlement, start and memory with a long queue.
 *
 *     node bench/micro/spool.ts [--messages 20000] [--queued 1000000] [--json]
 *
 * CPU is that of the whole process, both threads, per message. The folder is made under the system's
 * temporary one: set TMPDIR to measure another disk.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Submission } from '../../mta/envelope.ts';
import { DATABASE_FILE } from '../../mta/spool/schema.ts';
import type { Settlement, Spool } from '../../mta/spool/spool.ts';
import { openSqliteSpool } from '../../mta/spool/sqlite-engine.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { benchOptions } from '../load/options.ts';

const CONTENT_OCTETS = 10_240;
const DOMAINS = 300;
const SITES = 20;

const options = benchOptions({
  messages: { type: 'string', default: '20000' },
  queued: { type: 'string', default: '1000000' },
  /** For a fresh process: opens this folder, and reports. */
  open: { type: 'string' },
  json: { type: 'boolean', default: false },
});

interface Row {
  readonly what: string;
  readonly perSecond: number;
  readonly cpuMicros: number;
}

const clock = systemClock();
const open = (folder: string): Promise<Spool> =>
  openSqliteSpool({ folder, reserveBytes: 67_108_864, clock, log: silentLog });

const domainOf = (n: number): string => `d${n % DOMAINS}.example.net`;

function message(n: number, content: Uint8Array): Submission {
  const domain = domainOf(n * 7919);
  return {
    envelope: {
      reversePath: 'news@sender.example.net',
      recipients: [{ index: 0, address: `user${n}@${domain}`, domain }],
      body: '8bitmime',
      smtpUtf8: false,
    },
    content,
    receivedAtMs: clock.wallMs(),
    origin: 'smtp 192.0.2.1',
  };
}

async function measure(what: string, count: number, work: () => Promise<void>): Promise<Row> {
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  await work();
  const seconds = (performance.now() - startMs) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  return {
    what,
    perSecond: Math.round(count / seconds),
    cpuMicros: Number(((cpu.user + cpu.system) / count).toFixed(1)),
  };
}

async function appendAll(spool: Spool, count: number, appenders: number, octets: number) {
  let next = 0;
  const template = Buffer.alloc(octets, 'The quick brown fox jumps over the lazy dog.\r\n');
  async function appender(): Promise<void> {
    while (next < count) {
      next += 1;
      // A copy of its own, as intake hands it in.
      await spool.append(message(next, new Uint8Array(template)));
    }
  }
  await Promise.all(Array.from({ length: appenders }, appender));
}

/** As a site does: leases a block, settles it, leases the next; all sites at once. */
async function deliverAll(spool: Spool, block: number): Promise<number> {
  let delivered = 0;
  async function site(n: number): Promise<void> {
    const domains = Array.from({ length: DOMAINS / SITES }, (_, i) => domainOf(n + i * SITES));
    for (;;) {
      const { messages } = await spool.lease({
        domains,
        nowMs: clock.wallMs(),
        messagesMax: block,
        bytesMax: 16_777_216,
        recipientsMax: 100,
      });
      if (messages.length === 0) return;
      const settlements = messages.map(
        ({ message: id }): Settlement => ({ key: { message: id, index: 0 }, kind: 'done' }),
      );
      await spool.settle(settlements, []);
      delivered += messages.length;
    }
  }
  await Promise.all(Array.from({ length: SITES }, (_, n) => site(n)));
  return delivered;
}

async function throughput(count: number): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'postilion-bench-spool-'));
  const spool = await open(folder);
  const rows: Row[] = [];
  for (const appenders of [20, 64, 200]) {
    const append = () => appendAll(spool, count, appenders, CONTENT_OCTETS);
    rows.push(await measure(`append, ${appenders} at a time`, count, append));
    const deliver = async (): Promise<void> => {
      const delivered = await deliverAll(spool, 32);
      if (delivered !== count) throw new Error(`${delivered} of ${count} came back`);
    };
    rows.push(await measure('lease and settle, blocks of 32', count, deliver));
  }
  await spool.close();
  rmSync(folder, { recursive: true });
  return rows;
}

/** Fills a spool, and lets a fresh process open it: this one's memory has seen every message. */
async function longQueue(queued: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'postilion-bench-spool-'));
  const filled = await open(folder);
  await appendAll(filled, queued, 2000, 200);
  await filled.close();
  const args = [fileURLToPath(import.meta.url), '--open', folder];
  const output = execFileSync(process.execPath, args, { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  return output;
}

async function openLongQueue(folder: string): Promise<object> {
  const rssMiB = (): number => Math.round(process.memoryUsage.rss() / 1_048_576);
  const rssBeforeMiB = rssMiB();
  const startMs = performance.now();
  const spool = await open(folder);
  const { queued } = await spool.counts();
  const openMs = performance.now() - startMs;
  const domains = await spool.domains(null, 100_000);
  const domainsMs = performance.now() - startMs - openMs;
  const rssOpenMiB = rssMiB();
  const leased = await measure('lease and settle, blocks of 32', queued, async () => {
    await deliverAll(spool, 32);
  });
  const result = {
    queued,
    domains: domains.length,
    openMs: Math.round(openMs),
    domainsMs: Math.round(domainsMs),
    rssBeforeMiB,
    rssOpenMiB,
    rssAfterDeliveryMiB: rssMiB(),
    deliveredPerSecond: leased.perSecond,
    deliveredCpuMicros: leased.cpuMicros,
    fileMiB: Math.round(statSync(join(folder, DATABASE_FILE)).size / 1_048_576),
  };
  await spool.close();
  return result;
}

if (options.open !== undefined) {
  console.log(JSON.stringify(await openLongQueue(options.open)));
  process.exit(0);
}
const rows = await throughput(Number(options.messages));
const queue =
  Number(options.queued) > 0 ? JSON.parse(await longQueue(Number(options.queued))) : null;
if (options.json) {
  console.log(JSON.stringify({ throughput: rows, queue }, null, 2));
} else {
  console.table(rows);
  if (queue !== null) console.table(queue);
}
