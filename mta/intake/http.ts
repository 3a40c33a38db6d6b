/**
 * Owns the HTTP door: POST /v1/messages, structured (application/json) or raw (message/rfc822).
 *
 * Invariants
 * - 200 is sent only after submit() has resolved, and names the durability that was given.
 * - What is read of a body is counted against `intake_bytes` until the request is answered.
 * - All recipients of a request are taken, or none.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { formatMessageId, formatRecipientId } from '../envelope.ts';
import type { Mailbox } from './address.ts';
import { Collector } from './collector.ts';
import { checkRecipientCount, composeMessage, readMailbox } from './compose.ts';
import { checkLines } from './content.ts';
import type { Intake } from './intake.ts';
import { busyProblem, contentProblem, InjectionRefused, problemOf, tooLarge } from './problems.ts';

/** JSON writes CRLF as four characters and many others as two or six; addresses and names come on top. */
const JSON_FACTOR = 2;
const JSON_EXTRA_OCTETS = 1_048_576;

interface Message {
  readonly reversePath: Mailbox | null;
  readonly recipients: readonly Mailbox[];
  readonly content: Collector;
}

/** Registers the routes in a scope of their own: parsers and hooks do not reach the server's other routes. */
export async function injectionApi(fastify: FastifyInstance, intake: Intake): Promise<void> {
  await fastify.register(async (scope) => {
    const octetsMax = intake.settings.message_bytes;
    const jsonMax = octetsMax * JSON_FACTOR + JSON_EXTRA_OCTETS;
    scope.addHook('onRequest', async (request) => admit(intake, request));
    scope.setErrorHandler((error, _request, reply) => refuse(intake, error, reply));
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      'application/json',
      (request: FastifyRequest, payload: IncomingMessage) =>
        collect(intake, payload, declaredOctets(request), jsonMax),
    );
    scope.addContentTypeParser(
      'message/rfc822',
      (request: FastifyRequest, payload: IncomingMessage) =>
        collect(intake, payload, declaredOctets(request), octetsMax),
    );
    scope.post('/v1/messages', { bodyLimit: jsonMax }, async (request, reply) => {
      const body = request.body;
      if (!(body instanceof Collector)) {
        throw new InjectionRefused(400, 'invalid_body', 'the request has no body');
      }
      try {
        return await inject(intake, request, body, reply);
      } finally {
        body.release();
      }
    });
  });
}

/** @throws InjectionRefused before the body is read */
function admit(intake: Intake, request: FastifyRequest): void {
  if (intake.draining) {
    throw new InjectionRefused(503, 'shutting_down', 'shutting down', { retryAfterSeconds: 10 });
  }
  // The socket's address: a header that a proxy may have set proves nothing.
  if (intake.allows(request.socket.remoteAddress ?? '')) return;
  if (!intake.credentials.any) {
    throw new InjectionRefused(403, 'forbidden', 'no mail is taken from your address');
  }
  const basic = /^Basic ([A-Za-z0-9+/]+={0,2})$/i.exec(request.headers.authorization ?? '')?.[1];
  const [name = '', ...password] = Buffer.from(basic ?? '', 'base64')
    .toString('utf8')
    .split(':');
  if (intake.credentials.verify(name, password.join(':'))) return;
  throw new InjectionRefused(401, 'unauthorized', 'user and password are needed from your address');
}

function refuse(intake: Intake, error: unknown, reply: FastifyReply): void {
  const problem = problemOf(error);
  intake.refuse(problem.reason);
  if (problem.code === 'internal') intake.log.error({ error }, 'injection failed');
  if (problem.retryAfterSeconds !== null) reply.header('retry-after', problem.retryAfterSeconds);
  if (problem.status === 401)
    reply.header('www-authenticate', 'Basic realm="postilion", charset="UTF-8"');
  // The body may not have been read to its end.
  if (problem.status !== 400) reply.header('connection', 'close');
  reply.code(problem.status).send(problem.body());
}

function declaredOctets(request: FastifyRequest): number {
  const declared = Number(request.headers['content-length'] ?? 0);
  return Number.isSafeInteger(declared) && declared >= 0 ? declared : 0;
}

/** Reads a body within its limit and the shared bound; the caller owns what it resolves to. */
function collect(
  intake: Intake,
  payload: IncomingMessage,
  declared: number,
  octetsMax: number,
): Promise<Collector> {
  const content = declared > octetsMax ? null : Collector.open(intake.held, declared);
  return new Promise<Collector>((resolve, reject) => {
    const fail = (error: Error): void => {
      payload.off('data', onData).off('end', onEnd).off('close', onClose);
      // Read on and dropped, so that the answer gets through to a client that is still sending.
      payload.resume();
      content?.release();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      if (content!.octets + chunk.length > octetsMax) fail(tooLarge(intake.settings.message_bytes));
      else if (!content!.append(chunk, 0)) fail(busyProblem(intake.held.name));
    };
    const onEnd = (): void => {
      payload.off('close', onClose);
      resolve(content!);
    };
    const onClose = (): void =>
      fail(new InjectionRefused(400, 'invalid_body', 'the body broke off'));
    // Followed by 'close'; without a listener it would end the process.
    payload.on('error', () => undefined);
    if (declared > octetsMax) fail(tooLarge(intake.settings.message_bytes));
    else if (content === null) fail(busyProblem(intake.held.name));
    else payload.on('data', onData).once('end', onEnd).once('close', onClose);
  });
}

interface Accepted {
  readonly id: string;
  readonly durability: 'fsync';
  readonly recipients: readonly { readonly address: string; readonly id: string }[];
}

async function inject(
  intake: Intake,
  request: FastifyRequest,
  body: Collector,
  reply: FastifyReply,
): Promise<Accepted> {
  const raw = /^message\/rfc822\b/i.test(request.headers['content-type'] ?? '');
  const message = raw ? readRaw(intake, request, body) : await readStructured(intake, body);
  try {
    normalise(intake, message.content);
    const address = request.socket.remoteAddress ?? '';
    const prepared = intake.prepare({
      door: 'http',
      ...message,
      mayUseUtf8: true,
      trace: { protocol: request.protocol === 'https' ? 'HTTPS' : 'HTTP', helo: '', address },
      origin: address === '' ? 'http' : `http ${address}`,
    });
    if (typeof prepared === 'string') throw contentProblem(prepared);
    const id = await intake.submit(prepared, 'http');
    reply.code(200);
    return {
      id: formatMessageId(id),
      durability: 'fsync',
      recipients: prepared.envelope.recipients.map((recipient) => ({
        address: recipient.address,
        id: formatRecipientId({ message: id, index: recipient.index }),
      })),
    };
  } finally {
    message.content.release();
  }
}

/** The envelope is in the query: ?from=a@example.com&to=b@example.net&to=c@example.net */
function readRaw(intake: Intake, request: FastifyRequest, content: Collector): Message {
  const query = request.query as Readonly<Record<string, string | string[]>>;
  const unknown = Object.keys(query).find((key) => key !== 'from' && key !== 'to');
  if (unknown !== undefined) {
    const text = `${JSON.stringify(unknown.slice(0, 100))} is not a parameter; "from" and "to" are`;
    throw new InjectionRefused(400, 'unknown_field', text, { field: unknown.slice(0, 100) });
  }
  const from = query.from;
  if (typeof from !== 'string') {
    const text = '"from" is to be given once; empty for the null reverse-path';
    throw new InjectionRefused(400, 'invalid_field', text, { field: 'from' });
  }
  const to = query.to === undefined ? [] : [query.to].flat();
  checkRecipientCount(to.length, intake.settings.recipients);
  return {
    reversePath: from === '' ? null : readMailbox(from, 'from', null),
    recipients: to.map((address, index) => readMailbox(address, 'to', index)),
    content,
  };
}

async function readStructured(intake: Intake, body: Collector): Promise<Message> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.content().toString('utf8'));
  } catch {
    throw new InjectionRefused(400, 'invalid_body', 'the body is not JSON');
  }
  const composed = await composeMessage(parsed, {
    hostname: intake.settings.hostname,
    random: intake.random,
    nowMs: intake.clock.wallMs(),
    recipientsMax: intake.settings.recipients,
  });
  const content = hold(intake, composed.content);
  return { reversePath: composed.reversePath, recipients: composed.recipients, content };
}

/** @throws InjectionRefused when it is too large, or the bound is reached */
function hold(intake: Intake, octets: Buffer): Collector {
  if (octets.length > intake.settings.message_bytes) throw tooLarge(intake.settings.message_bytes);
  const content = Collector.open(intake.held, octets.length);
  if (content === null) throw busyProblem(intake.held.name);
  content.append(octets, 0);
  return content;
}

const CRLF = Buffer.from('\r\n');

/**
 * Makes every line end in CRLF, the last one too. Unlike SMTP, HTTP has framed the message already, so a
 * bare LF cannot make two servers disagree about where it ends: it is a habit of the client, and mended.
 */
function normalise(intake: Intake, content: Collector): void {
  let fault = checkLines(content.content());
  if (fault === 'bare-cr' || fault === 'bare-lf') {
    const text = content
      .content()
      .toString('latin1')
      .replaceAll(/\r\n?|\n/g, '\r\n');
    content.truncate(content.start);
    if (!content.append(Buffer.from(text, 'latin1'), 0)) throw busyProblem(intake.held.name);
    fault = checkLines(content.content());
  }
  if (fault !== null) throw contentProblem(fault);
  if (content.octets > 0 && content.buffer[content.end - 1] !== 0x0a && !content.append(CRLF, 0)) {
    throw busyProblem(intake.held.name);
  }
  if (content.octets > intake.settings.message_bytes) throw tooLarge(intake.settings.message_bytes);
}
