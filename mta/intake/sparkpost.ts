/**
 * Owns POST /api/v1/transmissions in the shape that SparkPost's clients send: recipients and content
 * inline, substitution data, email_rfc822, options.start_time, metadata, campaign_id, return_path.
 *
 * What is asked for and not done here (tracking, sandbox, pools) is named in `results.ignored`; stored
 * lists and templates are refused, since without them there is nothing to send.
 */
import { z } from 'zod';
import { LABEL } from '../envelope.ts';
import { writeExtra } from '../extra.ts';
import {
  type Attachment,
  checked,
  invalidField,
  readMailbox,
  readNamedMailbox,
} from './compose.ts';
import type { RequestContext } from './handover.ts';
import type { SubmissionOptions } from './intake.ts';
import {
  type Addressee,
  decodeAttachment,
  type LetterContent,
  REFUSED_NAMED_MAX,
  readAddressees,
  sendLetters,
  shownName,
} from './letters.ts';
import { instant, tenantOption } from './options.ts';
import { parseJson } from './own-api.ts';
import type { InjectionRefused } from './problems.ts';

/** Serialised. */
const METADATA_OCTETS_MAX = 10_000;

const dataSchema = z.record(z.string(), z.unknown());
const nameSchema = z.union([
  z.string(),
  z.looseObject({ email: z.string(), name: z.string().optional() }),
]);
const fileSchema = z.looseObject({ name: z.string(), type: z.string(), data: z.string() });

const recipientSchema = z.looseObject({
  address: z.union([
    z.string(),
    z.looseObject({
      email: z.string(),
      name: z.string().optional(),
      header_to: z.string().optional(),
    }),
  ]),
  substitution_data: dataSchema.optional(),
  metadata: dataSchema.optional(),
});

const contentSchema = z.looseObject({
  email_rfc822: z.string().optional(),
  from: nameSchema.optional(),
  reply_to: z.string().optional(),
  subject: z.string().optional(),
  text: z.string().nullish(),
  html: z.string().nullish(),
  headers: z.record(z.string(), z.string()).optional(),
  attachments: z.array(fileSchema).optional(),
  inline_images: z.array(fileSchema).optional(),
});

const transmissionSchema = z.looseObject({
  recipients: z.array(z.unknown(), 'is a list of recipients; stored lists are not kept here'),
  content: contentSchema,
  options: z.looseObject({ start_time: z.string().optional() }).optional(),
  campaign_id: z.string().nullish(),
  return_path: z.string().optional(),
  metadata: dataSchema.optional(),
  substitution_data: dataSchema.optional(),
});
type Transmission = z.output<typeof transmissionSchema>;

export async function transmit(context: RequestContext): Promise<object> {
  const transmission = checked(transmissionSchema, parseJson(context));
  const outcome = await sendLetters(context, {
    ...readAddressees(context, transmission.recipients, (recipient, index) =>
      readRecipient(recipient, index, transmission),
    ),
    content: readContent(transmission),
    reversePath:
      transmission.return_path === undefined
        ? 'from'
        : readMailbox(transmission.return_path, 'return_path', null),
    options: readOptions(transmission, context),
  });
  const rejected = outcome.refused;
  const ignored = ignoredOf(transmission);
  return {
    results: {
      total_rejected_recipients: rejected.length,
      total_accepted_recipients: outcome.accepted,
      id: outcome.ids[0],
      durability: outcome.durability,
      ...(ignored.length === 0 ? {} : { ignored }),
      ...(rejected.length === 0
        ? {}
        : {
            rcpt_to_errors: rejected.slice(0, REFUSED_NAMED_MAX).map(({ index, problem }) => ({
              message: problem.message,
              code: problem.code,
              index,
            })),
          }),
    },
  };
}

/** The body of a refusal, as SparkPost's clients read it. */
export const sparkPostProblem = (problem: InjectionRefused): object => ({
  errors: [
    {
      message: problem.message,
      code: problem.code,
      ...(problem.field === null ? {} : { description: `field ${problem.field}` }),
      ...(problem.index === null ? {} : { index: problem.index }),
    },
  ],
});

function readRecipient(value: unknown, index: number, transmission: Transmission): Addressee {
  const { address, substitution_data: own, metadata } = checked(recipientSchema, value);
  const { email, header_to: headerTo, ...given } = readAddress(address, index);
  const name = shownName(typeof given.name === 'string' ? given.name : '');
  const mailbox = readMailbox(email, 'recipients', index);
  const shown =
    headerTo === undefined ? { name, mailbox } : readNamedMailbox(headerTo, 'header_to', index);
  return {
    mailbox,
    shown: shown.name === '' ? { ...shown, name } : shown,
    data: {
      ...transmission.metadata,
      ...transmission.substitution_data,
      ...metadata,
      ...own,
      address: { email, name },
    },
    index,
  };
}

type Address = Exclude<z.output<typeof recipientSchema>['address'], string>;

function readAddress(address: string | Address, index: number): Address {
  if (typeof address !== 'string') return address;
  const { name, mailbox } = readNamedMailbox(address, 'recipients', index);
  return { email: mailbox.address, name };
}

function readContent({ content }: Transmission): LetterContent {
  if (content.email_rfc822 !== undefined) return { raw: content.email_rfc822 };
  if ('template_id' in content) {
    throw invalidField('content', 'names a stored template, and none are kept here');
  }
  if (content.from === undefined) throw invalidField('from', 'is missing');
  const { text, html } = content;
  if (text == null && html == null) throw invalidField('text', 'is missing; give it, or "html"');
  return {
    from: readFrom(content.from),
    replyTo: content.reply_to ?? '',
    subject: content.subject ?? '',
    text: text ?? undefined,
    html: html ?? undefined,
    headers: content.headers ?? {},
    attachments: [
      ...(content.attachments ?? []).map((file) => attachmentOf(file, null)),
      ...(content.inline_images ?? []).map((file) => attachmentOf(file, file.name)),
    ],
  };
}

/** "Some Name <a@example.com>" may hold substitutions, so it is taken apart before they are made. */
function readFrom(from: z.output<typeof nameSchema>): { email: string; name: string } {
  if (typeof from !== 'string') return { email: from.email, name: from.name ?? '' };
  const match = /^([^<>]*)<([^<>]*)>$/.exec(from);
  if (match === null) return { email: from, name: '' };
  return { email: match[2]!, name: match[1]!.trim().replace(/^"(.*)"$/, '$1') };
}

const attachmentOf = (
  { name, type, data }: z.output<typeof fileSchema>,
  cid: string | null,
): Attachment => ({ name, type, content: decodeAttachment(data), cid });

function readOptions(transmission: Transmission, context: RequestContext): SubmissionOptions {
  const { caller, intake } = context;
  const { campaign_id: campaign, metadata, options } = transmission;
  const extra = metadata === undefined ? undefined : writeExtra({ metadata });
  if (extra !== undefined && Buffer.byteLength(extra) > METADATA_OCTETS_MAX) {
    throw invalidField('metadata', `is larger than ${METADATA_OCTETS_MAX} octets`);
  }
  const start = options?.start_time;
  return {
    ...(campaign == null || campaign === '' ? {} : { campaign: labelOf(campaign) }),
    ...tenantOption(caller),
    ...(extra === undefined ? {} : { extra }),
    ...(start === undefined ? {} : { notBeforeMs: instant(start, 'start_time', intake) }),
  };
}

/** SparkPost's campaigns are any text of 64 octets; ours are labels, and say the same with hyphens. */
function labelOf(text: string): string {
  const label = text.replaceAll(/[^A-Za-z0-9._@-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '');
  if (LABEL.test(label)) return label;
  throw invalidField('campaign_id', 'is empty or longer than 64 characters');
}

const DONE: ReadonlySet<string> = new Set(['start_time', 'transactional']);

/** Options that are set, and that have no effect here. */
function ignoredOf({ options = {} }: Transmission): string[] {
  return Object.entries(options)
    .filter(([name, value]) => value !== false && value !== null && !DONE.has(name))
    .map(([name]) => `options.${name.slice(0, 64)}`)
    .slice(0, REFUSED_NAMED_MAX);
}
