/**
 * A front's thread is terminated in the first third of a full load of hits, and fails by an uncaught
 * error in the second: what is lost, and how many threads have served?
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { admit } from '../../resolver/cache/admission.ts';
import { AnswerTable } from '../../resolver/cache/answer-table.ts';
import { queryKey } from '../../resolver/cache/key.ts';
import { Counters } from '../../resolver/counters.ts';
import { FrontsListener } from '../../resolver/listen/fronts.ts';
import { DROPPED } from '../../resolver/service.ts';
import { FLAG, TYPE } from '../../resolver/wire/constants.ts';
import { parseQuery, QueryView } from '../../resolver/wire/message.ts';
import { textToName } from '../../resolver/wire/names.ts';
import { writeQuery, writeResponse } from '../../resolver/wire/write.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { clockHandle } from '../../runtime/thread-clock.ts';
import { TimerWheel } from '../../runtime/timer-wheel.ts';
import { scratchFolder } from '../../test/support/scratch.ts';
import { benchMain } from '../load/command.ts';
import { hotLines, writeLines } from '../load/dns-questions.ts';
import { runDnsperf } from '../load/dnsperf.ts';
import { kernelDropsOf } from '../load/proc.ts';

const NAMES = 1_000;
const TABLE_OCTETS = 4_194_304;
const DAY_MS = 86_400_000;
const LIMITS = {
  minTtlMs: 0,
  maxTtlMs: DAY_MS,
  maxNegativeTtlMs: DAY_MS,
  failureTtlMs: 1_000,
  staleMs: 0,
};

/** A table with the answer to every line. */
function fillTable(lines: readonly string[], nowMs: number): AnswerTable {
  const table = new AnswerTable(TABLE_OCTETS, 7);
  const view = new QueryView();
  for (const line of lines) {
    const name = textToName(line.split(' ')[0]!) as Uint8Array;
    // dnsperf sends EDNS, which is not part of the key.
    const query = writeQuery({ id: 0, name, type: TYPE.A });
    parseQuery(query, view);
    const rdata = Uint8Array.of(192, 0, 2, 1);
    const response = writeResponse({
      id: 0,
      flags: FLAG.RD | FLAG.RA,
      question: { name, type: TYPE.A },
      answers: [{ name, type: TYPE.A, ttlSeconds: 86_400, rdata }],
    });
    const admission = admit(response, nowMs, LIMITS);
    if (admission.verdict === 'keep') table.publish(queryKey(query, view), admission.entry);
  }
  return table;
}

async function runFrontDeath(seconds: number): Promise<object> {
  const clock = systemClock();
  const lines = hotLines(NAMES);
  const table = fillTable(lines, clock.monotonicMs());
  const counters = new Counters();
  const wheel = new TimerWheel(clock);
  const listener = await FrontsListener.open(
    { address: '127.0.0.1', port: 0 },
    {
      fronts: 1,
      ipv6Only: false,
      table: table.memory,
      clock: clockHandle(clock),
      allow: ['127.0.0.0/8'],
      service: { answer: () => DROPPED, resolve: () => undefined },
      counters,
      wheel,
      log: silentLog,
    },
  );
  const folder = await scratchFolder('front-death');
  const file = join(folder.path, 'lines');
  await writeLines(file, lines);
  const threads = new Set(listener.workers);
  const load = runDnsperf({ server: listener.endpoint, file, seconds });
  try {
    await sleep((seconds * 1000) / 3);
    await listener.workers[0]!.terminate();
    await sleep((seconds * 1000) / 3);
    for (const worker of listener.workers) threads.add(worker);
    listener.fronts[0]!.memory.order = -1;
    const { sent, completed, lost, answersPerSecond } = await load;
    for (const worker of listener.workers) threads.add(worker);
    counters.gather();
    const kernelDrops = kernelDropsOf(listener.endpoint.port);
    const frontsServed = threads.size;
    const { hot } = counters.answers;
    return { sent, completed, lost, answersPerSecond, hot, kernelDrops, frontsServed };
  } finally {
    await listener.close();
    wheel.stop();
    await folder.remove();
  }
}

await benchMain({
  defaults: { seconds: 60 },
  run: ({ seconds }) => runFrontDeath(seconds),
  failed: (outcome) => 'frontsServed' in outcome && outcome.frontsServed !== 3,
});
