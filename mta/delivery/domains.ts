/**
 * Where each domain that has mail stands: from the instant its mail falls due to the site it is served by.
 *
 * Invariants
 * - A domain is in one of: the ledger (nothing due), #routing, #held (DNS has trouble), #resting (by a
 *   rule), one site's ready set, or refused (DNS says it takes no mail).
 * - At most ROUTES_MAX routes are being looked up; whose turn has not come costs its name in #unasked.
 * - DNS trouble touches no message: the domain waits as a whole, and burns no attempt.
 */
import type { RouteResult, Undeliverable } from '../plan/route.ts';
import type { Wait } from '../running.ts';
import type { DeliveryDeps } from './deps.ts';
import { DueLedger } from './due-ledger.ts';
import type { SiteQueue } from './site-queue.ts';
import type { Suspensions } from './suspensions.ts';

/** Routes are looked up so long before mail falls due; a route is fresh for a minute at least. */
const PREFETCH_MS = 10_000;
/** Lookups ahead of time at once, and domains looked at for them each second. */
const PREFETCHES_MAX = 32;
const PREFETCH_LOOK_MAX = 1_000;
/**
 * Routes looked up at once. Each asks a thing or two at a time, of the 256 that may be under way (plan/dns.ts),
 * so more would not be answered sooner. 30,000 domains due after a restart held 106 MiB of heap by lookups, and
 * now 5.
 */
const ROUTES_MAX = 512;
/** A domain in DNS trouble is asked for again after 15 s, doubling to 5 min; RFC 9520 wants no less than 1 s. */
const DNS_WAIT_MS_FIRST = 15_000;
const DNS_WAIT_MS_MAX = 300_000;
/** When no resolver answers at all: the same for every domain, short, for it will be back at once. */
const RESOLVER_WAIT_MS = 5_000;
/** Domains that are asked for again in a second when DNS has recovered. */
const RECOVERED_MAX = 500;

interface Held {
  readonly wait: Wait;
  readonly troubles: number;
  /** The resolver gave no response at all. */
  readonly unreachable: boolean;
  /** The name that DNS had trouble with: the domain, or one of its hosts. */
  readonly about: string | null;
}

export interface DomainsParts {
  readonly deps: DeliveryDeps;
  readonly suspensions: Suspensions;
  siteQueue(result: RouteResult & { kind: 'route' }): SiteQueue;
  /** @returns whether the domain is our own, whose mail goes nowhere else */
  takeLocally(domain: string): boolean;
  /** DNS says that the domain takes no mail. */
  refuse(domain: string, verdict: Undeliverable): void;
}

export class Domains {
  readonly #parts: DomainsParts;
  readonly #ledger: DueLedger;
  /** Domain → all of its mail that is due has just come. */
  readonly #routing = new Map<string, boolean>();
  /** Of those, in order from #unaskedHead on, the ones whose route is not being looked up yet. */
  #unasked: string[] = [];
  #unaskedHead = 0;
  #routesUnderWay = 0;
  /** Asked of DNS ahead of time. */
  readonly #prefetching = new Set<string>();
  readonly #held = new Map<string, Held>();
  /** Domains that a rule lets rest. */
  readonly #resting = new Map<string, Wait>();
  /** Domains that got urgent mail while DNS was being asked. */
  readonly #hurried = new Set<string>();
  /** Domains that an operator pressed for while DNS was being asked; with rests to be ended or not. */
  readonly #pressed = new Map<string, boolean>();
  /** Domain → site that has it in its ready set. */
  readonly #placed = new Map<string, SiteQueue>();
  /** Of those held, with whom DNS has no trouble any more; not asked for yet. */
  readonly #recovered = new Set<string>();
  #stopping = false;

  constructor(parts: DomainsParts) {
    this.#parts = parts;
    this.#ledger = new DueLedger(parts.deps.clock, (domain) => this.#take(domain));
  }

  /** How many DNS holds up. */
  get heldCount(): number {
    return this.#held.size;
  }

  /** DNS gave no response at all, for some domain, just now. */
  get resolverUnreachable(): boolean {
    for (const { unreachable } of this.#held.values()) if (unreachable) return true;
    return false;
  }

  /** Those that DNS holds up. */
  held(limit: number): { domain: string; wait: Wait }[] {
    const held: { domain: string; wait: Wait }[] = [];
    for (const [domain, { wait }] of this.#held) {
      if (held.push({ domain, wait }) >= limit) break;
    }
    return held;
  }

  siteOf(domain: string): SiteQueue | undefined {
    return this.#placed.get(domain);
  }

  /** What keeps the domain from any site: DNS, or a rule. */
  waitOf(domain: string): Wait | undefined {
    return this.#held.get(domain)?.wait ?? this.#resting.get(domain);
  }

  stop(): void {
    this.#stopping = true;
    this.#ledger.stop();
  }

  /** The site that its mail may go to at once; null where something keeps it, or has to be asked first. */
  open(domain: string): SiteQueue | null {
    if (this.#stopping || this.#routing.has(domain) || this.waitOf(domain) !== undefined)
      return null;
    const { suspensions, deps } = this.#parts;
    if (suspensions.find('domain', domain) !== null) return null;
    const known = deps.router.peek(domain);
    if (known?.kind !== 'route' || known.stale) return null;
    const queue = this.#parts.siteQueue(known);
    const placed = this.#placed.get(domain);
    return placed === undefined || placed === queue ? queue : null;
  }

  /**
   * The domain has work that is due then.
   *
   * @param fresh it is a message that has just come; nothing is said of others
   */
  due(domain: string, dueMs: number, fresh = false): void {
    if (this.#stopping) return;
    if (dueMs <= this.#parts.deps.clock.wallMs()) this.#take(domain, fresh);
    else this.#ledger.note(domain, dueMs);
  }

  /** The domain, whose mail is not being looked for now, has work then. */
  later(domain: string, dueMs: number): void {
    this.#ledger.note(domain, dueMs);
  }

  /** Urgent mail has come. */
  hasten(domain: string): void {
    const site = this.#placed.get(domain);
    if (site !== undefined) site.hasten(domain);
    else if (this.#routing.has(domain)) this.#hurried.add(domain);
  }

  /** It may have due mail. */
  look(domain: string): void {
    this.#take(domain);
  }

  /**
   * An operator wants it tried now: DNS is asked again, and its site is not left alone any longer.
   *
   * @param endRests and rests by rule to end
   */
  hurry(domain: string, endRests: boolean): void {
    const held = this.#held.get(domain);
    if (held !== undefined) this.#parts.deps.router.forgetTrouble(domain, held.about);
    this.#held.delete(domain);
    if (endRests) this.#resting.delete(domain);
    this.#take(domain);
    const site = this.#placed.get(domain);
    if (site !== undefined) site.press(endRests);
    else if (this.#routing.has(domain)) this.#pressed.set(domain, endRests);
  }

  /** Takes it away from its site. */
  remove(domain: string): void {
    this.#placed.get(domain)?.remove(domain);
    this.#placed.delete(domain);
  }

  /** An operator has chosen another next hop for them: nothing learned of the old one counts. */
  anew(domains: readonly string[]): void {
    for (const domain of domains) {
      const waits = this.#held.has(domain) || this.#resting.has(domain);
      if (!this.#placed.has(domain) && !waits) continue;
      this.remove(domain);
      this.hurry(domain, true);
    }
  }

  /** A rule lets it rest. */
  rest(domain: string, wait: Wait): void {
    this.#placed.delete(domain);
    this.#resting.set(domain, wait);
    this.#ledger.note(domain, wait.untilMs ?? 0);
  }

  reroute(domains: readonly string[]): void {
    for (const domain of domains) {
      this.#placed.delete(domain);
      this.#take(domain);
    }
  }

  /** Its site has nothing due of it. */
  drained(domain: string, nextDueMs: number | null): void {
    this.#placed.delete(domain);
    if (nextDueMs !== null) this.due(domain, nextDueMs);
  }

  /** DNS answers again: for this name, a domain or an MX host, or for all when it is null. */
  recovered(name: string | null): void {
    for (const [domain, { about }] of this.#held) {
      if (name === null || domain === name || about === name) this.#recovered.add(domain);
    }
    this.releaseRecovered();
  }

  /** Asks for some of those that have recovered; to be called every second. */
  releaseRecovered(): void {
    let room = RECOVERED_MAX;
    for (const domain of this.#recovered) {
      if (room === 0) return;
      room -= 1;
      this.#recovered.delete(domain);
      const held = this.#held.get(domain);
      if (held === undefined) continue;
      const { router, clock } = this.#parts.deps;
      router.forgetTrouble(domain, held.about);
      const wait = { ...held.wait, untilMs: clock.wallMs() };
      this.#held.set(domain, { ...held, wait, troubles: 0 });
      this.#take(domain);
    }
  }

  /** Asks DNS for what is due soon, so that mail does not wait for it; and only where nothing fresh is known. */
  prefetch(): void {
    if (this.#stopping || this.resolverUnreachable) return;
    const { clock, router } = this.#parts.deps;
    for (const domain of this.#ledger.soon(clock.wallMs() + PREFETCH_MS, PREFETCH_LOOK_MAX)) {
      if (this.#prefetching.size >= PREFETCHES_MAX) return;
      if (this.#prefetching.has(domain) || this.#held.has(domain)) continue;
      if (router.peek(domain) !== null) continue;
      this.#prefetching.add(domain);
      void router.route(domain).then(() => this.#prefetching.delete(domain));
    }
  }

  #take(domain: string, fresh = false): void {
    if (this.#stopping) return;
    const routing = this.#routing.get(domain);
    if (routing !== undefined) {
      this.#routing.set(domain, routing && fresh);
      return;
    }
    // Whoever resumes it finds it again.
    if (this.#parts.suspensions.find('domain', domain) !== null) return;
    if (this.#parts.takeLocally(domain)) return;
    if (this.#placed.get(domain)?.touch(domain)) return;
    const nowMs = this.#parts.deps.clock.wallMs();
    const heldUntilMs = this.#held.get(domain)?.wait.untilMs ?? 0;
    if (heldUntilMs > nowMs) {
      this.#ledger.note(domain, heldUntilMs);
      return;
    }
    const restUntilMs = this.#resting.get(domain)?.untilMs ?? 0;
    if (restUntilMs > nowMs) {
      this.#ledger.note(domain, restUntilMs);
      return;
    }
    this.#resting.delete(domain);
    this.#routing.set(domain, fresh);
    // What is known need not wait for what is not.
    const isTurn =
      this.#routesUnderWay < ROUTES_MAX || this.#parts.deps.router.peek(domain) !== null;
    if (isTurn) void this.#route(domain);
    else this.#unasked.push(domain);
  }

  async #route(domain: string): Promise<void> {
    this.#routesUnderWay += 1;
    const result = await this.#parts.deps.router.route(domain);
    this.#routesUnderWay -= 1;
    this.#routed(domain, result);
    this.#routeNext();
  }

  #routeNext(): void {
    if (this.#stopping || this.#routesUnderWay >= ROUTES_MAX) return;
    const next = this.#unasked[this.#unaskedHead];
    if (next === undefined) return;
    this.#unaskedHead += 1;
    if (2 * this.#unaskedHead >= this.#unasked.length) {
      this.#unasked = this.#unasked.slice(this.#unaskedHead);
      this.#unaskedHead = 0;
    }
    void this.#route(next);
  }

  #routed(domain: string, result: RouteResult): void {
    const { suspensions } = this.#parts;
    const fresh = this.#routing.get(domain) ?? false;
    this.#routing.delete(domain);
    const hurried = this.#hurried.delete(domain);
    const endRests = this.#pressed.get(domain);
    this.#pressed.delete(domain);
    if (this.#stopping) return;
    if (result.kind === 'trouble') {
      this.#hold(domain, result);
      return;
    }
    this.#held.delete(domain);
    if (result.kind === 'undeliverable') return void this.#parts.refuse(domain, result);
    if (suspensions.find('domain', domain) !== null) return;
    const queue = this.#parts.siteQueue(result);
    const before = this.#placed.get(domain);
    if (before !== undefined && before !== queue) before.remove(domain);
    this.#placed.set(domain, queue);
    queue.add(domain, result.freshUntilMs, fresh);
    if (hurried) queue.hasten(domain);
    if (endRests !== undefined) queue.press(endRests);
  }

  #hold(domain: string, trouble: RouteResult & { kind: 'trouble' }): void {
    const { clock, random } = this.#parts.deps;
    const before = this.#held.get(domain);
    const troubles = (before?.troubles ?? 0) + 1;
    const nowMs = clock.wallMs();
    const doubledMs = Math.min(DNS_WAIT_MS_FIRST * 2 ** (troubles - 1), DNS_WAIT_MS_MAX);
    const waitMs = trouble.reachable ? doubledMs : RESOLVER_WAIT_MS;
    const untilMs = nowMs + Math.round(waitMs * (0.9 + 0.2 * random.fraction()));
    this.#held.set(domain, {
      wait: { on: 'dns', text: trouble.text, sinceMs: before?.wait.sinceMs ?? nowMs, untilMs },
      troubles,
      unreachable: !trouble.reachable,
      about: trouble.about ?? null,
    });
    this.#ledger.note(domain, untilMs);
  }
}
