/**
 * Owns the octets of HTTP requests: read within bounds, and brought into the form that mail has.
 *
 * Invariant: what is read is counted against `intake_bytes` until its owner releases it.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { Collector } from './collector.ts';
import { checkLines } from './content.ts';
import type { Intake } from './intake.ts';
import { busyProblem, contentProblem, InjectionRefused, tooLarge } from './problems.ts';

export function declaredOctets(request: FastifyRequest): number {
  const declared = Number(request.headers['content-length'] ?? 0);
  return Number.isSafeInteger(declared) && declared >= 0 ? declared : 0;
}

/** Reads a body within its limit and the shared bound; the caller owns what it resolves to. */
export function collect(
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

/** @throws InjectionRefused when it is too large, or the bound is reached */
export function hold(intake: Intake, octets: Buffer): Collector {
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
export function normalise(intake: Intake, content: Collector): void {
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
