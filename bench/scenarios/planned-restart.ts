/**
 * A resolver under `postilion up` is replaced by another (SIGUSR2), and the mta beside it, while dnsperf asks
 * it: how many queries are lost? One name in ten is asked once only, so exchanges are under way at any moment.
 * What dnsperf and the machine lose by themselves is measured first, for --control seconds.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { startNsd } from '../../test/support/nsd.ts';
import { scratchFolder } from '../../test/support/scratch.ts';
import { benchMain } from '../load/command.ts';
import { type BurstResult, runDnsperf } from '../load/dnsperf.ts';
import { startPostilion } from '../load/postilion.ts';

export interface PlannedRestart {
  readonly restarts: number;
  readonly sent: number;
  readonly completed: number;
  readonly lost: number;
  readonly slowestAnswerMs: number;
  /** Without a restart. */
  readonly controlSent: number;
  readonly controlLost: number;
  readonly controlSlowestMs: number;
}

export interface Options {
  readonly perSecond: number;
  readonly restarts: number;
  /** 0: the portable listener. */
  readonly fronts: number;
  /** 0: no control. */
  readonly controlSeconds: number;
}

const ZONE = 'restart.example';
const QUESTIONS = 1_000_000;
const ONCE_EVERY = 10;
/** Before the first restart, and after each. */
const MARGIN_MS = 500;
const PROBATION = '500ms';
const SECONDS_MAX = 600;
/** As Postfix and glibc have it: who is answered within it has lost nothing. */
const CLIENT_TIMEOUT_SECONDS = 5;

const lines = (): string[] =>
  Array.from({ length: QUESTIONS }, (_, index) =>
    index % ONCE_EVERY === 0 ? `once${index}.${ZONE} MX` : `often${index % 200}.${ZONE} A`,
  );

export async function runPlannedRestart(options: Options): Promise<PlannedRestart> {
  const { perSecond, restarts, fronts, controlSeconds } = options;
  const cleanup = new Cleanup();
  try {
    const folder = await scratchFolder('planned-restart');
    cleanup.add(() => folder.remove());
    const file = join(folder.path, 'questions');
    await writeFile(file, `${lines().join('\n')}\n`);
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
    const ask = (seconds: number, interrupt: AbortSignal): Promise<BurstResult> =>
      runDnsperf({
        server: postilion.dns,
        file,
        seconds,
        perSecond,
        timeoutSeconds: CLIENT_TIMEOUT_SECONDS,
        interrupt,
      });
    const control =
      controlSeconds === 0 ? null : await ask(controlSeconds, new AbortController().signal);
    const enough = new AbortController();
    const measured = ask(SECONDS_MAX, enough.signal);
    await sleep(MARGIN_MS);
    for (let restart = 1; restart <= restarts; restart += 1) {
      const { state, reason } = await postilion.upgrade();
      if (state !== 'done') throw new Error(`restart ${restart}: ${state}: ${reason}`);
      await sleep(MARGIN_MS);
    }
    enough.abort();
    const { sent, completed, lost, slowestSeconds } = await measured;
    return {
      restarts,
      sent,
      completed,
      lost,
      slowestAnswerMs: slowestSeconds * 1_000,
      controlSent: control?.sent ?? 0,
      controlLost: control?.lost ?? 0,
      controlSlowestMs: (control?.slowestSeconds ?? 0) * 1_000,
    };
  } finally {
    await cleanup.run();
  }
}

if (import.meta.main) {
  await benchMain({
    defaults: { 'per-second': 20_000, restarts: 5, fronts: 1, control: 20 },
    run: (numbers) =>
      runPlannedRestart({
        perSecond: numbers['per-second'],
        restarts: numbers.restarts,
        fronts: numbers.fronts,
        controlSeconds: numbers.control,
      }),
    failed: (outcome) => (outcome as PlannedRestart).lost > 0,
  });
}
