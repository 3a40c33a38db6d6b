/** The tables [mta.tlsrpt], [mta.feedback] and [mta.suppression]: schema, defaults, and the sentences of the reference. */
import { z } from 'zod';
import { duration } from '../../runtime/settings.ts';
import { BOUNCE_CLASSES } from './classify.ts';

/** ASCII alone, so that it fits a field as it stands. */
const ADDRESS = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{1,63}$/;
const address = z
  .string()
  .refine(
    (text) => text === '' || ADDRESS.test(text),
    'is no address such as "reports@example.com"',
  )
  .default('');

export const tlsrptSchema = z
  .strictObject({
    enabled: z
      .boolean()
      .default(false)
      .describe(
        'Once a day, report on TLS (RFC 8460) to the domains that ask for it with a TXT record at _smtp._tls. Costs a TXT lookup a day for each domain that got mail.',
      ),
    organization: z
      .string()
      .max(200)
      .regex(/^[\x20-\x7e]*$/, 'is not printable ASCII')
      .default('')
      .describe('Who reports. Default: the domain of `from`.'),
    from: address.describe(
      'Address that reports come from; a DKIM key of its domain must sign them (`mta.dkim`), or receivers ignore them. Default: tls-reports@ and `mta.hostname`.',
    ),
    contact: z
      .string()
      .max(200)
      .regex(/^[\x20-\x7e]*$/, 'is not printable ASCII')
      .default('')
      .describe('Whom to ask about a report. Default: `from`.'),
  })
  .prefault({});

const DOMAIN = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const domain = z
  .string()
  .toLowerCase()
  .refine((text) => text === '' || DOMAIN.test(text), 'is no domain such as "bounces.example.net"');

export const feedbackSchema = z
  .strictObject({
    domains: z
      .array(domain.refine((text) => text !== '', 'is empty'))
      .max(100)
      .default([])
      .describe(
        'Domains whose mail is not relayed but read here: delivery reports (RFC 3464) and complaints (RFC 5965) become events. Anybody may send to them over SMTP; their MX must lead here.',
      ),
    forward: address.describe(
      'Address that gets what is neither, such as mail from people; "" keeps it as files in the folder unrecognised/ of the spool.',
    ),
    keep_bytes: z
      .int()
      .min(1_048_576)
      .default(67_108_864)
      .describe('Without `forward`: of such files kept, the newest.'),
    verp: domain
      .default('')
      .describe(
        'One of `domains`: every message then goes out from bounce+TOKEN@ this domain, one recipient a transaction, so that what comes back is matched for certain. "" leaves reverse-paths alone. The senders themselves hear of our own notices only, no longer of those that hosts send later.',
      ),
    secrets: z
      .array(z.string().min(16, 'has at least 16 characters'))
      .max(10)
      .default([])
      .describe(
        'For `verp`: the first seals tokens, each opens them. Put a new one first; drop the old after a month.',
      ),
  })
  .refine(({ domains, verp }) => verp === '' || domains.includes(verp), {
    path: ['verp'],
    message: 'is not among mta.feedback.domains',
  })
  .refine(({ secrets, verp }) => verp === '' || secrets.length > 0, {
    path: ['secrets'],
    message: 'is empty, and mta.feedback.verp needs one',
  })
  .refine(({ domains, forward }) => !domains.includes(forward.split('@')[1]?.toLowerCase() ?? ''), {
    path: ['forward'],
    message: 'is in one of mta.feedback.domains, so mail would go round',
  })
  .prefault({});

export const suppressionSchema = z
  .strictObject({
    enabled: z
      .boolean()
      .default(false)
      .describe(
        'Keep a list of addresses that get no mail, and ask it when mail is injected over HTTP.',
      ),
    smtp: z
      .boolean()
      .default(false)
      .describe('Ask it at SMTP too: RCPT of a suppressed address is answered 550 5.7.1.'),
    on: z
      .array(z.enum(['bounce', 'bounce-report', 'complaint']))
      .default(['bounce', 'bounce-report', 'complaint'])
      .describe(
        'What puts an address on the list by itself: a refusal of its host in SMTP, a report of failure (mta.feedback), a complaint.',
      ),
    classes: z
      .array(z.enum(BOUNCE_CLASSES))
      .default(['bad-mailbox', 'inactive-mailbox'])
      .describe('Classes of bounces and reports that do; others say nothing of the address.'),
    unproven: z
      .boolean()
      .default(false)
      .describe(
        'Reports and complaints suppress also where no token (mta.feedback.verp) proves that they are about mail of ours. Anybody can forge these.',
      ),
    entries: z
      .int()
      .min(1)
      .max(100_000_000)
      .default(5_000_000)
      .describe('Addresses on the list at most; beyond it none is added until some are removed.'),
    hook: z
      .literal('')
      .or(z.url({ protocol: /^https?$/ }))
      .default('')
      .describe(
        'URL that is asked with a POST, at injection over HTTP, which recipients are to get nothing; "" is none.',
      ),
    hook_timeout: duration('2s').describe('How long an injection waits for the hook.'),
    hook_fail_open: z
      .boolean()
      .default(true)
      .describe('true: mail is taken when the hook does not answer; false: clients get 503.'),
  })
  .prefault({});
