/**
 * Our stub resolver: asks the one recursive resolver that we are configured for, over UDP with TCP for
 * what is truncated (RFC 1035 §4.2, RFC 7766 §5). It keeps no cache: hosts.ts and route.ts do.
 *
 * Invariants
 * - Identical lookups under way share one exchange.
 * - At most IN_FLIGHT_MAX exchanges are under way; up to WAITING_MAX more wait in order of arrival.
 * - A response counts only if its ID, name, type and class are those of an exchange under way on that
 *   very socket, which is connected, so that the kernel drops what comes from elsewhere.
 * - Every lookup resolves, never rejects, GIVE_UP_MS after its turn came at the latest.
 */

import {
  HEADER_OCTETS,
  QUESTION_FIXED_OCTETS,
  TYPE,
  typeName,
} from '../../resolver/wire/constants.ts';
import { nameKey, textToName } from '../../resolver/wire/names.ts';
import {
  decodeA,
  decodeAaaa,
  decodeMx,
  decodeTlsa,
  decodeTxt,
  type MxRdata,
  type TlsaRdata,
} from '../../resolver/wire/rdata.ts';
import { writeQuery } from '../../resolver/wire/write.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { type Endpoint, formatEndpoint } from '../../runtime/settings.ts';
import { TimerWheel } from '../../runtime/timer-wheel.ts';
import { type Decode, type Lookup, readAnswer, type Trouble } from './dns-answer.ts';
import { type Ending, Exchange, type ExchangeEvents, GIVE_UP_MS } from './dns-exchange.ts';
import { UdpPath } from './dns-udp.ts';

/** What routing asks of DNS; names as text, A-labels, final dot optional. */
export interface Dns {
  mx(name: string): Promise<Lookup<MxRdata>>;
  /** A for 4, AAAA for 6. */
  addresses(name: string, family: 4 | 6): Promise<Lookup<string>>;
  /** Each record as its character-strings. */
  txt(name: string): Promise<Lookup<readonly string[]>>;
  tlsa(name: string): Promise<Lookup<TlsaRdata>>;
}

export interface DnsOptions {
  readonly server: Endpoint;
  readonly clock: Clock;
  readonly random: Random;
}

export interface DnsCounters {
  /** Exchanges begun, by type name ("MX"); retransmissions and repeats over TCP not counted. */
  readonly queries: ReadonlyMap<string, number>;
  readonly sentAgain: number;
  readonly overTcp: number;
  /** Datagrams that answered nothing that we had asked. */
  readonly stray: number;
}

const IN_FLIGHT_MAX = 256;
/** After a restart every domain with mail may be due at once. One that waits costs 2.2 KB. */
const WAITING_MAX = 32_768;
/** So that IN_FLIGHT_MAX responses of 1,232 octets fit into receive buffers of 212,992, Linux's default. */
const SOCKETS = 4;

/** A name that cannot be written in DNS cannot exist in it, now or later. */
const UNWRITABLE = { kind: 'nxdomain', ttlSeconds: 3_600 } as const;

const OVERLOAD: Trouble = {
  kind: 'trouble',
  cause: 'overload',
  text: `more than ${WAITING_MAX} DNS lookups wait for their turn`,
};

export class DnsClient implements Dns {
  readonly #server: Endpoint;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #wheel: TimerWheel;
  readonly #paths: readonly UdpPath[];
  /** Lookups under way or waiting, by type and name. */
  readonly #underWay = new Map<string, Promise<Lookup<unknown>>>();
  readonly #queries = new Map<string, number>();
  /** In order of arrival from #waitingHead on; what is before has had its turn. */
  #waiting: (() => void)[] = [];
  #waitingHead = 0;
  #inFlight = 0;
  #begun = 0;
  #sentAgain = 0;
  #overTcp = 0;
  #stray = 0;
  #lastHeardMs = Number.NEGATIVE_INFINITY;

  readonly #events: ExchangeEvents = {
    onSentAgain: () => {
      this.#sentAgain += 1;
    },
    onTcp: () => {
      this.#overTcp += 1;
    },
    onHeard: () => {
      this.#lastHeardMs = this.#clock.monotonicMs();
    },
  };

  constructor({ server, clock, random }: DnsOptions) {
    this.#server = server;
    this.#clock = clock;
    this.#random = random;
    this.#wheel = new TimerWheel(clock);
    const onStray = (): void => {
      this.#stray += 1;
    };
    this.#paths = Array.from({ length: SOCKETS }, () => new UdpPath(server, onStray));
  }

  mx(name: string): Promise<Lookup<MxRdata>> {
    return this.#lookup(name, TYPE.MX, decodeMx);
  }

  addresses(name: string, family: 4 | 6): Promise<Lookup<string>> {
    return family === 4
      ? this.#lookup(name, TYPE.A, decodeA)
      : this.#lookup(name, TYPE.AAAA, decodeAaaa);
  }

  txt(name: string): Promise<Lookup<readonly string[]>> {
    return this.#lookup(name, TYPE.TXT, decodeTxt);
  }

  tlsa(name: string): Promise<Lookup<TlsaRdata>> {
    return this.#lookup(name, TYPE.TLSA, decodeTlsa);
  }

  counters(): DnsCounters {
    return {
      queries: this.#queries,
      sentAgain: this.#sentAgain,
      overTcp: this.#overTcp,
      stray: this.#stray,
    };
  }

  /** Closes the sockets. Lookups under way end in trouble. */
  close(): void {
    for (const path of this.#paths) path.close();
    this.#wheel.stop();
  }

  #lookup<Rdata extends string | object>(
    text: string,
    type: number,
    decode: Decode<Rdata>,
  ): Promise<Lookup<Rdata>> {
    const name = textToName(text);
    if (typeof name === 'number') return Promise.resolve(UNWRITABLE);
    const qnameKey = nameKey(name, 0);
    if (typeof qnameKey === 'number') return Promise.resolve(UNWRITABLE);
    const key = `${type} ${qnameKey}`;
    // The type is part of the key, and it alone decides what decode yields.
    const shared = this.#underWay.get(key) as Promise<Lookup<Rdata>> | undefined;
    if (shared !== undefined) return shared;
    const lookup = this.#inTurn(async () => {
      const ending = await this.#exchange(name, type);
      if (ending.kind === 'none') return this.#noResponse(ending);
      return readAnswer(ending.message, qnameKey, type, decode);
    }).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, lookup);
    return lookup;
  }

  async #inTurn<Rdata>(ask: () => Promise<Lookup<Rdata>>): Promise<Lookup<Rdata>> {
    if (this.#inFlight < IN_FLIGHT_MAX) this.#inFlight += 1;
    else if (this.#waiting.length - this.#waitingHead >= WAITING_MAX) return OVERLOAD;
    // The place is handed over as it is, so that nobody overtakes.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await ask();
    } finally {
      const next = this.#nextWaiting();
      if (next === null) this.#inFlight -= 1;
      else next();
    }
  }

  #nextWaiting(): (() => void) | null {
    const next = this.#waiting[this.#waitingHead];
    if (next === undefined) return null;
    this.#waitingHead += 1;
    // Cut off in halves: each entry is moved once on average.
    if (this.#waitingHead * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#waitingHead);
      this.#waitingHead = 0;
    }
    return next;
  }

  #exchange(name: Uint8Array, type: number): Promise<Ending> {
    this.#queries.set(typeName(type), (this.#queries.get(typeName(type)) ?? 0) + 1);
    const path = this.#paths[this.#begun % SOCKETS]!;
    this.#begun += 1;
    // AD in a query asks for AD in the response, without the signatures (RFC 6840 §5.7).
    const wire = writeQuery({ id: 0, name, type, ad: true });
    const questionEnd = HEADER_OCTETS + name.length + QUESTION_FIXED_OCTETS;
    const parts = { server: this.#server, path, wheel: this.#wheel };
    return new Exchange({ wire, questionEnd }, parts, this.#events).start(this.#random);
  }

  #noResponse({ unreachable, overTcp }: Extract<Ending, { kind: 'none' }>): Trouble {
    const where = formatEndpoint(this.#server);
    // Others heard from it while this one waited: then it is there.
    const heard = this.#clock.monotonicMs() - this.#lastHeardMs < GIVE_UP_MS;
    if (overTcp || heard) {
      const text = `no response${overTcp ? ' over TCP' : ''} from the resolver at ${where}`;
      return { kind: 'trouble', cause: 'timeout', text };
    }
    const text = unreachable
      ? `nobody listens at the resolver's address ${where}`
      : `the resolver at ${where} is silent`;
    return { kind: 'trouble', cause: 'unreachable', text };
  }
}
