/**
 * A resolver under `postilion up` is replaced by another (SIGUSR2), and the mta beside it, while dnsperf asks it: how many
 * queries are lost? Half of the names are asked once only, so exchanges are under way at any moment.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { startNsd } from '../../test/support/nsd.ts';
import { waitFor } from '../../test/support/process.ts';
import { scratchFolder } from '../../test/support/scratch.ts';
import { benchMain } from '../load/command.ts';
import { runDnsperf } from '../load/dnsperf.ts';
import { startPostilion } from '../load/postilion.ts';

export interface PlannedRestart {
  readonly restarts: number;
  readonly sent: number;
  readonly completed: number;
  readonly lost: number;
  readonly answersPerSecond: number;
}

export interface Options {
  readonly seconds: number;
  readonly perSecond: number;
  readonly restarts: number;
  /** 0: the portable listener. */
  readonly fronts: number;
}

const ZONE = 'restart.example';
/** Between a start and the first restart, and after the last. */
const MARGIN_MS = 500;
const READY_TIMEOUT_MS = 20_000;
const PROBATION = '500ms';

/** Every other line is of a name that was not asked before. */
const lines = (count: number): string[] =>
  Array.from({ length: count }, (_, index) =>
    index % 2 === 0 ? `often${index % 200}.${ZONE} A` : `once${index}.${ZONE} MX`,
  );

export async function runPlannedRestart(options: Options): Promise<PlannedRestart> {
  const { seconds, perSecond, restarts, fronts } = options;
  const cleanup = new Cleanup();
  try {
    const folder = await scratchFolder('planned-restart');
    cleanup.add(() => folder.remove());
    const file = join(folder.path, 'questions');
    await writeFile(file, `${lines(seconds * perSecond * 2).join('\n')}\n`);
    const records = ['* 300 IN A 192.0.2.1', `* 300 IN MX 10 mx.${ZONE}.`];
    const nsd = cleanup.stop(await startNsd([{ origin: ZONE, records }]));
    const postilion = cleanup.stop(
      await startPostilion({
        program: 'up',
        upstream: nsd,
        resolver: { fronts },
        upgrade: { probation: PROBATION },
      }),
    );
    const measured = runDnsperf({ server: postilion.dns, file, seconds, perSecond });
    const child = postilion.process();
    const pauseMs = (seconds * 1000 - 2 * MARGIN_MS) / restarts;
    await sleep(MARGIN_MS);
    for (let restart = 1; restart <= restarts; restart += 1) {
      const dueAtMs = performance.now() + pauseMs;
      child.signal('SIGUSR2');
      await waitFor(
        () => child.output().split('"msg":"upgraded"').length > restart,
        () => `replacement ${restart}; it wrote:\n${child.output()}`,
        READY_TIMEOUT_MS,
      );
      await sleep(Math.max(0, dueAtMs - performance.now()));
    }
    const { sent, completed, lost, answersPerSecond } = await measured;
    return { restarts, sent, completed, lost, answersPerSecond };
  } finally {
    await cleanup.run();
  }
}

if (import.meta.main) {
  await benchMain({
    defaults: { seconds: 20, perSecond: 5_000, restarts: 4, fronts: 1 },
    run: runPlannedRestart,
  });
}
