/**
 * Owns requests that become several messages: content with substitutions, made for each recipient and
 * handed over a few at a time, so that memory holds a few of them, not all.
 *
 * Invariant: every recipient of the request is in exactly one outcome, accepted or refused.
 */
import type { Durability } from '../envelope.ts';
import type { Mailbox } from './address.ts';
import { hold } from './body.ts';
import { charge } from './callers.ts';
import {
  type Attachment,
  buildMime,
  checkRecipientCount,
  invalidField,
  type NamedMailbox,
  readMailbox,
  readNamedMailbox,
} from './compose.ts';
import { type Accepted, handOver, onceOf, type RequestContext } from './handover.ts';
import type { SubmissionOptions } from './intake.ts';
import { InjectionRefused, problemOf } from './problems.ts';
import { suppressedProblem } from './screening.ts';
import {
  compile,
  isConstant,
  render,
  type Substitutions,
  type Template,
  verbatim,
} from './template.ts';

/** Messages made and handed over at once: the spool commits them together. */
const BATCH_MESSAGES = 64;
/** Refused recipients that are named in an answer. */
export const REFUSED_NAMED_MAX = 100;
const CONTROL = /[\p{Cc}\u2028\u2029]/u;

export interface Addressee {
  readonly mailbox: Mailbox;
  /** Shown in the field To. */
  readonly shown: NamedMailbox;
  readonly data: Substitutions;
  /** Position in the request. */
  readonly index: number;
}

/** What the letters have in common, as the client wrote it; texts may hold substitutions. */
export type LetterContent =
  | { readonly raw: string }
  | {
      readonly from: { readonly email: string; readonly name: string };
      readonly replyTo: string;
      readonly subject: string;
      readonly text: string | undefined;
      readonly html: string | undefined;
      readonly headers: Readonly<Record<string, string>>;
      readonly attachments: readonly Attachment[];
    };

export interface Letters {
  readonly content: LetterContent;
  /** 'from': the address of the field From. */
  readonly reversePath: Mailbox | null | 'from';
  /** Texts are meant as they stand: tags in them are no substitutions. */
  readonly verbatim?: boolean;
  readonly addressees: readonly Addressee[];
  /** Of the request's recipients, those that are none. */
  readonly refused: readonly RefusedRecipient[];
  readonly options: SubmissionOptions;
}

export interface RefusedRecipient {
  /** Position in the request. */
  readonly index: number;
  readonly problem: InjectionRefused;
}

export interface LettersOutcome {
  /** Of each message. */
  readonly durability: Durability;
  /** Ids of the messages, in order. */
  readonly ids: readonly string[];
  readonly accepted: number;
  /** Those that were none, and those that could not be taken. */
  readonly refused: readonly RefusedRecipient[];
}

/** @throws InjectionRefused when all of it is refused for one reason, such as a full disk */
export async function sendLetters(
  context: RequestContext,
  letters: Letters,
): Promise<LettersOutcome> {
  const { intake, caller } = context;
  charge(intake, caller, letters.addressees.length);
  const make = writerOf(context, letters);
  const groups = make.constant
    ? [letters.addressees]
    : letters.addressees.map((addressee) => [addressee]);
  const ids: string[] = [];
  const refused: RefusedRecipient[] = [];
  for (let at = 0; at < groups.length; at += BATCH_MESSAGES) {
    const batch = groups.slice(at, at + BATCH_MESSAGES).map(async (group, offset) => {
      try {
        const accepted = await sendOne(context, letters, make, group, at + offset);
        ids.push(accepted.id);
        refused.push(...suppressedOf(accepted, group));
      } catch (error) {
        const problem = problemOf(error);
        if (problem.code === 'internal') intake.log.error({ error }, 'injection failed');
        for (const { index } of group) refused.push({ index, problem });
      }
    });
    await Promise.all(batch);
  }
  if (ids.length === 0 && refused.length > 0) throw refused[0]!.problem;
  ids.sort();
  return {
    durability: intake.durabilityOf(letters.options.durability),
    ids,
    accepted: letters.addressees.length - refused.length,
    refused: [...letters.refused, ...refused],
  };
}

async function sendOne(
  context: RequestContext,
  { reversePath, options }: Letters,
  make: Writer,
  group: readonly Addressee[],
  part: number,
): Promise<Accepted> {
  const made = await make.write(group[0]!);
  const content = hold(context.intake, made.content);
  try {
    const once = onceOf(context, part);
    return await handOver(context, {
      reversePath: reversePath === 'from' ? made.from : reversePath,
      recipients: group.map(({ mailbox }) => mailbox),
      content,
      options: once === null ? options : { ...options, once },
    });
  } finally {
    content.release();
  }
}

/** Those of a message that was taken for others. */
const suppressedOf = (
  { recipients }: Accepted,
  group: readonly Addressee[],
): { index: number; problem: InjectionRefused }[] =>
  recipients.flatMap((recipient, at) => {
    if (!('suppressed' in recipient)) return [];
    const { index } = group[at]!;
    return [{ index, problem: suppressedProblem(recipient.suppressed, index) }];
  });

interface Writer {
  /** All addressees get the same octets. */
  readonly constant: boolean;
  write(to: Addressee): Promise<{ readonly from: Mailbox | null; readonly content: Buffer }>;
}

/** @throws InjectionRefused for a substitution that cannot be read */
function writerOf(context: RequestContext, letters: Letters): Writer {
  const { settings } = context.intake;
  const lengthMax = settings.message_bytes;
  const { content } = letters;
  const read = letters.verbatim === true ? verbatim : compile;
  if ('raw' in content) return rawWriter(content.raw, letters.reversePath, read, lengthMax);
  const optional = (text: string | undefined, field: string, html = false): Template | null =>
    text === undefined ? null : read(text, field, html);
  const from = read(content.from.email, 'from');
  const fromName = read(content.from.name, 'from');
  const replyTo = read(content.replyTo, 'reply_to');
  const subject = read(content.subject, 'subject');
  const text = optional(content.text, 'text');
  const html = optional(content.html, 'html', true);
  const headers = Object.entries(content.headers).map(
    ([name, value]) => [name, read(value, 'headers')] as const,
  );
  const written = (template: Template, data: Substitutions): string =>
    render(template, data, lengthMax);
  return {
    constant: false,
    async write({ shown, data }) {
      const mailbox = readMailbox(written(from, data), 'from', null);
      const name = written(fromName, data);
      if (CONTROL.test(name)) throw invalidField('from', 'holds a control character');
      const reply = written(replyTo, data);
      const { intake } = context;
      const mime = await buildMime(
        {
          from: { name, mailbox },
          to: [shown],
          replyTo: reply === '' ? [] : [readNamedMailbox(reply, 'reply_to', null)],
          subject: written(subject, data),
          text: text === null ? undefined : written(text, data),
          html: html === null ? undefined : written(html, data),
          headers: Object.fromEntries(headers.map(([key, value]) => [key, written(value, data)])),
          attachments: content.attachments,
        },
        { hostname: settings.hostname, random: intake.random, nowMs: intake.clock.wallMs() },
      );
      return { from: mailbox, content: mime };
    },
  };
}

/** A message that is complete; substitutions in its header may not begin a field of their own. */
function rawWriter(
  raw: string,
  reversePath: Letters['reversePath'],
  read: typeof compile,
  lengthMax: number,
): Writer {
  const end = /\r?\n\r?\n/.exec(raw)?.index ?? raw.length;
  const header = read(raw.slice(0, end), 'content');
  const body = read(raw.slice(end), 'content');
  return {
    constant: isConstant(header) && isConstant(body),
    async write({ data }) {
      const top = render(header, isConstant(header) ? data : withoutControls(data), lengthMax);
      const content = Buffer.from(top + render(body, data, lengthMax), 'utf8');
      return { from: reversePath === 'from' ? fromOf(top) : null, content };
    },
  };
}

/** The mailbox of the field From, where no reverse-path is given. */
function fromOf(header: string): Mailbox {
  const field = /^From:(.*(?:\r?\n[ \t].*)*)/im.exec(header)?.[1];
  if (field === undefined)
    throw invalidField('content', 'has no From, and no reverse-path is given');
  const text = field.replaceAll(/\r?\n/g, '').trim();
  return readMailbox(/<([^<>]*)>$/.exec(text)?.[1] ?? text, 'from', null);
}

/** Texts with controls made spaces; deeper values too, to the depth that paths reach. */
function withoutControls(data: Substitutions): Substitutions {
  const clean = (value: unknown, depth: number): unknown => {
    if (typeof value === 'string') return value.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ');
    if (typeof value !== 'object' || value === null || depth === 0) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, clean(inner, depth - 1)]),
    );
  };
  return clean(data, DATA_DEPTH_MAX) as Substitutions;
}

/** Levels of substitution data that are looked into. */
const DATA_DEPTH_MAX = 8;

/** An attachment's base64; other characters than its own are refused rather than skipped. */
export function decodeAttachment(data: string): Buffer {
  const text = data.replaceAll(/[\r\n]/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw invalidField('attachments', 'is not base64');
  return Buffer.from(text, 'base64');
}

/** A name that the field To may show. @throws InjectionRefused */
export function shownName(name: string): string {
  if (CONTROL.test(name)) throw invalidField('recipients', 'holds a control character');
  return name;
}

/**
 * Reads each recipient; those that cannot be are refused alone, with their index.
 * @throws InjectionRefused when there are none, or none can be read, or more than the bound
 */
export function readAddressees(
  { intake, caller }: RequestContext,
  recipients: readonly unknown[],
  read: (recipient: unknown, index: number) => Addressee,
): Pick<Letters, 'addressees' | 'refused'> {
  checkRecipientCount(recipients.length, intake.allowances.recipientsMax(caller.principal));
  const addressees: Addressee[] = [];
  const refused: RefusedRecipient[] = [];
  for (const [index, recipient] of recipients.entries()) {
    try {
      addressees.push(read(recipient, index));
    } catch (error) {
      if (!(error instanceof InjectionRefused)) throw error;
      refused.push({ index, problem: error });
    }
  }
  if (addressees.length === 0 && refused.length > 0) throw refused[0]!.problem;
  return { addressees, refused };
}
