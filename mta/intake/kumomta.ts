/**
 * Owns POST /api/inject/v1 in the shape of KumoMTA's injection API: envelope_sender, content as a whole
 * message or in parts, recipients with substitutions. Mail is always durable before the answer:
 * `deferred_spool` asks for less, and gets more.
 */
import { z } from 'zod';
import { checked, invalidField, readMailbox, readNamedMailbox } from './compose.ts';
import type { RequestContext } from './handover.ts';
import {
  type Addressee,
  decodeAttachment,
  type LetterContent,
  REFUSED_NAMED_MAX,
  readAddressees,
  sendLetters,
  shownName,
} from './letters.ts';
import { tenantOption } from './options.ts';
import { parseJson } from './own-api.ts';

const dataSchema = z.record(z.string(), z.unknown());
const personSchema = z.strictObject({ email: z.string(), name: z.string().nullish() });

const partsSchema = z.strictObject({
  from: z.union([z.string(), personSchema]).optional(),
  subject: z.string().nullish(),
  reply_to: z.union([z.string(), personSchema]).nullish(),
  text_body: z.string().nullish(),
  html_body: z.string().nullish(),
  headers: z.record(z.string(), z.string()).optional(),
  attachments: z
    .array(
      z.strictObject({
        data: z.string(),
        content_type: z.string(),
        content_id: z.string().nullish(),
        file_name: z.string().nullish(),
        base64: z.boolean().optional(),
      }),
    )
    .optional(),
});

const recipientSchema = z.strictObject({
  email: z.string(),
  name: z.string().nullish(),
  substitutions: dataSchema.optional(),
});

const injectionSchema = z.strictObject({
  envelope_sender: z.string(),
  content: z.union([z.string(), partsSchema]),
  recipients: z.array(z.unknown()),
  substitutions: dataSchema.optional(),
  deferred_spool: z.boolean().optional(),
  deferred_generation: z
    .literal(false, 'cannot be true: what was not made yet could not be kept')
    .optional(),
  template_dialect: z.enum(['Jinja', 'Static', 'Handlebars']).optional(),
  trace_headers: z.unknown().optional(),
});
type Injection = z.output<typeof injectionSchema>;

export async function injectKumo(context: RequestContext): Promise<object> {
  const injection = checked(injectionSchema, parseJson(context));
  const { recipients, envelope_sender: sender } = injection;
  const outcome = await sendLetters(context, {
    ...readAddressees(context, recipients, (recipient, index) =>
      readRecipient(recipient, index, injection),
    ),
    content: readContent(injection),
    reversePath: sender === '' ? null : readMailbox(sender, 'envelope_sender', null),
    verbatim: injection.template_dialect === 'Static',
    // Theirs: the answer need not wait for the spool.
    options: {
      ...tenantOption(context.caller),
      ...(injection.deferred_spool === true ? { durability: 'memory' } : {}),
    },
  });
  const named = outcome.refused.slice(0, REFUSED_NAMED_MAX);
  return {
    success_count: outcome.accepted,
    fail_count: outcome.refused.length,
    failed_recipients: named.map(({ index }) => emailOf(recipients[index])),
    errors: named.map(({ index, problem }) => `recipients[${index}]: ${problem.message}`),
    durability: outcome.durability,
    ids: outcome.ids,
  };
}

function readRecipient(value: unknown, index: number, injection: Injection): Addressee {
  const { email, substitutions, ...recipient } = checked(recipientSchema, value);
  const name = shownName(recipient.name ?? '');
  const mailbox = readMailbox(email, 'recipients', index);
  return {
    mailbox,
    shown: { name, mailbox },
    data: { ...injection.substitutions, ...substitutions, email, name },
    index,
  };
}

function emailOf(recipient: unknown): string {
  const parsed = recipientSchema.safeParse(recipient);
  return parsed.success ? parsed.data.email : '';
}

function readContent({ content, envelope_sender }: Injection): LetterContent {
  if (typeof content === 'string') return { raw: content };
  if (content.text_body == null && content.html_body == null) {
    throw invalidField('content', 'has neither "text_body" nor "html_body"');
  }
  const from = content.from ?? envelope_sender;
  return {
    from: typeof from === 'string' ? readFrom(from) : { email: from.email, name: from.name ?? '' },
    replyTo: personText(content.reply_to ?? ''),
    subject: content.subject ?? '',
    text: content.text_body ?? undefined,
    html: content.html_body ?? undefined,
    headers: content.headers ?? {},
    attachments: (content.attachments ?? []).map((file) => ({
      name: file.file_name ?? 'attachment',
      type: file.content_type,
      content: file.base64 === false ? Buffer.from(file.data) : decodeAttachment(file.data),
      cid: file.content_id ?? null,
    })),
  };
}

function readFrom(text: string): { email: string; name: string } {
  const { name, mailbox } = readNamedMailbox(text, 'from', null);
  return { name, email: mailbox.address };
}

const personText = (person: string | z.output<typeof personSchema>): string =>
  typeof person === 'string' ? person : `${person.name ?? ''} <${person.email}>`.trim();
