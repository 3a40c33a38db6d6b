/**
 * Owns the structured message of the HTTP API: which fields it has, what they may hold, and the MIME
 * message that becomes of them.
 *
 * Invariant: no text from the request reaches a header unless it is free of control characters; header
 * names are from a fixed alphabet, and those that this module writes itself cannot be given.
 */
import MailComposer from 'nodemailer/lib/mail-composer';
import { z } from 'zod';
import type { Random } from '../../runtime/random.ts';
import { nearest } from '../../runtime/suggest.ts';
import { type Mailbox, parseMailbox } from './address.ts';
import { type OptionFields, optionFields } from './options.ts';
import { InjectionRefused } from './problems.ts';
import { newMessageId } from './received.ts';

const CONTROL = /[\p{Cc}\u2028\u2029]/u;
const NUL = '\0';
const MEDIA_TYPE =
  /^[a-z0-9.+-]{1,100}\/[a-z0-9.+-]{1,100}(?:; ?[a-z0-9-]{1,40}=[\w."-]{1,100})*$/i;
const HEADER_NAME = /^[A-Za-z][A-Za-z0-9-]{0,75}$/;
/** Custom header fields of one message. */
export const HEADERS_MAX = 100;
/** Written by us from other fields, or not to be written by a client at all (RFC 5321 §4.4, RFC 2045 §3). */
const RESERVED_HEADERS: Readonly<Record<string, string>> = {
  from: 'it comes from the field "from"',
  to: 'it comes from the field "to"',
  subject: 'it comes from the field "subject"',
  date: 'it is written on acceptance',
  bcc: 'it would show what it is to hide; name the recipient in "to"',
  received: 'it is written on acceptance',
  'return-path': 'it is written on final delivery',
  'mime-version': 'it is written with the body',
};

const requestSchema = z.strictObject({
  from: z.string(),
  to: z.preprocess((to) => (typeof to === 'string' ? [to] : to), z.array(z.string())),
  subject: z.string().optional(),
  text: z.string().optional(),
  html: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
  raw: z.string().optional(),
  ...optionFields,
});
type StructuredRequest = z.output<typeof requestSchema>;

export interface NamedMailbox {
  readonly name: string;
  readonly mailbox: Mailbox;
}

export interface StructuredMessage {
  readonly reversePath: Mailbox | null;
  readonly recipients: readonly Mailbox[];
  /** As given, or as composed; line endings not yet normalised in the former. */
  readonly content: Buffer;
  readonly fields: OptionFields;
}

export interface ComposeContext {
  readonly hostname: string;
  readonly random: Random;
  readonly nowMs: number;
  readonly recipientsMax: number;
}

/**
 * @param body parsed JSON; untrusted
 * @throws InjectionRefused naming the field, and the index of a bad recipient
 */
export async function composeMessage(
  body: unknown,
  context: ComposeContext,
): Promise<StructuredMessage> {
  const request = readRequest(body);
  const from = request.from === '' ? null : readNamedMailbox(request.from, 'from', null);
  const to = readRecipients(request.to, context.recipientsMax);
  const reversePath = from?.mailbox ?? null;
  const recipients = to.map(({ mailbox }) => mailbox);
  if (request.raw !== undefined) {
    return { reversePath, recipients, content: Buffer.from(request.raw, 'utf8'), fields: request };
  }
  if (from === null) throw invalidField('from', 'may be empty only with "raw"');
  const content = await buildMime({ ...request, from, to }, context);
  return { reversePath, recipients, content, fields: request };
}

/** @throws InjectionRefused */
export function readMailbox(text: string, field: string, index: number | null): Mailbox {
  const mailbox = parseMailbox(text);
  if (mailbox.fault === null) return mailbox;
  throw new InjectionRefused(400, 'bad_address', mailbox.text, { field, index });
}

/** @throws InjectionRefused */
export function checkRecipientCount(count: number, recipientsMax: number): void {
  if (count === 0) throw invalidField('to', 'names no recipient');
  if (count <= recipientsMax) return;
  const text = `${count} recipients are more than ${recipientsMax} (bound recipients)`;
  throw new InjectionRefused(400, 'too_many_recipients', text, { field: 'to', index: null });
}

export const invalidField = (field: string, text: string): InjectionRefused =>
  new InjectionRefused(400, 'invalid_field', `"${field}" ${text}`, { field, index: null });

function readRequest(body: unknown): StructuredRequest {
  const request = checked(requestSchema, body);
  const composed = (['subject', 'text', 'html', 'headers'] as const).find(
    (field) => request[field] !== undefined,
  );
  if (request.raw !== undefined && composed !== undefined) {
    throw invalidField(composed, 'and "raw" exclude each other');
  }
  if (request.raw === undefined && request.text === undefined && request.html === undefined) {
    throw invalidField('text', 'is missing; give "text", "html" or both, or "raw"');
  }
  return request;
}

/**
 * What of a request a schema describes.
 * @throws InjectionRefused naming the field
 */
export function checked<Schema extends z.ZodObject>(
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw explain(parsed.error, Object.keys(schema.shape));
}

/** The first problem, in our own words. */
function explain({ issues }: z.ZodError, fields: readonly string[]): InjectionRefused {
  const issue = issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const field = issue.keys[0]!.slice(0, 100);
    const near = nearest(field, fields);
    const hint = near === null ? `known are ${fields.join(', ')}` : `did you mean "${near}"?`;
    return new InjectionRefused(
      400,
      'unknown_field',
      `${JSON.stringify(field)} is not a field; ${hint}`,
      {
        field,
        index: null,
      },
    );
  }
  const [field, index] = issue.path;
  if (field === undefined)
    return new InjectionRefused(400, 'invalid_body', 'the body is not a JSON object');
  return new InjectionRefused(400, 'invalid_field', `${JSON.stringify(field)}: ${issue.message}`, {
    field: String(field),
    index: typeof index === 'number' ? index : null,
  });
}

function readRecipients(texts: readonly string[], recipientsMax: number): NamedMailbox[] {
  checkRecipientCount(texts.length, recipientsMax);
  return texts.map((text, index) => readNamedMailbox(text, 'to', index));
}

/** "local@domain" or "Some Name <local@domain>". */
export function readNamedMailbox(text: string, field: string, index: number | null): NamedMailbox {
  const match = /^([^<>]*)<([^<>]*)>$/.exec(text);
  if (match === null) return { name: '', mailbox: readMailbox(text, field, index) };
  const name = match[1]!.trim().replace(/^"(.*)"$/, '$1');
  if (CONTROL.test(name)) {
    throw new InjectionRefused(400, 'bad_address', 'control character in a display name', {
      field,
      index,
    });
  }
  return { name, mailbox: readMailbox(match[2]!, field, index) };
}

/** A message in parts, before it is MIME. Texts are untrusted. */
export interface MimeParts {
  readonly from: NamedMailbox;
  /** What the field To shows. */
  readonly to: readonly NamedMailbox[];
  readonly replyTo?: readonly NamedMailbox[];
  readonly subject?: string | undefined;
  readonly text?: string | undefined;
  readonly html?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly attachments?: readonly Attachment[];
}

export interface Attachment {
  readonly name: string;
  /** A media type. */
  readonly type: string;
  readonly content: Buffer;
  /** Content-ID of what the HTML shows in place; null for what is only attached. */
  readonly cid: string | null;
}

/** @throws InjectionRefused naming the field */
export function buildMime(
  parts: MimeParts,
  context: Omit<ComposeContext, 'recipientsMax'>,
): Promise<Buffer> {
  const { from, to, subject = '', text, html, replyTo = [], attachments = [] } = parts;
  if (CONTROL.test(subject)) throw invalidField('subject', 'holds a control character');
  const headers = readHeaders(parts.headers ?? {});
  const messageId = headers.find(({ key }) => key.toLowerCase() === 'message-id')?.value;
  const composer = new MailComposer({
    from: addressOf(from),
    to: to.map(addressOf),
    ...(replyTo.length === 0 ? {} : { replyTo: replyTo.map(addressOf) }),
    subject,
    ...(text === undefined ? {} : { text: readBody('text', text) }),
    ...(html === undefined ? {} : { html: readBody('html', html) }),
    headers,
    attachments: attachments.map(attachmentOf),
    date: new Date(context.nowMs),
    // Replaces a header of that name.
    messageId: messageId ?? newMessageId(context.hostname, context.nowMs, context.random),
    newline: 'windows',
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return composer.compile().build();
}

/** A media type and names without controls: what nodemailer writes of them cannot start a field. */
function attachmentOf({ name, type, content, cid }: Attachment) {
  if (CONTROL.test(name) || CONTROL.test(cid ?? '') || !MEDIA_TYPE.test(type)) {
    throw invalidField('attachments', 'hold a name, type or Content-ID that no header can');
  }
  return {
    filename: name,
    contentType: type,
    content,
    ...(cid === null ? {} : { cid, contentDisposition: 'inline' as const }),
  };
}

const addressOf = ({ name, mailbox }: NamedMailbox): { name: string; address: string } => ({
  name,
  address: mailbox.address,
});

function readHeaders(headers: Readonly<Record<string, string>>): { key: string; value: string }[] {
  const entries = Object.entries(headers);
  if (entries.length > HEADERS_MAX)
    throw invalidField('headers', `holds more than ${HEADERS_MAX} fields`);
  return entries.map(([key, value]) => {
    const shown = JSON.stringify(key.slice(0, 100));
    if (!HEADER_NAME.test(key)) throw invalidField('headers', `: ${shown} is no header field name`);
    const lower = key.toLowerCase();
    const reserved =
      RESERVED_HEADERS[lower] ??
      (lower.startsWith('content-') ? RESERVED_HEADERS['mime-version'] : undefined);
    if (reserved !== undefined) throw invalidField('headers', `may not hold ${shown}: ${reserved}`);
    if (CONTROL.test(value))
      throw invalidField('headers', `: the value of ${shown} holds a control character`);
    return { key, value };
  });
}

/** Any line ending will do in JSON: its sender speaks no SMTP, and cannot be read differently by two servers. */
function readBody(field: string, text: string): string {
  if (text.includes(NUL)) throw invalidField(field, 'holds a NUL character');
  return text.replaceAll(/\r\n?|\n/g, '\r\n');
}
