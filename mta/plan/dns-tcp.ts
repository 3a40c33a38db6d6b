/** One question over one TCP connection (RFC 1035 §4.2.2), for responses that UDP truncates. */
import { connect, type Socket } from 'node:net';
import { HEADER_OCTETS } from '../../resolver/wire/constants.ts';
import { idOf, readUint16, repeatsQuestion, writeUint16 } from '../../resolver/wire/message.ts';
import type { Endpoint } from '../../runtime/settings.ts';

const LENGTH_OCTETS = 2;

/**
 * Sends `wire` and calls back once: with the response, or with null when there was none or it did not
 * repeat the question. No time-out of its own: the caller cancels.
 *
 * @param questionEnd octet offset past the question in `wire`
 * @returns cancels, without a call back
 */
export function askOverTcp(
  server: Endpoint,
  wire: Uint8Array,
  questionEnd: number,
  done: (response: Uint8Array | null) => void,
): () => void {
  const socket = connect({ host: server.address, port: server.port, noDelay: true });
  let received: Uint8Array = new Uint8Array(0);
  let finished = false;
  const finish = (response: Uint8Array | null): void => {
    if (finished) return;
    finished = true;
    socket.destroy();
    done(response);
  };
  socket.on('connect', () => sendFramed(socket, wire));
  socket.on('data', (chunk: Uint8Array) => {
    received = Buffer.concat([received, chunk]);
    if (received.length < LENGTH_OCTETS) return;
    const end = LENGTH_OCTETS + readUint16(received, 0);
    // Bounded: a length is 16 bits, and one chunk more than that ends it.
    if (received.length < end) return;
    const response = received.subarray(LENGTH_OCTETS, end);
    const matches =
      response.length >= HEADER_OCTETS &&
      idOf(response) === idOf(wire) &&
      repeatsQuestion(response, wire, questionEnd, false);
    finish(matches ? response : null);
  });
  socket.on('error', () => finish(null));
  socket.on('close', () => finish(null));
  return () => {
    finished = true;
    socket.destroy();
  };
}

function sendFramed(socket: Socket, wire: Uint8Array): void {
  const framed = new Uint8Array(LENGTH_OCTETS + wire.length);
  writeUint16(framed, 0, wire.length);
  framed.set(wire, LENGTH_OCTETS);
  socket.write(framed);
}
