/**
 * Owns POST /v1/messages: one message, structured (application/json) or raw (message/rfc822).
 *
 * Invariant: all recipients of a request are taken, or none.
 */
import { z } from 'zod';
import { hold } from './body.ts';
import { charge } from './callers.ts';
import { checked, checkRecipientCount, composeMessage, readMailbox } from './compose.ts';
import { type Accepted, handOver, type Message, onceOf, type RequestContext } from './handover.ts';
import type { SubmissionOptions } from './intake.ts';
import { type OptionFields, optionFields, optionsOf } from './options.ts';
import { InjectionRefused } from './problems.ts';

export async function injectOwn(context: RequestContext): Promise<Accepted> {
  const { intake, caller, request } = context;
  const raw = /^message\/rfc822\b/i.test(request.headers['content-type'] ?? '');
  const message = raw ? readRaw(context) : await readStructured(context);
  try {
    charge(intake, caller, message.recipients.length);
    return await handOver(context, message);
  } finally {
    message.content.release();
  }
}

function requestOptions(context: RequestContext, fields: OptionFields): SubmissionOptions {
  const once = onceOf(context);
  const options = optionsOf(fields, context.caller, context.intake);
  return once === null ? options : { ...options, once };
}

const querySchema = z.strictObject({
  from: z.string('is to be given once; empty for the null reverse-path'),
  to: z.union([z.string(), z.array(z.string())]).optional(),
  ...optionFields,
});

/** The envelope is in the query: ?from=a@example.com&to=b@example.net&to=c@example.net&priority=urgent */
function readRaw(context: RequestContext): Message {
  const { intake, body, caller } = context;
  const { from, to, ...fields } = checked(querySchema, context.request.query);
  const addresses = to === undefined ? [] : [to].flat();
  checkRecipientCount(addresses.length, intake.allowances.recipientsMax(caller.principal));
  return {
    reversePath: from === '' ? null : readMailbox(from, 'from', null),
    recipients: addresses.map((address, index) => readMailbox(address, 'to', index)),
    content: body,
    options: requestOptions(context, fields),
  };
}

async function readStructured(context: RequestContext): Promise<Message> {
  const { intake, caller } = context;
  const composed = await composeMessage(parseJson(context), {
    hostname: intake.settings.hostname,
    random: intake.random,
    nowMs: intake.clock.wallMs(),
    recipientsMax: intake.allowances.recipientsMax(caller.principal),
  });
  const { reversePath, recipients, content, fields } = composed;
  const options = requestOptions(context, fields);
  return { reversePath, recipients, content: hold(intake, content), options };
}

/** @throws InjectionRefused */
export function parseJson({ body }: RequestContext): unknown {
  try {
    return JSON.parse(body.content().toString('utf8'));
  } catch {
    throw new InjectionRefused(400, 'invalid_body', 'the body is not JSON');
  }
}
