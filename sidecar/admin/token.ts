/**
 * The token that changes ask for, where one is configured: "Authorization: Bearer …" (RFC 6750 §2.1).
 *
 * Invariants: it is compared by digest and in constant time; it is taken from the header alone, never
 * from a URL, which logs and histories keep.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { AdminError } from './server.ts';

export const NO_TOKEN_TEXT =
  'this page only shows, since no token is set; to act from it, set admin.token in the configuration';

const READS = new Set(['GET', 'HEAD', 'OPTIONS']);

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

/** @param token '' asks for none, as by default: then the listening address and `allow` decide alone */
export function requireToken(scope: FastifyInstance, token: string): void {
  if (token === '') return;
  const expected = digestOf(token);
  scope.addHook('onRequest', async (request, reply) => {
    if (READS.has(request.method)) return;
    const [, given] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    if (given !== undefined && timingSafeEqual(digestOf(given), expected)) return;
    reply.header('www-authenticate', 'Bearer realm="postilion"');
    throw new AdminError(
      401,
      'ADMIN_TOKEN',
      given === undefined
        ? 'this needs the token of admin.token'
        : 'the token is not the one of admin.token',
    );
  });
}
