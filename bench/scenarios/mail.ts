/**
 * The whole mail path against what people use today: the same messages through Postilion's mta,
 * Postfix, Postfix with opendkim, Haraka, and nodemailer's pool.
 *
 *     injector ─smtp─► contestant ─smtp, TLS─► sink
 *                         └─dns─► authority
 *
 * Each in a process of its own; the CPU of the contestant is that of all its processes. Twice a round:
 * apart (mail is held, then released) and together. Every contestant starts anew each time, so its DNS
 * is cold.
 *
 *     npm run bench -- mail [--messages 20000] [--rounds 3] [--octets 10240] [--recipients 1]
 *         [--only postilion,postfix-tuned] [--save] [--json]
 */
import { parseArgs } from 'node:util';
import { report } from '../load/mail-report.ts';
import { CONTESTANTS, NODEMAILER, runMail } from '../load/mail-run.ts';

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '3' },
    octets: { type: 'string', default: '10240' },
    recipients: { type: 'string', default: '1' },
    domains: { type: 'string', default: '300' },
    sessions: { type: 'string', default: '20' },
    only: { type: 'string', default: [...CONTESTANTS.keys(), NODEMAILER].join(',') },
    save: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const outcome = await runMail({
  messages: Number(values.messages),
  rounds: Number(values.rounds),
  octets: Number(values.octets),
  recipients: Number(values.recipients),
  domains: Number(values.domains),
  sessions: Number(values.sessions),
  ownHosts: false,
  names: values.only.split(','),
  onProgress: (line) => process.stderr.write(`${line}\n`),
});
await report(outcome, values);
