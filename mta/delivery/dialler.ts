/**
 * One new connection to a site: target after target until one is ready for mail, the list is at its end,
 * or one host spoke for all.
 *
 * Addresses of equal rank race as in RFC 8305: where a first one has not answered TCP's call in
 * STAGGER_MS the next is called as well, and the first that is ready wins. A host that has answered is
 * given its time: a slow greeting is no reason to knock elsewhere.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { DeliveryConfig } from '../config.ts';
import { judge } from '../disposition.ts';
import type { Itinerary, NextTarget, Target } from '../plan/route.ts';
import type { TlsPolicy } from '../plan/site.ts';
import type { TlsMode } from '../smtp/phases.ts';
import { type CloseCause, describeCause } from '../smtp/transaction.ts';
import type { HostHealth } from './hosts.ts';
import type { Link, LinkOpener } from './link.ts';

/** Targets tried for one connection, over all addresses of all hosts. */
const TARGETS_MAX = 20;
/** RFC 8305 §8 recommends 250 ms. */
const STAGGER_MS = 250;
/** Calls at once. */
const CALLS_MAX = 2;

export interface DiallerParts {
  readonly itinerary: Itinerary;
  readonly hosts: HostHealth;
  readonly config: DeliveryConfig;
  readonly tls: TlsPolicy;
  readonly clock: Clock;
  readonly openLink: LinkOpener;
  /** A link to the target, not opened yet. */
  makeLink(target: Target): Link;
  stopping(): boolean;
  /** Told of each call that failed. */
  failed?(link: Link, cause: CloseCause): void;
}

export type Dialled =
  | { readonly kind: 'ready'; readonly link: Link }
  /** text: what the last one tried said. */
  | { readonly kind: 'failed'; readonly text: string; readonly hintMs: number | null };

interface Call {
  readonly target: Target;
  readonly link: Link;
  readonly ended: Promise<{ readonly call: Call; readonly cause: CloseCause | null }>;
}

export class Dialler {
  readonly #parts: DiallerParts;
  readonly #shunned: Target[] = [];
  /** Got from the itinerary and not tried yet: of a lower rank than what is being called. */
  #next: Target | null = null;
  #end: NextTarget | null = null;
  #tried = 0;
  readonly #calls = new Set<Call>();
  #last: { readonly text: string; readonly hintMs: number | null } | null = null;
  /** Monotonic. */
  readonly beganAtMs: number;
  #givenUp: string | null = null;

  constructor(parts: DiallerParts) {
    this.#parts = parts;
    this.beganAtMs = parts.clock.monotonicMs();
  }

  async dial(): Promise<Dialled> {
    while (!this.#parts.stopping() && this.#givenUp === null) {
      if (this.#mayCall()) await this.#callNext();
      if (this.#calls.size === 0) break;
      const ended = await this.#someEnd();
      if (ended === null) continue;
      const { call, cause } = ended;
      this.#calls.delete(call);
      if (cause === null) return { kind: 'ready', link: call.link };
      if (this.#failed(call, cause)) break;
    }
    this.#hangUp();
    if (this.#givenUp !== null) return { kind: 'failed', hintMs: null, text: this.#givenUp };
    const nothing = { text: this.#end === null ? 'no host could be tried' : wordingOf(this.#end) };
    return { kind: 'failed', hintMs: null, ...(this.#last ?? nothing) };
  }

  /** To be called the moment a link is ready: it alone stays. */
  won(link: Link): void {
    for (const call of this.#calls) {
      if (call.link === link) continue;
      this.#calls.delete(call);
      call.link.destroy();
    }
  }

  /** Ends what is being called; dial() then fails. */
  abandon(): void {
    for (const { link } of this.#calls) link.destroy();
  }

  /** Its time is over, and nobody else is called; dial() then fails for this reason. */
  giveUp(text: string): void {
    for (const { target } of this.#calls) this.#parts.hosts.failed(target.address);
    const [call] = this.#calls;
    const host = call === undefined ? '' : `${call.target.host} [${call.target.address}]: `;
    this.#givenUp = `${host}${text}`;
    this.abandon();
  }

  /** Nobody is being called, or whoever is does not answer. */
  #mayCall(): boolean {
    if (this.#calls.size === 0) return true;
    if (this.#calls.size >= CALLS_MAX) return false;
    for (const { link } of this.#calls) if (link.connected) return false;
    return true;
  }

  async #callNext(): Promise<void> {
    const target = await this.#nextTarget();
    if (target === null || this.#parts.stopping() || this.#givenUp !== null) return;
    const [rival] = this.#calls;
    if (rival !== undefined && rival.target.rank !== target.rank) {
      this.#next = target;
      return;
    }
    this.#tried += 1;
    this.#call(target, null);
  }

  /** Those that did not answer lately come last. */
  async #nextTarget(): Promise<Target | null> {
    if (this.#tried >= TARGETS_MAX) return null;
    const kept = this.#next;
    this.#next = null;
    if (kept !== null) return kept;
    while (this.#end === null) {
      const next = await this.#parts.itinerary.next();
      if (next.kind !== 'target') this.#end = next;
      else if (!this.#parts.hosts.shunned(next.target.address)) return next.target;
      else this.#shunned.push(next.target);
    }
    return this.#shunned.shift() ?? null;
  }

  #call(target: Target, tls: TlsMode | null): void {
    const { hosts, openLink, makeLink } = this.#parts;
    const link = makeLink(target);
    const policy = target.tls ?? this.#parts.tls;
    const inClear = policy === 'opportunistic' && hosts.tlsBroken(target.address);
    const mode = tls ?? (inClear ? 'none' : policy);
    const call: Call = {
      target,
      link,
      ended: link.open(openLink, mode).then((cause) => ({ call, cause })),
    };
    this.#calls.add(call);
  }

  /** @returns a call that ended, or null when it is time to see whether to call another */
  async #someEnd(): Promise<{ readonly call: Call; readonly cause: CloseCause | null } | null> {
    const ends = [...this.#calls].map(({ ended }) => ended);
    if (
      !this.#mayCall() ||
      (this.#end !== null && this.#shunned.length === 0) ||
      this.#next !== null
    )
      return Promise.race(ends);
    let timer = { cancel: (): void => undefined };
    const pause = new Promise<null>((resolve) => {
      timer = this.#parts.clock.after(STAGGER_MS, () => resolve(null));
    });
    const first = await Promise.race([...ends, pause]);
    timer.cancel();
    return first;
  }

  /** @returns whether it spoke for every host */
  #failed({ target, link }: Call, cause: CloseCause): boolean {
    this.#parts.failed?.(link, cause);
    const { hosts, itinerary } = this.#parts;
    const tls = target.tls ?? this.#parts.tls;
    if (cause.kind === 'tls' && tls === 'opportunistic' && !hosts.tlsBroken(target.address)) {
      hosts.tlsFailed(target.address);
      this.#call(target, 'none');
      return false;
    }
    hosts.failed(target.address);
    const { hintMs, reach } = judge(factsOf(cause));
    this.#last = { text: `${target.host} [${target.address}]: ${describeCause(cause)}`, hintMs };
    if (cause.kind === 'refused') itinerary.skipHost(target.host);
    return reach === 'site';
  }

  #hangUp(): void {
    for (const { link } of this.#calls) link.destroy();
    this.#calls.clear();
  }
}

function wordingOf(next: NextTarget): string {
  if (next.kind === 'exhausted') return 'no host answered';
  return next.kind === 'target' ? 'unreachable' : next.text;
}

/** What a connection that never got to mail looks like to the policy. */
export function factsOf(cause: CloseCause): Parameters<typeof judge>[0] {
  switch (cause.kind) {
    case 'refused':
      return { phase: cause.phase, reply: cause.reply, maybeDelivered: false };
    case 'goodbye':
      return { phase: 'greeting', reply: cause.reply, maybeDelivered: false };
    case 'connect':
      return { phase: 'connect', reply: null, maybeDelivered: false };
    case 'tls':
      return { phase: 'starttls', reply: null, maybeDelivered: false };
    default:
      return { phase: 'lost', reply: null, maybeDelivered: false };
  }
}
