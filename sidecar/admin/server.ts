/**
 * What both admin servers share: bounds, security headers, JSON errors, probes and metrics.
 *
 * Invariants
 * - No request path reaches the file system.
 * - A browser can change nothing from a page of another origin: see {@link foreignPage}.
 * - Every refusal is {"error":{"code","message"}} with a stable code.
 */
import type { ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { Registry } from 'prom-client';
import type { z } from 'zod';
import type { Log } from '../../runtime/log.ts';
import type { Endpoint, Network } from '../../runtime/settings.ts';

/** Our own requests are a line of JSON; routes that take more say so themselves. */
const BODY_OCTETS_MAX = 16_384;
/** A mail domain has at most 255 octets; percent-encoding triples them. */
const PARAMETER_OCTETS_MAX = 800;
/** A client gets so long to send a request's head and body. */
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 30_000;
const CONNECTIONS_MAX = 1024;

export interface AdminDeps {
  readonly log: Log;
  readonly metrics: Registry;
  /** @returns null when the program can do its work, else why not */
  readonly ready: () => string | null;
  /** Names besides localhost and addresses under which browsers may reach us. */
  readonly hostnames: readonly string[];
  /** Clients that {@link guarded} routes serve. */
  readonly allow: readonly Network[];
}

/** Any refusal by our own routes. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
  readonly code: string;
  readonly statusCode: number;
  constructor(statusCode: number, code: string, message: string) {
    super(message);
    this.statusCode = statusCode;
    this.code = code;
  }
}

const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  // For browsers that do not know frame-ancestors.
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
} as const;

/** Responses that never end by themselves, of each server. */
const streams = new WeakMap<object, Set<ServerResponse>>();

/** A response that goes on for as long as its client listens is cut when the server is closed. */
export function endWithServer({ server }: FastifyRequest, response: ServerResponse): void {
  const open = streams.get(server.server) ?? new Set();
  streams.set(server.server, open.add(response));
  response.once('close', () => open.delete(response));
}

export function createAdminServer(deps: AdminDeps): FastifyInstance {
  const server = Fastify({
    bodyLimit: BODY_OCTETS_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: 'idle',
    // What comes while others are being finished is served as they are.
    return503OnClosing: false,
    routerOptions: { maxParamLength: PARAMETER_OCTETS_MAX },
    // Targets that are no URL are refused before any hook or handler of ours.
    frameworkErrors: (error, _request, reply: FastifyReply) => {
      reply.headers(SECURITY_HEADERS).code(400).send(errorBody(error.code, error.message));
    },
  });
  server.server.maxConnections = CONNECTIONS_MAX;
  // Form posts need no CORS preflight, and text/plain is one of their types.
  server.removeContentTypeParser('text/plain');

  server.addHook('preClose', async () => {
    for (const response of streams.get(server.server) ?? []) response.destroy();
  });
  server.addHook('onRequest', async (request, reply) => {
    reply.headers(SECURITY_HEADERS);
    if (!foreignPage(request, deps.hostnames)) return;
    // Answered here: error handlers are each scope's own, and injection has another.
    const refusal = errorBody('ADMIN_FOREIGN_ORIGIN', 'a page of another origin may not do this');
    return reply.code(403).send(refusal);
  });
  server.setErrorHandler<FastifyError>((error, request, reply) => {
    const status = error.statusCode ?? 500;
    // Our own refusals are for clients to read, also those that another program is the cause of.
    if (status < 500 || error instanceof AdminError) {
      return reply.code(status).send(errorBody(error.code, error.message));
    }
    deps.log.error({ err: error, method: request.method, url: request.url }, 'request failed');
    return reply.code(status).send(errorBody('ADMIN_INTERNAL', 'internal error; see the log'));
  });
  server.setNotFoundHandler((request, reply) => refuseUnknown(server, request.url, reply));
  addProbes(server, deps);
  return server;
}

const errorBody = (code: string, message: string) => ({ error: { code, message } });

const METHODS = ['GET', 'POST', 'PUT', 'DELETE'] as const;

/** 405 with Allow where the path exists under other methods, else 404. */
function refuseUnknown(server: FastifyInstance, target: string, reply: FastifyReply) {
  const url = target.split('?', 1)[0]!;
  const allowed = METHODS.filter((method) => server.findRoute({ method, url }) !== null);
  if (allowed.length === 0) {
    return reply.code(404).send(errorBody('ADMIN_NOT_FOUND', 'no such resource'));
  }
  return reply
    .code(405)
    .header('allow', allowed.join(', '))
    .send(errorBody('ADMIN_METHOD', `allowed here: ${allowed.join(', ')}`));
}

/**
 * Does a browser act for a page that is not ours? Browsers send Origin with every request that is
 * not GET or HEAD. A page of another site has another origin; a page that rebound its own name to
 * our address has an origin equal to Host, but under a name that we do not go by. Other clients send
 * no Origin and are bound by the listening address alone.
 */
function foreignPage(request: FastifyRequest, hostnames: readonly string[]): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined || request.method === 'GET' || request.method === 'HEAD') return false;
  if (!URL.canParse(origin)) return true;
  const { host: originHost, hostname } = new URL(origin);
  if (originHost !== host) return true;
  const bare = hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) === 0 && bare !== 'localhost' && !hostnames.includes(bare);
}

function addProbes(server: FastifyInstance, { metrics, ready }: AdminDeps): void {
  server.get('/metrics', async (_request, reply) => {
    const text = await metrics.metrics();
    return reply.type(metrics.contentType).send(text);
  });
  server.get('/healthz', async () => ({ healthy: true }));
  server.get('/readyz', async (_request, reply) => {
    const reason = ready();
    return reply.code(reason === null ? 200 : 503).send({ ready: reason === null, reason });
  });
}

/**
 * Adds routes that only the allowed networks may use: they show who writes to whom. Probes and
 * metrics are outside, since a monitor comes from elsewhere and they name nobody.
 */
export function guarded(
  server: FastifyInstance,
  allow: readonly Network[],
  addRoutes: (scope: FastifyInstance) => void,
): void {
  server.register(async (scope) => {
    scope.addHook('onRequest', async ({ ip }) => {
      if (allow.some((network) => network.contains(ip))) return;
      throw new AdminError(403, 'ADMIN_CLIENT', `${ip} is not among the networks in "allow"`);
    });
    addRoutes(scope);
  });
}

/** @throws AdminError 400 with the first thing wrong */
export function validated<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue!.path.join('.');
  throw new AdminError(
    400,
    'ADMIN_BAD_REQUEST',
    where === '' ? issue!.message : `${where}: ${issue!.message}`,
  );
}

/**
 * @param fd of a socket that listens there already, or null
 * @returns the endpoint bound; a configured port 0 shows the one the system chose
 */
export async function listenAt(
  server: FastifyInstance,
  endpoint: Endpoint,
  fd: number | null = null,
): Promise<Endpoint> {
  // Fastify hands its options to node:net as they are, and does not know a descriptor.
  const { address: host, port: wanted } = endpoint;
  const options = fd === null ? { host, port: wanted } : { host, port: wanted, fd };
  await server.listen(options);
  const bound = server.server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : endpoint.port;
  return { address: endpoint.address, port };
}
