/**
 * Client CPU per message on one connection over TLS to the sink in a process of its own.
 *
 *     node bench/micro/smtp.ts [--messages N] [--octets N] [--rounds N] [--only NAME] [--json]
 */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { newCounters, openConnection } from '../../mta/smtp/connection.ts';
import { HostMemory, LADDER } from '../../mta/smtp/manners.ts';
import { createClientContext, TicketCache } from '../../mta/smtp/tickets.ts';
import { describeCause, type Transaction } from '../../mta/smtp/transaction.ts';
import { systemClock } from '../../runtime/clock.ts';
import { parseEndpoint } from '../../runtime/settings.ts';
import { benchOptions } from '../load/options.ts';

const values = benchOptions({
  messages: { type: 'string', default: '20000' },
  octets: { type: 'string', default: '10240' },
  rounds: { type: 'string', default: '3' },
  only: { type: 'string', default: '' },
  json: { type: 'boolean', default: false },
});
const messages = Number(values.messages);
const rounds = Number(values.rounds);

const line = `${'The quick brown fox jumps over the lazy dog, as it has always done.'.padEnd(76)}\r\n`;
const head = 'From: <a@example.net>\r\nTo: <b@example.org>\r\nSubject: bench\r\n\r\n';
const content = Buffer.from(
  head + line.repeat(Math.ceil((Number(values.octets) - head.length) / line.length)),
);

/** What the sink offers decides between DATA and BDAT; the rung decides how far we go. */
const ALL = [
  { name: 'lockstep DATA', rung: 3, sink: ['--no-chunking'] },
  { name: 'pipelined DATA', rung: 2, sink: ['--no-chunking'] },
  { name: 'overlap DATA', rung: 1, sink: ['--no-chunking'] },
  { name: 'overlap BDAT', rung: 1, sink: [] },
  { name: 'window BDAT', rung: 0, sink: [] },
] as const;
const VARIANTS = ALL.filter(({ name }) => name.includes(values.only));

interface Figures {
  readonly name: string;
  readonly cpuMicroseconds: number;
  readonly messagesPerSecond: number;
}

async function measure(
  name: string,
  rung: number,
  sinkArguments: readonly string[],
): Promise<Figures> {
  const sink = spawn(
    process.execPath,
    [fileURLToPath(new URL('../load/sink.ts', import.meta.url)), ...sinkArguments],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines = createInterface({ input: sink.stdout })[Symbol.asyncIterator]();
  const ready: { listening: string[] } = JSON.parse((await lines.next()).value ?? '{}');
  const endpoint = parseEndpoint(ready.listening[0]!, 0)!;
  const figures = await send(name, rung, endpoint);
  sink.stdin.end();
  const { counts } = JSON.parse((await lines.next()).value ?? '{}');
  const expected = messages + WARM_UP;
  if (counts.messages !== expected || counts.errors !== 0) {
    throw new Error(`the sink took ${counts.messages} of ${expected}, ${counts.errors} errors`);
  }
  return figures;
}

const WARM_UP = 2000;

function send(
  name: string,
  rung: number,
  endpoint: { readonly address: string; readonly port: number },
): Promise<Figures> {
  const clock = systemClock();
  const hosts = new HostMemory(clock);
  for (const manners of LADDER.slice(0, rung)) hosts.stepDown('sink.example', manners);
  const deps = {
    clock,
    tlsContext: createClientContext(''),
    tickets: new TicketCache(clock),
    hosts,
    counters: newCounters(),
  };
  let started = 0;
  let finished = 0;
  let cpu = process.cpuUsage();
  let startMs = 0;
  const transaction: Transaction = {
    reversePath: 'bounces+12345@example.net',
    recipients: ['someone@example.org'],
    content,
    body: '8bitmime',
    smtpUtf8: false,
  };
  return new Promise((resolve, reject) => {
    openConnection(
      { ...endpoint, host: 'sink.example', tls: 'require', clientName: 'bench.example' },
      deps,
      {
        next: () => {
          if (started === messages + WARM_UP) return null;
          started += 1;
          return transaction;
        },
        onOutcome(_, facts, connection) {
          if (facts[0]?.reply?.code !== 250) reject(new Error(JSON.stringify(facts)));
          finished += 1;
          if (finished === WARM_UP) {
            cpu = process.cpuUsage();
            startMs = performance.now();
          }
          if (finished < messages + WARM_UP) return;
          const { user, system } = process.cpuUsage(cpu);
          resolve({
            name,
            cpuMicroseconds: (user + system) / messages,
            messagesPerSecond: (messages * 1000) / (performance.now() - startMs),
          });
          connection.quit();
        },
        onClosed: (cause) => {
          if (finished < messages + WARM_UP) reject(new Error(describeCause(cause)));
        },
      },
    );
  });
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

const results: Figures[] = [];
for (let round = 0; round < rounds; round += 1) {
  for (const { name, rung, sink } of VARIANTS) results.push(await measure(name, rung, sink));
}
const table = VARIANTS.map(({ name }) => {
  const runs = results.filter((result) => result.name === name);
  return {
    mode: name,
    'CPU µs/message': Math.round(median(runs.map((run) => run.cpuMicroseconds)) * 10) / 10,
    'messages/s': Math.round(median(runs.map((run) => run.messagesPerSecond))),
  };
});
if (values.json) console.log(JSON.stringify({ messages, octets: content.length, table }));
else console.table(table);
