/**
 * What an SMTP session costs without a network and without a spool: commands and content in, replies and a
 * submission out, CPU per message on one thread.
 *
 *     node bench/micro/intake.ts [--messages 50000] [--octets 10240] [--rounds 5] [--json]
 *
 * The best of the rounds: what others do on the machine only adds.
 */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { mtaSchema } from '../../mta/config.ts';
import { Intake } from '../../mta/intake/intake.ts';
import { Session, type SessionHost } from '../../mta/intake/session.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { cryptoRandom } from '../../runtime/random.ts';
import { benchOptions } from '../load/options.ts';
import { tableText } from '../load/table.ts';

const values = benchOptions({
  messages: { type: 'string', default: '50000' },
  octets: { type: 'string', default: '10240' },
  rounds: { type: 'string', default: '5' },
  json: { type: 'boolean', default: false },
});
const messages = Number(values.messages);
const octets = Number(values.octets);

const LINE = `${'The quick brown fox jumps over the lazy dog, as it has always done.'.padEnd(76)}\r\n`;
const HEADER = [
  'From: <sender1@client.bench.example>',
  'To: <user1.0@d1.bench.example>',
  'Subject: Your order 1',
  'Date: Tue, 24 Nov 2026 12:00:00 +0000',
  'Message-ID: <1@client.bench.example>',
  'MIME-Version: 1.0',
  'Content-Type: text/plain; charset=us-ascii',
].map((field) => `${field}\r\n`);
const ENVELOPE =
  'MAIL FROM:<sender1@client.bench.example>\r\nRCPT TO:<user1.0@d1.bench.example>\r\n';
const content = `${HEADER.join('')}\r\n${LINE.repeat(Math.ceil(octets / LINE.length))}`;

/** Takes what is written, and says nothing by itself. */
class SilentSocket extends EventEmitter {
  readonly remoteAddress = '127.0.0.1';
  readonly writable = true;
  readonly writableNeedDrain = false;
  written = 0;
  write(text: string): boolean {
    this.written += text.length;
    return true;
  }
  pause = (): this => this;
  resume = (): this => this;
  isPaused = (): boolean => false;
  end = (): this => this;
  destroy = (): this => this;
}

function begin(): SilentSocket {
  let id = 1_000_000_000_000;
  const intake = new Intake(mtaSchema.parse({ hostname: 'mta.example.net' }), {
    accept: async () => {
      id += 1;
      return id;
    },
    clock: systemClock(),
    random: cryptoRandom(),
    log: silentLog,
  });
  const host: SessionHost = { intake, secureContext: null, onSessionEnd: () => undefined };
  const socket = new SilentSocket();
  // It speaks as soon as it is there.
  new Session(host, socket as unknown as Socket);
  socket.emit('data', Buffer.from('EHLO injector.example\r\n'));
  return socket;
}

/** A content travels with the envelope of the next message, as the mail bench sends it. */
async function sendMessages(socket: SilentSocket): Promise<void> {
  const chunk = Buffer.from(`${content}.\r\n${ENVELOPE}DATA\r\n`);
  for (let sent = 0; sent < messages; sent += 1) {
    socket.emit('data', chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function sendEnvelopes(socket: SilentSocket): Promise<void> {
  const chunk = Buffer.from(`RSET\r\n${ENVELOPE}`);
  for (let sent = 0; sent < messages; sent += 1) socket.emit('data', chunk);
}

async function measure(what: string, work: (socket: SilentSocket) => Promise<void>, opening = '') {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const socket = begin();
    if (opening !== '') socket.emit('data', Buffer.from(opening));
    const before = process.cpuUsage();
    await work(socket);
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / messages);
  }
  return { what, cpuMicros: Number(best.toFixed(2)) };
}

const rows = [
  await measure(`whole message of ${octets} octets`, sendMessages, `${ENVELOPE}DATA\r\n`),
  await measure('RSET, MAIL, RCPT', sendEnvelopes),
];
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
else {
  const lines = rows.map(({ what, cpuMicros }) => [what, cpuMicros]);
  process.stdout.write(`${tableText(['', 'µs of CPU'], lines)}\n`);
}
