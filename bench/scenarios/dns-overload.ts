/**
 * Hits offered at one and a half times what comes through, while the core saves snapshots of a full
 * cache and is scraped: is any hit lost that the kernel had not dropped before a front could see it?
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startNsd } from '../../test/support/nsd.ts';
import { scratchFolder } from '../../test/support/scratch.ts';
import { benchMain } from '../load/command.ts';
import { hotLines, QUESTION_ZONES, writeLines } from '../load/dns-questions.ts';
import { runDnsperf } from '../load/dnsperf.ts';
import { startPostilion } from '../load/postilion.ts';
import { kernelDropsOf } from '../load/proc.ts';

const CAPACITY_SECONDS = 5;
const OVERLOAD = 1.5;
/** dnsperf waits for so many at once; more than a socket's buffer holds, so that it can overflow. */
const OUTSTANDING_MAX = 20_000;
const SCRAPE_MS = 250;

async function runOverload(names: number, seconds: number): Promise<object> {
  const folder = await scratchFolder('overload');
  const nsd = await startNsd(QUESTION_ZONES);
  const postilion = await startPostilion({
    program: 'resolver',
    upstream: nsd,
    resolver: { snapshot: join(folder.path, 'snapshot'), snapshot_every: '1s' },
  });
  let scraping = true;
  let scrapes = 0;
  try {
    const file = join(folder.path, 'lines');
    await writeLines(file, hotLines(names));
    const server = postilion.dns;
    await runDnsperf({ server, file, passes: 1 });
    const { answersPerSecond } = await runDnsperf({ server, file, seconds: CAPACITY_SECONDS });
    const dropsBefore = kernelDropsOf(server.port);
    const scrape = async (): Promise<void> => {
      for (; scraping; scrapes += 1) {
        await postilion.resolverMetrics();
        await sleep(SCRAPE_MS);
      }
    };
    const scraped = scrape();
    const load = await runDnsperf({
      server,
      file,
      seconds,
      perSecond: Math.round(OVERLOAD * answersPerSecond),
      outstandingMax: OUTSTANDING_MAX,
    });
    scraping = false;
    await scraped;
    const kernelDrops = kernelDropsOf(server.port) - dropsBefore;
    return {
      names,
      capacityPerSecond: Math.round(answersPerSecond),
      sentPerSecond: Math.round(load.sent / seconds),
      sent: load.sent,
      completed: load.completed,
      lost: load.lost,
      kernelDrops,
      lostBeyondKernelDrops: Math.max(0, load.lost - kernelDrops),
      scrapes,
    };
  } finally {
    scraping = false;
    await postilion.stop();
    await nsd.stop();
    await folder.remove();
  }
}

await benchMain({
  defaults: { names: 1_000, seconds: 20 },
  run: ({ names, seconds }) => runOverload(names, seconds),
  failed: (outcome) => 'lostBeyondKernelDrops' in outcome && outcome.lostBeyondKernelDrops !== 0,
});
