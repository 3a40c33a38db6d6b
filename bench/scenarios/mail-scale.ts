/**
 * Does cost grow with the number of sites, or memory with the queue? Postilion's mta alone, mail held
 * and then released.
 *
 *     npm run bench -- mail-scale [--sites 1,300,3000,30000] [--messages 60000]
 *         [--queue 10000,100000,1000000] [--save] [--json]
 *
 * First the same messages (1 KB) over ever more sites. A connection costs as much as ten messages, so
 * it also says how many there were: at 30,000 sites nearly every message needs one of its own. Then
 * ever more recipients in the queue, ten a message, for 300 domains: memory when all is queued.
 */

import { runPhase } from '../load/mail-phase.ts';
import { benchOptions } from '../load/options.ts';
import { lineSvg } from '../load/plot.ts';
import { machine, saveResults } from '../load/results.ts';
import { tableText } from '../load/table.ts';
import { postilion } from '../peers/postilion.ts';

const OCTETS = 1_024;
const SESSIONS = 20;
const RECIPIENTS_QUEUED = 10;
const DOMAINS_QUEUED = 300;

interface Row {
  readonly sites: number;
  readonly messages: number;
  readonly recipients: number;
  readonly injectCpu: number;
  readonly deliverCpu: number;
  readonly residentMB: number;
  readonly connections: number;
}

/** CPU is microseconds a recipient. */
async function measure(sites: number, messages: number, recipients: number): Promise<Row> {
  const shape = { domains: sites, messages, recipients, octets: OCTETS };
  const phase = await runPhase(postilion, { ...shape, ownHosts: true, sessions: SESSIONS }, true);
  const total = messages * recipients;
  const row = {
    sites,
    messages,
    recipients,
    injectCpu: (phase.injectCpuSeconds * 1e6) / total,
    deliverCpu: (phase.deliverCpuSeconds * 1e6) / total,
    residentMB: phase.resident / 1e6,
    connections: phase.counts.connections,
  };
  process.stderr.write(`${sites} sites, ${total} recipients: ${JSON.stringify(row)}\n`);
  return row;
}

const values = benchOptions({
  sites: { type: 'string', default: '1,300,3000,30000' },
  messages: { type: 'string', default: '60000' },
  queue: { type: 'string', default: '10000,100000,1000000' },
  save: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
});
const numbers = (text: string): number[] => text.split(',').filter(Boolean).map(Number);
const bySites: Row[] = [];
for (const sites of numbers(values.sites)) {
  bySites.push(await measure(sites, Number(values.messages), 1));
}
const byQueue: Row[] = [];
for (const queued of numbers(values.queue)) {
  byQueue.push(
    await measure(DOMAINS_QUEUED, Math.ceil(queued / RECIPIENTS_QUEUED), RECIPIENTS_QUEUED),
  );
}

const at = new Date().toISOString();
const whole = { bench: 'mail-scale', at, machine: machine(), bySites, byQueue };
const table = (rows: readonly Row[]): string =>
  tableText(
    ['sites', 'recipients queued', 'inject µs', 'deliver µs', 'MB when queued', 'connections'],
    rows.map((row) => [
      String(row.sites),
      row.messages * row.recipients,
      row.injectCpu,
      row.deliverCpu,
      row.residentMB,
      row.connections,
    ]),
  );
if (values.json) process.stdout.write(`${JSON.stringify(whole, null, 2)}\n`);
else process.stdout.write(`CPU per recipient\n${table(bySites)}\n${table(byQueue)}`);
if (values.save) {
  const line = (label: string, of: (row: Row) => number) => ({
    label,
    points: bySites.map((row) => ({ x: row.sites, y: of(row) })),
  });
  const memory = byQueue.map((row) => ({ x: row.messages * row.recipients, y: row.residentMB }));
  await saveResults('mail-scale', whole, {
    sites: lineSvg({
      title: `CPU per message over sites, ${values.messages} messages`,
      xLabel: 'sites',
      yLabel: 'µs',
      lines: [line('injection', (row) => row.injectCpu), line('delivery', (row) => row.deliverCpu)],
    }),
    queue: lineSvg({
      title: 'Memory with all mail queued',
      xLabel: 'recipients queued',
      yLabel: 'MB',
      lines: [{ label: 'resident', points: memory }],
    }),
  });
}
