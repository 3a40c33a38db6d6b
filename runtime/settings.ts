/**
 * Building blocks of the configuration schema: durations, sizes, addresses and networks as people
 * write them, parsed to the units that code uses. Each refuses with a sentence that says what to write.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** @returns milliseconds, or null when the text is not a duration such as "90s", "1h30m" or "0" */
export function parseDuration(text: string): number | null {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d+)?(ms|[smhdw]))+$/.test(text)) return null;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    totalMs += Number(amount) * UNIT_MS[unit!]!;
  }
  return totalMs;
}

/** @returns the shortest text for which parseDuration() yields it, such as "5m" or "90s" */
export function formatDuration(milliseconds: number): string {
  const [unit, unitMs] = UNITS_LONGEST_FIRST.find(([, ms]) => milliseconds % ms === 0)!;
  return milliseconds === 0 ? '0' : `${milliseconds / unitMs}${unit}`;
}

const UNITS_LONGEST_FIRST = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
] as const;

/** A duration written "500ms", "30s", "5m", "1h30m", "3d" or "0"; yields milliseconds. */
export const duration = (defaultText: string) =>
  z
    .string()
    .default(defaultText)
    .transform((text, context) => {
      const milliseconds = parseDuration(text);
      if (milliseconds !== null) return milliseconds;
      context.addIssue(`"${text}" is not a duration; write for example "500ms", "30s" or "3d"`);
      return z.NEVER;
    });

/** Numeric host and port to bind or to send to. */
export interface Endpoint {
  /** IPv4 or IPv6 address, no brackets. */
  readonly address: string;
  /** 1 to 65535; 0 lets the system choose (listeners only). */
  readonly port: number;
}

/** @returns the endpoint, or null when the text is not "ADDRESS", "ADDRESS:PORT" or "[IPv6]:PORT" */
export function parseEndpoint(text: string, defaultPort: number): Endpoint | null {
  if (isIP(text) !== 0) return { address: text, port: defaultPort };
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text);
  const plain = /^([^:[\]]+):(\d{1,5})$/.exec(text);
  const [, address, portText] = bracketed ?? plain ?? [];
  if (address === undefined || isIP(address) === 0) return null;
  if (bracketed !== null && isIP(address) !== 6) return null;
  const port = portText === undefined ? defaultPort : Number(portText);
  return port <= 65_535 ? { address, port } : null;
}

export const formatEndpoint = ({ address, port }: Endpoint): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** An address such as "127.0.0.1:5335" or "[::1]:5335"; yields an {@link Endpoint}. */
export const endpoint = (defaultPort: number) =>
  z.string().transform((text, context) => {
    const parsed = parseEndpoint(text, defaultPort);
    if (parsed !== null) return parsed;
    context.addIssue(
      `"${text}" is not an address; write for example "127.0.0.1:${defaultPort}" or "[::1]:${defaultPort}"`,
    );
    return z.NEVER;
  });

/** A set of addresses, such as the clients that may ask. */
export interface Network {
  readonly text: string;
  contains(address: string): boolean;
}

/** @returns the network, or null when the text is neither an address nor CIDR */
export function parseNetwork(text: string): Network | null {
  if (!ipaddr.isValidCIDR(text) && isIP(text) === 0) return null;
  const [base, prefix] = text.includes('/')
    ? ipaddr.parseCIDR(text)
    : [ipaddr.process(text), isIP(text) === 4 ? 32 : 128];
  return {
    text,
    contains(address) {
      if (isIP(address) === 0) return false;
      // process() turns ::ffff:192.0.2.1 into 192.0.2.1, as dual-stack sockets report it.
      const candidate = ipaddr.process(address);
      return candidate.kind() === base.kind() && candidate.match(base, prefix);
    },
  };
}

/** "192.0.2.0/24", "::1"; yields a {@link Network}. */
export const network = () =>
  z.string().transform((text, context) => {
    const parsed = parseNetwork(text);
    if (parsed !== null) return parsed;
    context.addIssue(`"${text}" is not a network; write for example "10.0.0.0/8" or "::1"`);
    return z.NEVER;
  });
