/**
 * The ceiling of a library without a queue: nodemailer's pool sends the workload to one host, in a
 * process of its own. It takes no mail by SMTP: it makes the letters itself.
 *
 *     node bench/peers/nodemailer-pool.ts --host 127.9.0.1 --port 2525 --messages 1000
 *         --octets 10240 --recipients 1 --domains 300
 *
 * Prints {} when it is ready, begins at the first line on its input, and prints {"sent","cpuSeconds"}
 * when all is sent.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { createTransport } from 'nodemailer';
import { workloadLetters } from '../load/mail-workload.ts';

const CONNECTIONS = 20;

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '25' },
    messages: { type: 'string', default: '1000' },
    octets: { type: 'string', default: '10240' },
    recipients: { type: 'string', default: '1' },
    domains: { type: 'string', default: '300' },
  },
});
const transport = createTransport({
  pool: true,
  host: values.host,
  port: Number(values.port),
  maxConnections: CONNECTIONS,
  maxMessages: Number.POSITIVE_INFINITY,
  requireTLS: true,
  tls: { rejectUnauthorized: false },
});
const letters = workloadLetters({
  domains: Number(values.domains),
  messages: Number(values.messages),
  octets: Number(values.octets),
  recipients: Number(values.recipients),
  ownHosts: false,
});
let sent = 0;

/** Two for each connection, so that none waits for us. */
async function sendSome(): Promise<void> {
  for (let next = letters.next(); next.done !== true; next = letters.next()) {
    const { reversePath, recipients, content } = next.value;
    await transport.sendMail({
      envelope: { from: reversePath, to: [...recipients] },
      raw: Buffer.concat(content),
    });
    sent += 1;
  }
}

process.stdout.write('{}\n');
const input = createInterface({ input: process.stdin });
await once(input, 'line');
const before = process.cpuUsage();
await Promise.all(Array.from({ length: 2 * CONNECTIONS }, sendSome));
const { user, system } = process.cpuUsage(before);
process.stdout.write(`${JSON.stringify({ sent, cpuSeconds: (user + system) / 1e6 })}\n`);
transport.close();
