/** How commands ask a running program: HTTP to its admin address, found by flag or configuration. */
import { MTA_HTTP_PORT } from '../../mta/config.ts';
import { RESOLVER_ADMIN_PORT } from '../../resolver/config.ts';
import { formatEndpoint, parseEndpoint } from '../../runtime/settings.ts';
import { reachable } from '../config/checks.ts';
import { loadConfig } from '../config/load.ts';
import { ConfigInvalid } from '../config/problems.ts';
import type { Config } from '../config/schema.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import type { ProgramName } from '../protocol.ts';

const ANSWER_TIMEOUT_MS = 10_000;

export interface AskFlags {
  readonly config?: string;
  readonly admin?: string;
  readonly http?: string;
  readonly json?: boolean;
}

/** The flag that names a program's address by hand. */
const ADDRESS_FLAG = { resolver: 'admin', mta: 'http' } as const;
const DEFAULT_PORT = { resolver: RESOLVER_ADMIN_PORT, mta: MTA_HTTP_PORT } as const;

/** @returns "ADDRESS:PORT" */
function addressOf(program: ProgramName, flags: AskFlags): string {
  const flag = ADDRESS_FLAG[program];
  const written = flags[flag];
  if (written !== undefined) {
    const parsed = parseEndpoint(written, DEFAULT_PORT[program]);
    if (parsed !== null) return formatEndpoint(reachable(parsed));
    throw new CommandFailed(
      EXIT.usage,
      `--${flag}: "${written}" is not an address such as 127.0.0.1:${DEFAULT_PORT[program]}`,
    );
  }
  const config = configOf(flags);
  return formatEndpoint(
    reachable(program === 'resolver' ? config.resolver.admin : config.mta.http),
  );
}

const configOf = (flags: AskFlags): Config =>
  loadConfig({ file: flags.config ?? null, overrides: [], role: 'up' }).config;

/** What changes ask for, where the configuration names it; '' where it does not. */
function tokenOf(program: ProgramName, flags: AskFlags): string {
  try {
    return configOf(flags).admin.token;
  } catch (error) {
    // Whoever names the address need not have a configuration that is right.
    const isNamed = flags[ADDRESS_FLAG[program]] !== undefined && flags.config === undefined;
    if (error instanceof ConfigInvalid && isNamed) return '';
    throw error;
  }
}

export interface Question {
  readonly program: ProgramName;
  /** Starts with "/"; its parts are encoded by the caller. */
  readonly path: string;
  /** Sent as JSON by POST; undefined is a GET. */
  readonly body?: unknown;
  /** Without a body, in place of GET. */
  readonly method?: 'DELETE';
}

/** @throws CommandFailed: notRunning when nobody answers, failed when the program refuses */
export async function ask<T>(
  { program, path, body, method }: Question,
  flags: AskFlags,
): Promise<T> {
  const address = addressOf(program, flags);
  const isRead = body === undefined && method === undefined;
  const init = isRead ? {} : changeOf(method ?? 'POST', body, tokenOf(program, flags));
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  const response = await fetch(`http://${address}${path}`, { ...init, signal }).catch(
    (error: unknown) => {
      throw noAnswer(error, program, address);
    },
  );
  const text = await response.text();
  if (!response.ok)
    throw new CommandFailed(EXIT.failed, refusalText(text, response.status, address));
  return JSON.parse(text) as T;
}

function changeOf(method: string, body: unknown, token: string): RequestInit {
  const authorization = token === '' ? {} : { authorization: `Bearer ${token}` };
  if (body === undefined) return { method, headers: authorization };
  const headers = { 'content-type': 'application/json', ...authorization };
  return { method, body: JSON.stringify(body), headers };
}

function noAnswer(error: unknown, program: ProgramName, address: string): CommandFailed {
  if (error instanceof Error && error.name === 'TimeoutError') {
    return new CommandFailed(
      EXIT.notRunning,
      `the ${program} at ${address} did not answer within ${ANSWER_TIMEOUT_MS / 1000} s`,
    );
  }
  return new CommandFailed(
    EXIT.notRunning,
    `no ${program} answers at ${address}; start one with "postilion up", or say where it is with --${ADDRESS_FLAG[program]} or --config`,
  );
}

function refusalText(body: string, status: number, address: string): string {
  try {
    const { error } = JSON.parse(body) as { readonly error?: { readonly message?: unknown } };
    if (typeof error?.message === 'string') return error.message;
  } catch {
    // Not ours, so not JSON: the status says what there is to say.
  }
  return `${address} answered ${status}; is this Postilion?`;
}
