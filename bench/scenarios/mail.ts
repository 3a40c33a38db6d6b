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
 *     npm run bench -- mail --profile [--only postilion] [--messages 20000] [--save]
 *
 * --profile samples Postilion's main thread, injection and delivery apart, and draws flame charts.
 */
import { parseArgs } from 'node:util';
import { profileMail } from '../load/mail-profile.ts';
import { report } from '../load/mail-report.ts';
import { CONTESTANTS, NODEMAILER, runMail } from '../load/mail-run.ts';
import { postilion } from '../peers/postilion.ts';

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '3' },
    octets: { type: 'string', default: '10240' },
    recipients: { type: 'string', default: '1' },
    domains: { type: 'string', default: '300' },
    sessions: { type: 'string', default: '20' },
    only: { type: 'string', default: [...CONTESTANTS.keys(), NODEMAILER].join(',') },
    profile: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const load = {
  messages: Number(values.messages),
  octets: Number(values.octets),
  recipients: Number(values.recipients),
  domains: Number(values.domains),
  sessions: Number(values.sessions),
  ownHosts: false,
};
const names = values.only.split(',');
if (values.profile) {
  await profileMail(CONTESTANTS.get(names[0]!) ?? postilion, load, values.save);
} else {
  const outcome = await runMail({
    ...load,
    rounds: Number(values.rounds),
    names,
    onProgress: (line) => process.stderr.write(`${line}\n`),
  });
  await report(outcome, values);
}
