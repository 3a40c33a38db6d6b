/**
 * How large a machine for how much mail? Runs the mix through Postilion with its resolver, and tells what
 * this machine sustains, which resource ends first, and what a million messages cost on other machines.
 *
 *     npm run bench -- size [--per-hour 1000000] [--octets 10240] [--recipients 1] [--dkim 1] [--tls 1]
 *         [--messages 10000] [--sessions 20] [--domains 300] [--busy 0.7] [--dns-limit 1024]
 *         [--per-ip 100000] [--ips N] [--instances FILE] [--json]
 *
 * --dkim and --tls are shares from 0 to 1: of the messages, and of the connections to MX hosts. --ips is
 * how many addresses there are to send from; left out, as many as are needed. --busy is how much of the
 * processors may be used. The prices that come with it are examples: see load/instances.toml.
 */

import { availableParallelism } from 'node:os';
import { benchOptions } from '../load/options.ts';
import { machine as machineOf } from '../load/results.ts';
import { EXAMPLES, readInstances } from '../load/size-instances.ts';
import { measureDisk, memoryOctets, runMix } from '../load/size-run.ts';
import {
  dnsPacketsPerSecond,
  type Machine,
  offerOf,
  RESOURCES,
  sourceIpsNeeded,
  sustained,
} from '../load/sizing.ts';
import { tableText } from '../load/table.ts';

const HOUR_SECONDS = 3_600;

const values = benchOptions({
  'per-hour': { type: 'string', default: '1000000' },
  octets: { type: 'string', default: '10240' },
  recipients: { type: 'string', default: '1' },
  dkim: { type: 'string', default: '1' },
  tls: { type: 'string', default: '1' },
  messages: { type: 'string', default: '10000' },
  sessions: { type: 'string', default: '20' },
  domains: { type: 'string', default: '300' },
  busy: { type: 'string', default: '0.7' },
  'dns-limit': { type: 'string', default: '1024' },
  'per-ip': { type: 'string', default: '100000' },
  ips: { type: 'string' },
  instances: { type: 'string', default: EXAMPLES },
  json: { type: 'boolean', default: false },
});
const perHour = Number(values['per-hour']);
const perIpPerHour = Number(values['per-ip']);
const sessions = Number(values.sessions);
const table = await readInstances(values.instances);
const disk = await measureDisk();
const run = await runMix({
  messages: Number(values.messages),
  octets: Number(values.octets),
  recipients: Number(values.recipients),
  domains: Number(values.domains),
  ownHosts: false,
  sessions,
  signedShare: Number(values.dkim),
  tlsShare: Number(values.tls),
});
const machine: Machine = {
  processors: availableParallelism(),
  busyShare: Number(values.busy),
  speed: 1,
  ...disk,
  messagesPerFsync: sessions,
  memoryOctets: memoryOctets(),
  residentOctets: run.residentOctets,
  dnsPacketsPerSecond: Number(values['dns-limit']),
  sourceIps: values.ips === undefined ? null : Number(values.ips),
  perIpPerHour,
};
const { perSecond, first, byResource } = sustained(run.cost, machine);
const offers = table.instances.map((instance) => offerOf(instance, run.cost, machine, perHour));
const target = {
  perHour,
  perSecond: perHour / HOUR_SECONDS,
  sourceIps: sourceIpsNeeded(perHour, perIpPerHour),
  dnsPacketsPerSecond: dnsPacketsPerSecond(perHour, run.cost),
};

function print(): void {
  const { cost } = run;
  const rows: [string, number, string][] = [
    ['CPU a message', cost.cpuSeconds * 1e6, 'µs'],
    ['… of the busiest thread', cost.busiestThreadSeconds * 1e6, 'µs'],
    ['written to disk a message', cost.writtenOctets / 1024, 'KiB'],
    ['memory at rest', run.residentOctets / 2 ** 20, 'MiB'],
    ['memory for each message a second', cost.octetsPerRate / 1024, 'KiB'],
    ['DNS queries upstream per 1,000 messages, cold', cost.dnsPackets * 1000, ''],
    ['connections per 1,000 messages', run.connectionsPerThousand, ''],
    ['messages/s of the run, with all that stands around it', run.perSecond, ''],
  ];
  process.stdout.write(`${tableText(['the mix, measured', '', ''], rows)}\n`);
  const limits = RESOURCES.map((name) => [
    name,
    Number.isFinite(byResource[name]) ? byResource[name] : 'as needed',
    name === first ? 'ends first' : '',
  ]);
  process.stdout.write(`${tableText(['this machine carries', 'messages/s', ''], limits)}\n`);
  const enough = perSecond >= target.perSecond;
  const needs: [string, string | number][] = [
    ['sustained here, messages an hour', perSecond * HOUR_SECONDS],
    [`the target, ${perHour.toLocaleString('en-US')} an hour`, enough ? 'fits' : 'does not fit'],
    [`source IPs for it, one per ${perIpPerHour.toLocaleString('en-US')}`, target.sourceIps],
    ['DNS packets/s upstream for it', target.dnsPacketsPerSecond],
  ];
  process.stdout.write(`${tableText(['', ''], needs)}\n`);
  const prices = `${table.currency} a million`;
  const head = ['instance type', 'messages an hour', 'ends first', 'so many', prices];
  const lines = offers.map((offer) => [
    offer.name,
    offer.perHour,
    offer.first,
    offer.instances,
    offer.pricePerMillion,
  ]);
  process.stdout.write(tableText(head, lines));
  process.stdout.write(`Prices as of ${table.asOf}.`);
  if (table.areExamples) {
    process.stdout.write(' They are EXAMPLES, of no provider: give yours with --instances FILE.');
  }
  process.stdout.write('\n');
}

const at = new Date().toISOString();
const whole = { bench: 'size', at, machine: machineOf(), target, run, limits: machine, first };
if (values.json)
  process.stdout.write(`${JSON.stringify({ ...whole, byResource, table, offers }, null, 2)}\n`);
else print();
