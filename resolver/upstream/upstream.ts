/**
 * What we know of one server that we forward to: is it up, how far away, what it can, what it cost.
 *
 * Invariants: an upstream is down from the moment that it refused our packets or left
 * FAILURES_TO_DOWN questions in succession unanswered, until any matching response of it, whatever its RCODE;
 * RTO_MS_MIN <= rtoMs <= RTO_MS_MAX.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import type { UpstreamAddress } from './address.ts';
import { CookieJar } from './cookies.ts';
import { Latency } from './latency.ts';
import { CaseMemory } from './mixed-case.ts';
import { TokenBucket } from './token-bucket.ts';

/** Questions in succession that timed out, after which others are preferred. */
const FAILURES_TO_DOWN = 3;
/** Before the first sample; a recursive server may have to ask far away. */
const RTO_MS_INITIAL = 500;
/** A lost packet is rarer than a slow answer, so we are in no hurry even when the server is near. */
const RTO_MS_MIN = 250;
const RTO_MS_MAX = 1_500;
/** Gains of RFC 6298 §2.3. */
const RTT_GAIN = 1 / 8;
const VARIANCE_GAIN = 1 / 4;
/** How long a server that chokes on EDNS is asked without it (RFC 6891 §7 lets us remember). */
const PLAIN_MS = 5 * 60_000;
/** Of the share of questions that are answered in time. */
const SUCCESS_GAIN = 1 / 16;

export interface UpstreamOptions {
  /** Packets per second to this server, whichever group asks; 0 is no bound. */
  readonly budget: number;
  /** Whether letters are sent in random case (0x20), and DNS cookies with every question. */
  readonly mixCase: boolean;
  readonly cookies: boolean;
  readonly clock: Clock;
  readonly random: Random;
}

export class Upstream {
  readonly endpoint: UpstreamAddress;
  /** "192.0.2.53:53", "tls://192.0.2.53:853#dns.example.net": metrics label and what people read. */
  readonly name: string;
  /** What was sent to it, by whichever group; its own limit, when it has one. */
  readonly bucket: TokenBucket;
  /** null: no cookies. */
  readonly cookies: CookieJar | null;
  readonly latency = new Latency();
  readonly casing = new CaseMemory();
  readonly #mixCase: boolean;

  /** Packets. UDP: datagrams. TCP: segments as estimated by tcp.ts. */
  packetsSent = 0;
  packetsReceived = 0;
  /** Datagrams that answered nothing we asked: wrong ID, question or form. */
  datagramsMismatched = 0;
  /** Responses to questions that were answered, or given up, before. */
  responsesLate = 0;
  timeouts = 0;
  /** Responses accepted, whatever their RCODE. */
  responses = 0;

  up = true;
  failuresInSuccession = 0;
  /** In words, for `explain` and extended errors; null while it answers. */
  lastFailure: string | null = null;
  /** Smoothed round trip; null before the first sample. */
  rttMs: number | null = null;
  #rttVarianceMs = 0;
  #plainUntilMs = 0;
  /** Smoothed share of questions answered in time, 0 to 1. */
  success = 1;

  constructor(endpoint: UpstreamAddress, options: UpstreamOptions) {
    this.endpoint = endpoint;
    this.name = endpoint.text;
    this.bucket = new TokenBucket(options.budget, options.clock);
    this.cookies = options.cookies ? new CookieJar(options.random) : null;
    this.#mixCase = options.mixCase;
  }

  /** Whether questions go out in random case, which answers must then repeat. */
  mixesCase(nowMs: number): boolean {
    return this.#mixCase && !this.casing.mangles(nowMs);
  }

  /** How long an answer takes, with what its losses cost; null before the first sample. */
  get expectedMs(): number | null {
    return this.rttMs === null ? null : this.rttMs + (1 - this.success) * this.rtoMs;
  }

  /** How long to wait for a response before asking again or elsewhere. */
  get rtoMs(): number {
    if (this.rttMs === null) return RTO_MS_INITIAL;
    return Math.min(Math.max(this.rttMs + 4 * this.#rttVarianceMs, RTO_MS_MIN), RTO_MS_MAX);
  }

  /**
   * A matching response came.
   * @param sampleMs round trip, or null when it is ambiguous because we sent twice (Karn)
   * @returns true when it was down before
   */
  noteResponse(sampleMs: number | null): boolean {
    this.responses += 1;
    const returned = !this.up;
    this.up = true;
    this.failuresInSuccession = 0;
    this.lastFailure = null;
    this.success += SUCCESS_GAIN * (1 - this.success);
    if (sampleMs !== null) this.#sample(sampleMs);
    return returned;
  }

  /**
   * @param again the same question had timed out before. It says little more: recursive servers are
   *   silent for seconds about a domain whose own servers are
   * @returns true when this took it down
   */
  noteTimeout(again: boolean): boolean {
    this.timeouts += 1;
    if (!again) this.failuresInSuccession += 1;
    this.success -= SUCCESS_GAIN * this.success;
    return this.#fail('no answer', this.failuresInSuccession >= FAILURES_TO_DOWN);
  }

  /**
   * The system says that the server cannot be reached, or a connection to it broke.
   * @returns true when this took it down
   */
  noteUnreachable(reason: string): boolean {
    this.failuresInSuccession += 1;
    return this.#fail(reason, true);
  }

  /** Whether the server is asked without EDNS for now. */
  plain(nowMs: number): boolean {
    return nowMs < this.#plainUntilMs;
  }

  /** It answered FORMERR or NOTIMP to EDNS, and properly without. */
  notePlain(nowMs: number): void {
    this.#plainUntilMs = nowMs + PLAIN_MS;
  }

  #fail(reason: string, isDown: boolean): boolean {
    this.lastFailure = reason;
    const fell = this.up && isDown;
    if (isDown) this.up = false;
    return fell;
  }

  #sample(rttMs: number): void {
    this.latency.add(rttMs);
    if (this.rttMs === null) {
      this.rttMs = rttMs;
      this.#rttVarianceMs = rttMs / 2;
      return;
    }
    const errorMs = Math.abs(this.rttMs - rttMs);
    this.#rttVarianceMs += VARIANCE_GAIN * (errorMs - this.#rttVarianceMs);
    this.rttMs += RTT_GAIN * (rttMs - this.rttMs);
  }
}
