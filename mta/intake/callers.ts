/** Owns who may inject over HTTP: an allowed network, a user with a password, or an API key. */
import type { FastifyRequest } from 'fastify';
import { type Principal, principalOf } from './allowances.ts';
import type { Intake } from './intake.ts';
import { InjectionRefused } from './problems.ts';

export interface Caller {
  /** Of the API key or user; null for an allowed network, which may speak for any tenant. */
  readonly principal: Principal | null;
  /** Separates the idempotency keys of callers. */
  readonly scope: string;
}

const MS_PER_SECOND = 1000;

/**
 * A key is looked for in what clients already send: `Authorization: KEY` (SparkPost's), `Bearer KEY`, and
 * the password of Basic. An allowed network needs none; but where keys exist, one that is shown must be
 * right, so that a mistake does not pass for another tenant.
 * @throws InjectionRefused
 */
export async function callerOf(intake: Intake, request: FastifyRequest): Promise<Caller> {
  const { apiKeys, credentials } = intake;
  const header = request.headers.authorization ?? '';
  const basic = /^Basic ([A-Za-z0-9+/]+={0,2})$/i.exec(header)?.[1];
  const [user = '', ...rest] = Buffer.from(basic ?? '', 'base64')
    .toString('utf8')
    .split(':');
  const password = rest.join(':');
  const shown = basic === undefined ? header.replace(/^Bearer +/i, '') : password;
  if (apiKeys.any && shown !== '') {
    const key = apiKeys.nameOf(shown);
    if (key !== null) return { principal: principalOf('key', key, undefined), scope: `key ${key}` };
  }
  const verdict = basic === undefined ? 'wrong' : await credentials.verify(user, password);
  if (verdict === 'busy') {
    const text = 'too many passwords to look at, try again later';
    throw new InjectionRefused(503, 'busy', text, { retryAfterSeconds: 1 });
  }
  if (verdict !== 'wrong') return { principal: verdict, scope: `user ${user}` };
  // The socket's address: a header that a proxy may have set proves nothing.
  if (intake.allows(request.socket.remoteAddress ?? '') && !(apiKeys.any && shown !== '')) {
    return { principal: null, scope: 'network' };
  }
  if (!credentials.any && !apiKeys.any) {
    throw new InjectionRefused(403, 'forbidden', 'no mail is taken from your address');
  }
  const text = apiKeys.any
    ? 'an API key, or user and password, is needed, and this is none'
    : 'user and password are needed from your address';
  throw new InjectionRefused(401, 'unauthorized', text);
}

/** @throws InjectionRefused when the caller's allowance is spent */
export function charge({ allowances }: Intake, { principal }: Caller, recipients: number): void {
  if (principal === null) return;
  const waitMs = allowances.waitMs(principal);
  if (waitMs === null) {
    allowances.take(principal, recipients);
    return;
  }
  const text = `more than ${allowances.ratePerSecond(principal)} recipients a second (bound key_rate)`;
  throw new InjectionRefused(429, 'rate_limited', text, {
    retryAfterSeconds: Math.ceil(waitMs / MS_PER_SECOND),
  });
}
