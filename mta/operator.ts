/**
 * The verbs of operators on mail that waits: hold, release, retry, reroute, bounce, delete; on one message, one
 * recipient, or all of a domain, tenant or campaign.
 *
 * Invariants
 * - What is in hand (leased) is left alone and counted as busy: its outcome is on its way.
 * - A verb has been recorded by the spool when its report says so.
 * - A dry run changes nothing, and matches what the run would.
 */
import type { Clock } from '../runtime/clock.ts';
import { formatRecipientId, type MessageId, type RecipientKey } from './envelope.ts';
import { readRecipientExtra, writeExtra } from './extra.ts';
import { isRouted, mailDomainOf, parseNextHop, ROUTED_AFTER, routingDomain } from './next-hop.ts';
import type { MessageVerb, Selection, VerbOptions, VerbReport } from './running.ts';
import {
  HELD,
  type LeasedMessage,
  type ListRequest,
  type QueuedRecipient,
  RELEASED,
  type Spool,
  type WaitReason,
} from './spool/spool.ts';

/** Recipients that one call may touch; a larger queue takes several. */
export const MATCHED_MAX = 100_000;
const PAGE = 1_000;
/** Of a header shown. */
const HEADER_OCTETS_MAX = 65_536;
/** Ids named in a report. */
const NAMED_MAX = 100;
/** A due instant that never comes. What is held does not expire; what is suspended does. */
export const NEVER_MS = Date.UTC(9999, 0, 1);

/** What a verb needs of the planner. Each resolves when the spool has it. */
export interface Dispatcher {
  reschedule(
    leased: LeasedMessage,
    next: (recipient: LeasedMessage['recipients'][number]) => {
      readonly dueMs: number;
      readonly reason: WaitReason;
      /** What the recipient is routed by from now on. */
      readonly domain?: string;
      /** Replaces what it has. */
      readonly extra?: string;
    },
  ): Promise<void>;
  /** @param tell the sender gets a notice, where one may be sent */
  giveUp(leased: LeasedMessage, text: string, tell: boolean): Promise<void>;
  /** The domain may have due mail. */
  look(domain: string): void;
  /** The domain is tried now: DNS is asked, its site is not left alone any longer. @param endRests also by rule */
  hurry(domain: string, endRests: boolean): void;
}

export interface OperatorDeps {
  readonly spool: Spool;
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
}

export class Operator {
  readonly #deps: OperatorDeps;

  constructor(deps: OperatorDeps) {
    this.#deps = deps;
  }

  async act(verb: MessageVerb, selection: Selection, options: VerbOptions): Promise<VerbReport> {
    const { dryRun } = options;
    const found: QueuedRecipient[] = [];
    let busy = 0;
    let more = false;
    for await (const recipient of this.#select(selection)) {
      if (!matches(verb, recipient, selection, options)) continue;
      if (found.length === MATCHED_MAX) {
        more = true;
        break;
      }
      if (recipient.leased) busy += 1;
      else found.push(recipient);
    }
    let done = 0;
    if (!dryRun) {
      for (const [message, recipients] of Map.groupBy(found, ({ message: id }) => id)) {
        done += await this.#perform(verb, message, recipients, options);
      }
    }
    if (!dryRun && (verb === 'release' || verb === 'retry')) {
      const endRests = options.endRests === true;
      // Once a domain: each may cost its site a connection.
      for (const domain of new Set(found.map((recipient) => recipient.domain))) {
        this.#deps.dispatcher.hurry(domain, endRests);
      }
    }
    const ids = found.slice(0, NAMED_MAX).map(formatRecipientId);
    return { verb, dryRun, matched: found.length + busy, busy, done, more, ids };
  }

  /** Takes up again what was set aside for a campaign that goes on; in the background of a long queue. */
  async takeUp(campaign: string): Promise<void> {
    for await (const { message, index, reason, ...recipient } of this.#select({ campaign })) {
      if (recipient.campaign !== campaign || reason.code !== 'suspended') continue;
      const leased = await this.#deps.spool.leaseMessage({ message, index });
      if (leased === null) continue;
      const nowMs = this.#deps.clock.wallMs();
      const resumed = { code: RELEASED, text: 'released', sinceMs: nowMs };
      await this.#deps.dispatcher.reschedule(leased, () => ({ dueMs: nowMs, reason: resumed }));
    }
  }

  /** A message as it waits, with its header where it can be had. */
  async header(message: MessageId): Promise<string | null> {
    const leased = await this.#deps.spool.leaseMessage({ message, index: null });
    if (leased === null) return null;
    await this.#deps.spool.settle(
      leased.recipients.map(({ index }) => ({ key: { message, index }, kind: 'released' })),
      [],
    );
    // A lease of the planner may have passed these by.
    for (const { domain } of leased.recipients) this.#deps.dispatcher.look(domain);
    const octets = Buffer.from(leased.content).subarray(0, HEADER_OCTETS_MAX);
    const end = octets.indexOf('\r\n\r\n');
    return octets.toString('utf8', 0, end === -1 ? octets.length : end + 2);
  }

  async *#select(selection: Selection): AsyncGenerator<QueuedRecipient> {
    const { spool } = this.#deps;
    if ('ids' in selection) {
      for (const { message, index } of selection.ids) {
        for (const recipient of await spool.inspect(message)) {
          if (index === null || recipient.index === index) yield recipient;
        }
      }
      return;
    }
    const { domain } = selection;
    const keys = domain === undefined ? [null] : await this.routedBy(domain);
    for (const key of keys) yield* this.#pages(key);
  }

  async *#pages(domain: string | null): AsyncGenerator<QueuedRecipient> {
    for (let after: RecipientKey | null = null; ; ) {
      const request: ListRequest = { domain, after, limit: PAGE };
      const page = await this.#deps.spool.list(request);
      yield* page;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      after = { message: last.message, index: last.index };
    }
  }

  /** What recipients of this mail domain are routed by: itself, and next hops that operators chose. */
  async routedBy(mailDomain: string): Promise<string[]> {
    const keys = [mailDomain];
    for (let after = ROUTED_AFTER; ; ) {
      const page = await this.#deps.spool.domains(after, PAGE);
      for (const { domain } of page) {
        if (!isRouted(domain)) return keys;
        if (mailDomainOf(domain) === mailDomain) keys.push(domain);
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return keys;
      after = last.domain;
    }
  }

  /** @returns recipients done; those that were leased meanwhile are not */
  async #perform(
    verb: MessageVerb,
    message: MessageId,
    recipients: readonly QueuedRecipient[],
    { note, to = null }: VerbOptions,
  ): Promise<number> {
    const { spool, dispatcher, clock } = this.#deps;
    let done = 0;
    for (const { index, ...row } of recipients) {
      const leased = await spool.leaseMessage({ message, index });
      if (leased === null) continue;
      const nowMs = clock.wallMs();
      if (verb === 'hold') {
        const text = `held by an operator${note === '' ? '' : `: ${note}`}`;
        const reason = { code: HELD, text, sinceMs: nowMs };
        const isScheduled = row.reason.code === 'new' && row.dueMs > nowMs;
        await dispatcher.reschedule(leased, ({ extra }) => ({
          dueMs: NEVER_MS,
          reason,
          ...(isScheduled ? { extra: scheduled(extra, row.dueMs) } : {}),
        }));
      } else if (verb === 'release') {
        await dispatcher.reschedule(leased, ({ extra }) => {
          // What its sender scheduled keeps its time.
          const { notBeforeMs = 0 } = readRecipientExtra(extra);
          const code = notBeforeMs > nowMs ? 'new' : RELEASED;
          const resumed = { code, text: 'released', sinceMs: nowMs };
          return { dueMs: Math.max(nowMs, notBeforeMs), reason: resumed };
        });
      } else if (verb === 'retry') {
        await dispatcher.reschedule(leased, ({ reason }) => ({
          dueMs: nowMs,
          reason: isOperators(reason)
            ? { code: RELEASED, text: 'released', sinceMs: nowMs }
            : reason,
        }));
      } else if (verb === 'reroute') {
        const hop = to === null ? null : parseNextHop(to);
        await dispatcher.reschedule(leased, ({ domain, reason }) => ({
          dueMs: isOperators(reason) ? NEVER_MS : nowMs,
          reason,
          domain: routingDomain(hop, domain),
        }));
      } else {
        const what = verb === 'bounce' ? 'returned' : 'deleted';
        const text = `${what} by an operator${note === '' ? '' : `: ${note}`}`;
        await dispatcher.giveUp(leased, text, verb === 'bounce');
      }
      done += leased.recipients.length;
    }
    return done;
  }
}

const scheduled = (extra: string | undefined, notBeforeMs: number): string =>
  writeExtra({ ...readRecipientExtra(extra), notBeforeMs })!;

/** Reasons that an operator gave, and that only an operator ends. */
export const isOperators = ({ code }: WaitReason): boolean => code === HELD || code === 'suspended';

function matches(
  verb: MessageVerb,
  recipient: QueuedRecipient,
  selection: Selection,
  { to = null }: VerbOptions,
): boolean {
  if (verb === 'reroute') {
    const hop = to === null ? null : parseNextHop(to);
    if (recipient.domain === routingDomain(hop, recipient.domain)) return false;
  }
  if (verb === 'release' && recipient.reason.code !== HELD) return false;
  if (verb === 'hold' && recipient.reason.code === HELD) return false;
  // Mail that is held is not let go by trying all of a domain.
  if (verb === 'retry' && !('ids' in selection) && isOperators(recipient.reason)) return false;
  if ('ids' in selection) return true;
  const { domain, tenant, campaign } = selection;
  return (
    (domain === undefined || mailDomainOf(recipient.domain) === domain) &&
    (tenant === undefined || recipient.tenant === tenant) &&
    (campaign === undefined || recipient.campaign === campaign)
  );
}
