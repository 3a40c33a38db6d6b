/**
 * Mail over a long path: sinks behind a relay that adds 40 ms each way. How many messages a second does
 * one connection carry, and how many connections would 1,000 messages a second need?
 *
 *     npm run bench -- mail-rtt [--delay 40] [--seconds 10] [--rounds 1]
 *         [--only postilion,postilion-data,postfix,postfix-tuned] [--save] [--json]
 *
 * All mail is for one domain; each contestant may use one connection, is fed first, then released.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { injectAll, type Load, startOptions, surround } from '../load/mail-phase.ts';
import { CONTESTANTS } from '../load/mail-run.ts';
import { benchOptions } from '../load/options.ts';
import { barSvg } from '../load/plot.ts';
import { machine, saveResults } from '../load/results.ts';
import { interleave } from '../load/rounds.ts';
import { tableText } from '../load/table.ts';
import type { Contestant } from '../peers/contestant.ts';

const POLL_MS = 10;
/** Enough for the fastest: none may run dry. */
const MESSAGES = 3_000;
/** Left out of the measurement, since a connection that learns begins slowly. */
const FIRST_MESSAGES = 12;
const FIRST_ARRIVAL_MS = 30_000;

type RttFigures = { readonly messagesPerSecond: number; readonly connectionsOpened: number };

async function measure(
  contestant: Contestant,
  delayMs: number,
  seconds: number,
): Promise<RttFigures> {
  const load: Load = {
    domains: 1,
    messages: MESSAGES,
    octets: 10_240,
    recipients: 1,
    ownHosts: true,
    sessions: 20,
    delayMs,
    connections: 1,
  };
  const cleanup = new Cleanup();
  try {
    const { world, sink } = await surround(load, contestant.chunking, cleanup);
    const running = cleanup.stop(await contestant.start(world, startOptions(load, true)));
    await injectAll(running, load);
    await running.release();
    const releasedMs = performance.now();
    const counts = async () => (await sink.ask()).counts;
    for (let now = await counts(); now.messages < FIRST_MESSAGES; now = await counts()) {
      if (performance.now() - releasedMs > FIRST_ARRIVAL_MS) throw new Error('no mail arrives');
      await sleep(POLL_MS);
    }
    const [startMs, start] = [performance.now(), await counts()];
    await sleep(seconds * 1000);
    const [endMs, end] = [performance.now(), await counts()];
    return {
      messagesPerSecond: ((end.messages - start.messages) * 1000) / (endMs - startMs),
      connectionsOpened: end.connections,
    };
  } finally {
    await cleanup.run();
  }
}

const values = benchOptions({
  delay: { type: 'string', default: '40' },
  seconds: { type: 'string', default: '10' },
  rounds: { type: 'string', default: '1' },
  only: { type: 'string', default: 'postilion,postilion-data,postfix,postfix-tuned' },
  save: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
});
const delayMs = Number(values.delay);
const skipped: Record<string, string> = {};
const taking: string[] = [];
for (const name of values.only.split(',')) {
  const reason = await CONTESTANTS.get(name)!.missing();
  if (reason === null) taking.push(name);
  else skipped[name] = reason;
}
const results = await interleave(taking, Number(values.rounds), (name) =>
  measure(CONTESTANTS.get(name)!, delayMs, Number(values.seconds)),
);
const medians = Object.fromEntries([...results].map(([name, one]) => [name, one.medians]));
const whole = {
  bench: 'mail-rtt',
  at: new Date().toISOString(),
  machine: machine(),
  delayMs,
  medians,
  skipped,
};
if (values.json) process.stdout.write(`${JSON.stringify(whole, null, 2)}\n`);
else {
  const rows = Object.entries(medians).map(([name, one]) => [
    name,
    one.messagesPerSecond,
    1000 / one.messagesPerSecond,
    one.connectionsOpened,
  ]);
  const head = ['one connection', 'messages/s', 'connections for 1,000/s', 'opened'];
  process.stdout.write(tableText(head, rows));
  for (const [name, reason] of Object.entries(skipped)) console.log(`skipped ${name}: ${reason}`);
}
if (values.save) {
  const title = `Messages a second on one connection, ${2 * delayMs} ms round trip`;
  const bars = Object.entries(medians).map(([label, one]) => ({
    label,
    values: [one.messagesPerSecond],
  }));
  const svg = barSvg({ title, unit: '/s', series: ['messages/s'], bars });
  await saveResults('mail-rtt', whole, { '': svg });
}
