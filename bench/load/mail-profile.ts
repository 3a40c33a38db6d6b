/** Where the time of Postilion's main thread goes: injection alone and delivery alone, sampled. */
import { Cleanup } from '../../test/support/cleanup.ts';
import { freePort } from '../../test/support/scratch.ts';
import type { Contestant } from '../peers/contestant.ts';
import { flameSvg, frameTree, selfTimes } from './flame.ts';
import { arrivals, atRest, injectAll, type Load, surround } from './mail-phase.ts';
import { attachProfiler } from './profiler.ts';
import { saveResults } from './results.ts';
import { tableText } from './table.ts';

const FUNCTIONS_SHOWN = 40;

export async function profileMail(contestant: Contestant, load: Load, save: boolean) {
  const cleanup = new Cleanup();
  try {
    const { world, sink } = await surround(load, contestant.chunking, cleanup);
    const inspectPort = await freePort();
    const running = cleanup.stop(await contestant.start(world, { held: true, inspectPort }));
    const profiler = await attachProfiler(inspectPort);
    cleanup.add(async () => profiler.close());
    await profiler.start();
    await injectAll(running, load);
    const injection = frameTree(await profiler.stop());
    await atRest(running);
    await profiler.start();
    await running.release();
    await arrivals(sink, load);
    await atRest(running);
    const delivery = frameTree(await profiler.stop());
    for (const [phase, root] of Object.entries({ injection, delivery })) {
      const perMessage = (micros: number): number => micros / load.messages;
      const title = `${contestant.name}, main thread, ${phase}: ${Math.round(perMessage(root.totalMicros))} µs a message`;
      const rows = (times: [string, number][]) =>
        times.slice(0, FUNCTIONS_SHOWN).map(([name, micros]) => [name, perMessage(micros)]);
      const areas = selfTimes(root, ({ area }) => area);
      const functions = selfTimes(root, ({ name, area }) => `${name} (${area})`);
      process.stdout.write(`${tableText([title, 'self µs'], rows(areas))}\n`);
      process.stdout.write(`${tableText(['', 'self µs'], rows(functions))}\n`);
      if (save)
        await saveResults(`mail-flame-${phase}`, { title, areas }, { '': flameSvg(title, root) });
    }
  } finally {
    await cleanup.run();
  }
}
