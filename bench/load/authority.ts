/**
 * An embedded internet's worth of DNS: authority for many zones at once, over UDP and TCP, answering
 * like a resolver that has everything cached (RA set), so that Postilion can forward to it.
 *
 * Invariants
 * - A name outside every zone is REFUSED; a name that is not there is NXDOMAIN and a type that is not
 *   there NODATA, both with the zone's SOA (RFC 2308 §2).
 * - Every question received is counted, under its name in lower case and its type.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type dns2 from 'dns2';
import { createTCPServer, createUDPServer, Packet } from 'dns2';
import { freePort } from '../../test/support/scratch.ts';

interface Common {
  /** Owner name without final dot. */
  readonly name: string;
  readonly ttlSeconds: number;
}

export type AuthorityRecord = Common &
  (
    | { readonly type: 'A' | 'AAAA'; readonly address: string }
    | { readonly type: 'MX'; readonly preference: number; readonly exchange: string }
    | { readonly type: 'CNAME'; readonly target: string }
    | { readonly type: 'TXT'; readonly strings: readonly string[] }
  );

export interface AuthorityOptions {
  /** Zones served, without final dot → their RRsets; every owner name lies within the zone. */
  readonly zones: ReadonlyMap<string, readonly AuthorityRecord[]>;
  readonly address?: string;
  /** Default: one that is free. */
  readonly port?: number;
  /** SOA MINIMUM: how long its negative answers may be kept. */
  readonly negativeTtlSeconds?: number;
  /** Waits before each answer, as a resolver far away would; default 0. */
  readonly delayMs?: number;
}

export interface Authority {
  readonly address: string;
  readonly port: number;
  /** "example.net MX" → how often it was asked. */
  readonly questions: ReadonlyMap<string, number>;
  /** Questions received, repeated ones included. */
  total(): number;
  stop(): Promise<void>;
}

const TYPES = Packet.TYPE;
const CLASS_IN = Packet.CLASS.IN;
const NXDOMAIN = 3;
const REFUSED = 5;
const UDP_OCTETS = 1232;
const CNAME_STEPS_MAX = 8;
const NEGATIVE_TTL_SECONDS = 300;
const NO_RECORDS: readonly dns2.Packet.Resource[] = [];

const MNEMONICS = new Map<number, string>(
  Object.entries(TYPES).map(([mnemonic, value]) => [value, mnemonic]),
);

type RRsets = Map<number, dns2.Packet.Resource[]>;

interface Zones {
  /** Origin → its SOA. */
  readonly soas: ReadonlyMap<string, dns2.Packet.Resource>;
  /** Owner name → its RRsets; empty for a name that only has names below it. */
  readonly names: ReadonlyMap<string, RRsets>;
}

function toResource(record: AuthorityRecord): dns2.Packet.Resource {
  const common = {
    name: record.name,
    type: TYPES[record.type],
    class: CLASS_IN,
    ttl: record.ttlSeconds,
  };
  switch (record.type) {
    case 'A':
    case 'AAAA':
      return new Packet.Resource({ ...common, address: record.address });
    case 'MX':
      return new Packet.Resource({
        ...common,
        priority: record.preference,
        exchange: record.exchange,
      });
    case 'CNAME':
      return new Packet.Resource({ ...common, domain: record.target });
    case 'TXT':
      return new Packet.Resource({ ...common, data: [...record.strings] });
  }
}

function soaOf(origin: string, minimum: number): dns2.Packet.Resource {
  return new Packet.Resource({
    name: origin,
    type: TYPES.SOA,
    class: CLASS_IN,
    ttl: minimum,
    primary: `ns.${origin}`,
    admin: `hostmaster.${origin}`,
    serial: 1,
    refresh: 3600,
    retry: 600,
    expiration: 86_400,
    minimum,
  });
}

function load({ zones, negativeTtlSeconds = NEGATIVE_TTL_SECONDS }: AuthorityOptions): Zones {
  const soas = new Map<string, dns2.Packet.Resource>();
  const names = new Map<string, RRsets>();
  const nodeFor = (name: string): RRsets => {
    const node = names.get(name) ?? new Map();
    names.set(name, node);
    return node;
  };
  for (const [origin, records] of zones) {
    const soa = soaOf(origin, negativeTtlSeconds);
    soas.set(origin, soa);
    nodeFor(origin).set(TYPES.SOA, [soa]);
    for (const record of records) {
      if (record.name !== origin && !record.name.endsWith(`.${origin}`)) {
        throw new RangeError(`${record.name} is not in zone ${origin}`);
      }
      const rrsets = nodeFor(record.name);
      const type = TYPES[record.type];
      rrsets.set(type, [...(rrsets.get(type) ?? []), toResource(record)]);
      for (let parent = parentOf(record.name); parent.endsWith(origin); parent = parentOf(parent)) {
        nodeFor(parent);
      }
    }
  }
  return { soas, names };
}

/** @returns '' for a single label */
const parentOf = (name: string): string => {
  const dot = name.indexOf('.');
  return dot === -1 ? '' : name.slice(dot + 1);
};

function zoneSoa(zones: Zones, name: string): dns2.Packet.Resource | undefined {
  for (let at = name; at !== ''; at = parentOf(at)) {
    const soa = zones.soas.get(at);
    if (soa !== undefined) return soa;
  }
  return undefined;
}

/** Fills the sections of `response` for its question (RFC 1034 §4.3.2, without delegations). */
function answer(zones: Zones, response: dns2.Packet, name: string, type: number): void {
  let owner = name;
  for (let step = 0; step < CNAME_STEPS_MAX; step += 1) {
    const rrsets = zones.names.get(owner);
    const soa = zoneSoa(zones, owner);
    if (soa === undefined) {
      if (step === 0) response.header.rcode = REFUSED;
      return;
    }
    if (rrsets === undefined) {
      response.header.rcode = NXDOMAIN;
      response.authorities = [soa];
      return;
    }
    const found = rrsets.get(type) ?? NO_RECORDS;
    const alias = type === TYPES.CNAME ? undefined : rrsets.get(TYPES.CNAME)?.[0];
    if (found.length > 0 || alias === undefined) {
      response.answers.push(...found);
      if (found.length === 0) response.authorities = [soa];
      return;
    }
    response.answers.push(alias);
    owner = alias.domain!.toLowerCase();
  }
}

function respond(zones: Zones, request: dns2.Packet, counts: Map<string, number>): dns2.Packet {
  const response = Packet.createResponseFromRequest(request);
  response.header.aa = 1;
  response.header.ra = 1;
  response.answers = [];
  response.authorities = [];
  response.additionals = request.additionals.some(({ type }) => type === TYPES.EDNS)
    ? [Object.assign(Packet.Resource.EDNS([]), { class: UDP_OCTETS })]
    : [];
  const question = request.questions[0];
  if (question === undefined) return response;
  const name = question.name.toLowerCase();
  const key = `${name} ${MNEMONICS.get(question.type) ?? `TYPE${question.type}`}`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
  answer(zones, response, name, question.type);
  return response;
}

export async function startAuthority(options: AuthorityOptions): Promise<Authority> {
  const zones = load(options);
  const { address = '127.0.0.1', delayMs = 0 } = options;
  const port = options.port ?? (await freePort(address));
  const questions = new Map<string, number>();
  let total = 0;
  const handle: dns2.DnsHandler = (request, send) => {
    total += 1;
    const response = respond(zones, request, questions);
    // A client that has gone is no trouble of ours.
    const deliver = (): void => void Promise.resolve(send(response)).catch(() => undefined);
    if (delayMs === 0) deliver();
    else setTimeout(deliver, delayMs);
  };

  const udp = createUDPServer(handle);
  const tcp = createTCPServer(handle);
  const sockets = new Set<Socket>();
  tcp.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  tcp.listen(port, address);
  await Promise.all([udp.listen(port, address), once(tcp, 'listening')]);
  return {
    address,
    port,
    questions,
    total: () => total,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await Promise.all([closed(udp), closed(tcp)]);
    },
  };
}

const closed = (server: dns2.UDPServer | dns2.TCPServer): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
  });
