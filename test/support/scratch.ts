/** Ports, loopback addresses and folders that belong to one test and to no other. */

import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PORT_ATTEMPTS_MAX = 50;
/** Below the range that Linux hands to outgoing connections (32768 up), so that none of those takes it meanwhile. */
const PORT_FIRST = 10_000;
const PORT_LAST = 32_767;

function tcpFree(port: number, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: address, exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}

function udpFree(port: number, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.once('error', () => resolve(false));
    socket.bind({ port, address, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}

/** @returns a port that is free for both UDP and TCP on `address` */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < PORT_ATTEMPTS_MAX; attempt += 1) {
    const port = randomInt(PORT_FIRST, PORT_LAST + 1);
    if ((await tcpFree(port, address)) && (await udpFree(port, address))) return port;
  }
  throw new Error(`no free port on ${address} in ${PORT_ATTEMPTS_MAX} attempts`);
}

/**
 * An address of 127.0.0.0/8 that is this test's alone, for servers that must have a fixed port (53, 25).
 * 127.0.0.0/16 is left to the system's own services.
 */
export const loopbackAddress = (): string =>
  `127.${randomInt(1, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;

export interface Folder {
  readonly path: string;
  remove(): Promise<void>;
}

/** A new folder under the system's temporary one; whoever asks for it removes it. */
export async function scratchFolder(purpose: string): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), `postilion-${purpose}-`));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) };
}
