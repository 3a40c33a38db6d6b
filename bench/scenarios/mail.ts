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
 *         [--workloads usual,large,several] [--only postilion,postfix-tuned] [--save] [--json]
 *     npm run bench -- mail --profile [--only postilion] [--messages 20000] [--save]
 *
 * The workloads: 10 KB, 50 KB, and 10 KB for five recipients, a table each, in place of --octets and
 * --recipients.
 *
 * --profile samples Postilion's main thread, injection and delivery apart, and draws flame charts.
 */

import { profileMail } from '../load/mail-profile.ts';
import { report } from '../load/mail-report.ts';
import { CONTESTANTS, NODEMAILER, runMail } from '../load/mail-run.ts';
import { benchOptions } from '../load/options.ts';
import { postilion } from '../peers/postilion.ts';

const values = benchOptions({
  messages: { type: 'string', default: '20000' },
  rounds: { type: 'string', default: '3' },
  octets: { type: 'string', default: '10240' },
  recipients: { type: 'string', default: '1' },
  workloads: { type: 'string' },
  domains: { type: 'string', default: '300' },
  sessions: { type: 'string', default: '20' },
  only: { type: 'string', default: [...CONTESTANTS.keys(), NODEMAILER].join(',') },
  profile: { type: 'boolean', default: false },
  save: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
});
/** What the issue of speed asks for, by name. */
const WORKLOADS: Readonly<
  Record<string, { readonly octets: number; readonly recipients: number }>
> = {
  usual: { octets: 10_240, recipients: 1 },
  large: { octets: 51_200, recipients: 1 },
  several: { octets: 10_240, recipients: 5 },
};
const load = {
  messages: Number(values.messages),
  octets: Number(values.octets),
  recipients: Number(values.recipients),
  domains: Number(values.domains),
  sessions: Number(values.sessions),
  ownHosts: false,
};
const names = values.only.split(',');

async function compare(): Promise<void> {
  const workloads = values.workloads === undefined ? [{}] : values.workloads.split(',').map(known);
  const wholes: object[] = [];
  for (const workload of workloads) {
    const outcome = await runMail({
      ...load,
      ...workload,
      rounds: Number(values.rounds),
      names,
      onProgress: (line) => process.stderr.write(`${line}\n`),
    });
    wholes.push(await report(outcome, values));
  }
  if (!values.json) return;
  process.stdout.write(`${JSON.stringify(wholes.length === 1 ? wholes[0] : wholes, null, 2)}\n`);
}

function known(name: string) {
  const workload = WORKLOADS[name];
  if (workload === undefined) {
    throw new Error(`no workload "${name}"; there are ${Object.keys(WORKLOADS).join(', ')}`);
  }
  return workload;
}

if (values.profile) {
  await profileMail(CONTESTANTS.get(names[0]!) ?? postilion, load, values.save);
} else await compare();
