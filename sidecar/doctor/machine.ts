/** What the doctor looks at, asked of the machine it runs on; tests hand in a machine of their own. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { reverse } from 'node:dns/promises';
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { FLAG, TYPE } from '../../resolver/wire/constants.ts';
import {
  answerCountOf,
  hasFlag,
  headerRcodeOf,
  idOf,
  readTtlSeconds,
} from '../../resolver/wire/message.ts';
import { skipName, textToName } from '../../resolver/wire/names.ts';
import { writeQuery } from '../../resolver/wire/write.ts';
import type { Endpoint } from '../../runtime/settings.ts';

export interface DnsQuestion {
  readonly server: Endpoint;
  readonly name: string;
  readonly type: 'A' | 'SOA' | 'NS';
  readonly over: 'udp' | 'tcp';
}

export interface DnsReply {
  readonly rcode: number;
  readonly answers: number;
  readonly authenticated: boolean;
  /** Of the first answer; null without one. */
  readonly ttlSeconds: number | null;
}

export interface Machine {
  /** @returns null when it cannot be read */
  readText(path: string): string | null;
  exists(path: string): boolean;
  /** @returns the system's error code, or null when the address can be bound */
  bindTrouble(endpoint: Endpoint, over: 'udp' | 'tcp'): Promise<string | null>;
  /** Of the nearest folder that exists. `freeBytes` is what a user without privilege may fill. */
  folder(path: string): { readonly writable: boolean; readonly freeBytes: number };
  /** @returns null when no response came */
  ask(question: DnsQuestion): Promise<DnsReply | null>;
  /** @returns names of an address; null when that could not be found out */
  namesOf(address: string): Promise<readonly string[] | null>;
  /** Addresses that reach beyond this machine. */
  readonly publicAddresses: readonly string[];
  readonly wallMs: number;
  /** Names that exist nowhere, one per call. */
  randomLabel(): string;
}

const ANSWER_TIMEOUT_MS = 2_000;
const HEADER_OCTETS = 12;
/** TYPE and CLASS. */
const QUESTION_FIXED_OCTETS = 4;
const LABEL_LETTERS = 20;

export const thisMachine = (publicAddresses: readonly string[]): Machine => ({
  readText(path) {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  },
  exists: existsSync,
  bindTrouble,
  folder: folderAt,
  ask: (question) => (question.over === 'udp' ? askUdp(question) : askTcp(question)),
  namesOf: (address) => reverse(address).catch(() => null),
  publicAddresses,
  wallMs: Date.now(),
  randomLabel: () =>
    Array.from({ length: LABEL_LETTERS }, () => String.fromCharCode(97 + randomInt(26))).join(''),
});

function bindTrouble({ address, port }: Endpoint, over: 'udp' | 'tcp'): Promise<string | null> {
  return new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message);
    if (over === 'tcp') {
      const server = createServer().once('error', fail);
      server.listen({ host: address, port, exclusive: true }, () => {
        server.close(() => resolve(null));
      });
      return;
    }
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4').once('error', fail);
    socket.bind({ address, port, exclusive: true }, () => socket.close(() => resolve(null)));
  });
}

function folderAt(path: string): { readonly writable: boolean; readonly freeBytes: number } {
  let at = path;
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  const { bavail, bsize } = statfsSync(at);
  const freeBytes = bavail * bsize;
  try {
    accessSync(at, constants.W_OK | constants.X_OK);
    return { writable: true, freeBytes };
  } catch {
    return { writable: false, freeBytes };
  }
}

function queryOf({ name, type }: DnsQuestion): Uint8Array {
  const wireName = textToName(name);
  if (typeof wireName === 'number') throw new Error(`not a domain name: ${name}`);
  const id = randomInt(65_536);
  return writeQuery({ id, name: wireName, type: TYPE[type], ad: true, dnssecOk: true });
}

/** @returns null when the message answers something else or is cut short */
function replyOf(message: Uint8Array, query: Uint8Array): DnsReply | null {
  if (message.length < HEADER_OCTETS || idOf(message) !== idOf(query)) return null;
  const answers = answerCountOf(message);
  return {
    rcode: headerRcodeOf(message),
    answers,
    authenticated: hasFlag(message, FLAG.AD),
    ttlSeconds: answers === 0 ? null : firstTtlSeconds(message),
  };
}

function firstTtlSeconds(message: Uint8Array): number | null {
  const questionName = skipName(message, HEADER_OCTETS);
  if (questionName < 0) return null;
  const owner = skipName(message, questionName + QUESTION_FIXED_OCTETS);
  const ttlAt = owner + QUESTION_FIXED_OCTETS;
  return owner < 0 || ttlAt + 4 > message.length ? null : readTtlSeconds(message, ttlAt);
}

function askUdp(question: DnsQuestion): Promise<DnsReply | null> {
  const { address, port } = question.server;
  const query = queryOf(question);
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    const end = (reply: DnsReply | null): void => {
      clearTimeout(timer);
      socket.close();
      resolve(reply);
    };
    const timer = setTimeout(() => end(null), ANSWER_TIMEOUT_MS);
    socket.once('error', () => end(null));
    socket.connect(port, address, () => {
      socket.once('message', (message) => end(replyOf(message, query)));
      socket.send(query);
    });
  });
}

function askTcp(question: DnsQuestion): Promise<DnsReply | null> {
  const { address, port } = question.server;
  const query = queryOf(question);
  const socket = connect({ host: address, port });
  return new Promise((resolve) => {
    let heard = Buffer.alloc(0);
    const end = (reply: DnsReply | null): void => {
      socket.destroy();
      resolve(reply);
    };
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => end(null));
    socket.once('error', () => end(null));
    socket.once('close', () => end(null));
    socket.once('connect', () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(query.length);
      socket.write(Buffer.concat([length, query]));
    });
    // A length of 16 bits bounds what is kept.
    socket.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk]);
      if (heard.length >= 2 && heard.length >= 2 + heard.readUInt16BE(0)) {
        end(replyOf(heard.subarray(2), query));
      }
    });
  });
}
