/**
 * How the dashboard asks a program: its own by its own routes, the other by HTTP to its admin address.
 * Either way it is the JSON API that everyone has, so the page can show and do nothing beyond that.
 */
import type { FastifyInstance } from 'fastify';

export interface Question {
  /** Starts with "/"; its parts are encoded by the caller. */
  readonly path: string;
  /** Sent as JSON by POST; undefined is a GET. */
  readonly body?: object;
  /** Of the client that is behind the question. */
  readonly authorization?: string | undefined;
  readonly ip: string;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface Program {
  /** @throws NoAnswer */
  ask(question: Question): Promise<Answer>;
}

/** The program did not answer; the message says where and why. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  readonly code = 'ADMIN_NO_ANSWER';
}

const ANSWER_TIMEOUT_MS = 5_000;
/** Two hours of samples with sites are some 2 MB. */
const ANSWER_OCTETS_MAX = 16 * 1_048_576;

/** The program that the server belongs to. */
export const ownProgram = (server: FastifyInstance): Program => ({
  async ask({ path, body, authorization, ip }) {
    const response = await server.inject({
      url: path,
      remoteAddress: ip,
      method: body === undefined ? 'GET' : 'POST',
      ...(body === undefined ? {} : { payload: body }),
      ...(authorization === undefined ? {} : { headers: { authorization } }),
    });
    return { status: response.statusCode, body: jsonOf(response.body) };
  },
});

/** @param address "ADDRESS:PORT" */
export const remoteProgram = (address: string): Program => ({
  async ask({ path, body, authorization }) {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (authorization !== undefined) headers.authorization = authorization;
    try {
      const response = await fetch(`http://${address}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headers,
        redirect: 'error',
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      });
      return { status: response.status, body: jsonOf(await boundedText(response)) };
    } catch (error) {
      if (error instanceof NoAnswer) throw error;
      throw new NoAnswer(`nothing answers at ${address}`);
    }
  },
});

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_OCTETS_MAX) throw new NoAnswer('its answer is too long');
  }
  return text + decoder.decode();
}

/** @throws NoAnswer: whatever this is, it is no Postilion */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new NoAnswer('what answers is not Postilion');
  }
}
