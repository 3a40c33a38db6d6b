/**
 * Owns the HTTP door: who comes in, how bodies are read, which API a path belongs to, and how each of
 * them says no.
 *
 * Invariants
 * - Success is sent only after submit() has resolved.
 * - What is read of a body is counted against `intake_bytes` until the request is answered.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { collect, declaredOctets } from './body.ts';
import { type Caller, callerOf } from './callers.ts';
import { Collector } from './collector.ts';
import type { RequestContext } from './handover.ts';
import type { Intake } from './intake.ts';
import { injectKumo } from './kumomta.ts';
import { injectOwn } from './own-api.ts';
import { InjectionRefused, problemOf } from './problems.ts';
import { sparkPostProblem, transmit } from './sparkpost.ts';

/** JSON writes CRLF as four characters and many others as two or six; addresses and names come on top. */
const JSON_FACTOR = 2;
const JSON_EXTRA_OCTETS = 1_048_576;

type Inject = (context: RequestContext) => Promise<object>;
type Refusal = (problem: InjectionRefused) => object;

interface Route {
  readonly path: string;
  readonly inject: Inject;
  readonly refusal: Refusal;
}

const ownRefusal: Refusal = (problem) => problem.body();

const ROUTES: readonly Route[] = [
  { path: '/v1/messages', inject: injectOwn, refusal: ownRefusal },
  { path: '/api/inject/v1', inject: injectKumo, refusal: ownRefusal },
  { path: '/api/v1/transmissions', inject: transmit, refusal: sparkPostProblem },
];

/** Registers the routes in a scope of their own: parsers and hooks do not reach the server's other routes. */
export async function injectionApi(fastify: FastifyInstance, intake: Intake): Promise<void> {
  const octetsMax = intake.settings.message_bytes;
  const jsonMax = octetsMax * JSON_FACTOR + JSON_EXTRA_OCTETS;
  for (const { path, inject, refusal } of ROUTES) {
    await fastify.register(async (scope) => {
      const callers = new WeakMap<FastifyRequest, Caller>();
      scope.addHook('onRequest', async (request) => {
        callers.set(request, await admit(intake, request));
      });
      scope.setErrorHandler((error, _request, reply) => refuse(intake, error, reply, refusal));
      scope.removeAllContentTypeParsers();
      for (const [type, max] of [
        ['application/json', jsonMax],
        ['message/rfc822', octetsMax],
      ] as const) {
        scope.addContentTypeParser(type, (request: FastifyRequest, payload: IncomingMessage) =>
          collect(intake, payload, declaredOctets(request), max),
        );
      }
      scope.post(path, { bodyLimit: jsonMax }, async (request) => {
        const body = request.body;
        if (!(body instanceof Collector)) {
          throw new InjectionRefused(400, 'invalid_body', 'the request has no body');
        }
        try {
          return await inject({ intake, request, body, caller: callers.get(request)! });
        } finally {
          body.release();
        }
      });
    });
  }
}

/** @throws InjectionRefused before the body is read */
async function admit(intake: Intake, request: FastifyRequest): Promise<Caller> {
  if (intake.draining) {
    throw new InjectionRefused(503, 'shutting_down', 'shutting down', { retryAfterSeconds: 10 });
  }
  return callerOf(intake, request);
}

function refuse(intake: Intake, error: unknown, reply: FastifyReply, refusal: Refusal): void {
  const problem = problemOf(error);
  intake.refuse(problem.reason);
  if (problem.code === 'internal') intake.log.error({ error }, 'injection failed');
  if (problem.retryAfterSeconds !== null) reply.header('retry-after', problem.retryAfterSeconds);
  if (problem.status === 401)
    reply.header('www-authenticate', 'Basic realm="postilion", charset="UTF-8"');
  // The body may not have been read to its end.
  if (problem.status !== 400) reply.header('connection', 'close');
  reply.code(problem.status).send(refusal(problem));
}
