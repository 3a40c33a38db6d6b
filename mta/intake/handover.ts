/**
 * Owns the way of an HTTP request's message from its parts into the spool, whatever API it came by.
 *
 * Invariant: a repetition under one idempotency key yields the message of the first time, and no other.
 */
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import {
  type Durability,
  formatMessageId,
  formatRecipientId,
  type MessageId,
  type Once,
} from '../envelope.ts';
import { SubmittedBefore } from '../errors.ts';
import type { Mailbox } from './address.ts';
import { normalise } from './body.ts';
import type { Caller } from './callers.ts';
import type { Collector } from './collector.ts';
import type { Intake, SubmissionOptions } from './intake.ts';
import type { Verdict } from './outside.ts';
import { contentProblem, InjectionRefused } from './problems.ts';
import { screen } from './screening.ts';

/** What is known of a request before its message is. */
export interface RequestContext {
  readonly intake: Intake;
  readonly request: FastifyRequest;
  readonly caller: Caller;
  readonly body: Collector;
}

export interface Message {
  readonly reversePath: Mailbox | null;
  readonly recipients: readonly Mailbox[];
  /** Released by whoever made it. */
  readonly content: Collector;
  readonly options: SubmissionOptions;
}

/** What the own API answers. */
export interface Accepted {
  readonly id: string;
  /** What the message got, whatever was asked for; see {@link Durability}. */
  readonly durability: Durability;
  /** There under the same idempotency key; absent when it is new. */
  readonly repeated?: true;
  readonly recipients: readonly AcceptedRecipient[];
}

export type AcceptedRecipient =
  | { readonly address: string; readonly id: string }
  | { readonly address: string; readonly suppressed: Pick<Verdict, 'cause' | 'text'> };

/** @throws InjectionRefused, or what Intake.submit() rejects with */
export async function handOver(context: RequestContext, message: Message): Promise<Accepted> {
  const { intake, request } = context;
  normalise(intake, message.content);
  const address = request.socket.remoteAddress ?? '';
  const origin = address === '' ? 'http' : `http ${address}`;
  const screened = await screen(intake, message, origin);
  const prepared = intake.prepare({
    door: 'http',
    ...message,
    recipients: screened.recipients,
    mayUseUtf8: true,
    trace: { protocol: request.protocol === 'https' ? 'HTTPS' : 'HTTP', helo: '', address },
    origin,
  });
  if (typeof prepared === 'string') throw contentProblem(prepared);
  const submission = screened.numbered(prepared);
  let repeated = false;
  let id: MessageId;
  try {
    id = await intake.submit(submission, 'http');
  } catch (error) {
    if (!(error instanceof SubmittedBefore)) throw error;
    if (error.digest !== prepared.once?.digest) throw conflict();
    repeated = true;
    id = error.messageId;
  }
  if (!repeated) screened.tell();
  return {
    id: formatMessageId(id),
    durability: intake.durabilityOf(message.options.durability),
    ...(repeated ? { repeated } : {}),
    recipients: message.recipients.map((recipient, index) => {
      const verdict = screened.suppressed.get(index);
      return verdict === undefined
        ? { address: recipient.address, id: formatRecipientId({ message: id, index }) }
        : { address: recipient.address, suppressed: verdict };
    }),
  };
}

const conflict = (): InjectionRefused =>
  new InjectionRefused(
    409,
    'idempotency_conflict',
    'this Idempotency-Key came with another request before',
  );

/** Printable ASCII; a UUID is usual. */
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/**
 * @param part number of the message within the request
 * @returns null when the client gave no key
 * @throws InjectionRefused
 */
export function onceOf(context: RequestContext, part = 0): Once | null {
  const { intake, request, caller, body } = context;
  const key = request.headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key !== 'string' || !IDEMPOTENCY_KEY.test(key)) {
    const text = 'Idempotency-Key is 1 to 255 printable characters without spaces';
    throw new InjectionRefused(400, 'invalid_field', text, { field: 'idempotency-key' });
  }
  return {
    key: `${caller.scope} ${part} ${key}`,
    digest: createHash('sha256').update(`${request.url}\n`).update(body.content()).digest('hex'),
    untilMs: intake.clock.wallMs() + intake.settings.idempotency_age,
  };
}
