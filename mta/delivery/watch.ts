/**
 * What an operator sees of delivery as it goes: why attempts were put off, what changed the pace of a
 * site and why, and what its hosts said last.
 *
 * Invariants
 * - At most CHANGES_MAX changes, SITES_MAX sites and REFUSALS_MAX refusals of each are kept, the newest;
 *   no text is longer than TEXT_MAX.
 * - A message taken costs one look-up here; it keeps its reply and makes nothing.
 */
import { LRUCache } from 'lru-cache';
import { mailDomainOf } from '../next-hop.ts';
import type { Site } from '../plan/site.ts';
import type { LimitChange, SiteReply } from '../running.ts';
import { formatReply, type Reply } from '../smtp/reply.ts';
import type { Disposal } from './consignment.ts';

const CHANGES_MAX = 200;
const SITES_MAX = 1_000;
const REFUSALS_MAX = 12;
const TEXT_MAX = 300;
/** Reasons are ours, so there are a dozen; more would be a mistake of ours, and is not counted. */
const CAUSES_MAX = 64;

interface Seen {
  readonly site: Site;
  /** The newest last. */
  readonly refusals: SiteReply[];
  taken: { readonly host: string; readonly reply: Reply; readonly atMs: number } | null;
}

export class Watch {
  readonly #causes = new Map<string, number>();
  readonly #changes: LimitChange[] = [];
  readonly #sites = new LRUCache<string, Seen>({ max: SITES_MAX });

  /** Attempts put off since start, by WaitReason.code. */
  get causes(): ReadonlyMap<string, number> {
    return this.#causes;
  }

  /** The newest first. */
  changes(): readonly LimitChange[] {
    return this.#changes.toReversed();
  }

  changed(change: LimitChange): void {
    if (this.#changes.length === CHANGES_MAX) this.#changes.shift();
    this.#changes.push({ ...change, text: change.text.slice(0, TEXT_MAX) });
  }

  /** A message was taken. @param nowMs wall */
  taken(site: Site, host: string, reply: Reply, nowMs: number): void {
    const seen = this.#seen(site);
    seen.taken = { host, reply, atMs: nowMs };
  }

  /** A transaction is over. @param nowMs wall */
  finished(site: Site, { delivered, deferred, failures }: Disposal, host: string, nowMs: number) {
    const taken = delivered.at(-1);
    if (taken !== undefined) this.taken(site, host, taken.reply, nowMs);
    if (deferred.length === 0 && failures.length === 0) return;
    const seen = this.#seen(site);
    for (const { recipient, reason } of deferred) {
      this.#count(reason.code);
      const domain = mailDomainOf(recipient.domain);
      keep(seen, { atMs: nowMs, host, domain, outcome: 'deferred', text: reason.text });
    }
    for (const { recipient, text, expired } of failures) {
      const outcome = expired ? 'expired' : 'bounced';
      const domain = mailDomainOf(recipient.domain);
      keep(seen, { atMs: nowMs, host, domain, outcome, text });
    }
  }

  /** @param name id or alias. @returns the site as it was last at work, or null when that is too long ago */
  siteOf(name: string): Site | null {
    const known = this.#sites.peek(name);
    if (known !== undefined) return known.site;
    for (const { site } of this.#sites.values()) if (site.alias === name) return site;
    return null;
  }

  /** What hosts of the site said, the newest first. */
  repliesOf(siteId: string): readonly SiteReply[] {
    const seen = this.#sites.peek(siteId);
    if (seen === undefined) return [];
    const replies = seen.refusals.toReversed();
    if (seen.taken !== null) {
      const { host, reply, atMs } = seen.taken;
      const text = formatReply(reply).slice(0, TEXT_MAX);
      replies.push({ atMs, host, domain: null, outcome: 'delivered', text });
    }
    return replies.sort((one, other) => other.atMs - one.atMs);
  }

  #seen(site: Site): Seen {
    let seen = this.#sites.get(site.id);
    if (seen === undefined) {
      seen = { site, refusals: [], taken: null };
      this.#sites.set(site.id, seen);
    }
    return seen;
  }

  #count(code: string): void {
    const count = this.#causes.get(code) ?? 0;
    if (count > 0 || this.#causes.size < CAUSES_MAX) this.#causes.set(code, count + 1);
  }
}

function keep({ refusals }: Seen, reply: SiteReply): void {
  if (refusals.length === REFUSALS_MAX) refusals.shift();
  refusals.push({ ...reply, text: reply.text.slice(0, TEXT_MAX) });
}
