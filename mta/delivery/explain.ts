/** Why a recipient is not under way: the one thing that has to change before it moves on. */
import type { MessageId } from '../envelope.ts';
import { isOperators } from '../operator.ts';
import type { Suspension, Wait } from '../running.ts';
import type { QueuedRecipient, WaitReason } from '../spool/spool.ts';
import type { Domains } from './domains.ts';
import type { SiteQueue } from './site-queue.ts';
import { type Suspensions, siteSuspension } from './suspensions.ts';

export interface Standing {
  /** Wall ms. */
  readonly nowMs: number;
  readonly sites: Iterable<SiteQueue>;
  readonly domains: Domains;
  readonly suspensions: Suspensions;
  /** Wall ms since when an operator holds all mail back, or null. */
  readonly suspendedAtMs: number | null;
  /** Why outcomes cannot be recorded, or null. */
  readonly spoolTrouble: WaitReason | null;
  /** So many outcomes wait to be recorded that no more mail is taken up. */
  readonly saturated: boolean;
  /** An outcome of the message waits to be recorded. */
  owed(message: MessageId): boolean;
}

export function explain(recipient: QueuedRecipient, standing: Standing): Wait {
  const { domain, reason, dueMs, leased } = recipient;
  const { domains, suspensions, nowMs } = standing;
  const buffering = leased ? bufferedAt(recipient, standing.sites) : null;
  const site = buffering ?? domains.siteOf(domain);
  if (leased && buffering === null) {
    if (standing.spoolTrouble !== null && standing.owed(recipient.message)) {
      const { text, sinceMs } = standing.spoolTrouble;
      const what = `its outcome waits to be recorded: ${text}`;
      return { on: 'spool', text: what, sinceMs, untilMs: null };
    }
    const where = site === undefined ? '' : ` at ${site.site.alias}`;
    return { on: 'delivering', text: `in hand${where}`, sinceMs: reason.sinceMs, untilMs: null };
  }
  if (isOperators(reason)) {
    return { on: 'operator', text: reason.text, sinceMs: reason.sinceMs, untilMs: null };
  }
  if (dueMs > nowMs && !leased) {
    const on = reason.code === 'new' ? 'schedule' : 'retry';
    const text = on === 'retry' ? reason.text : 'not before the instant that its sender chose';
    return { on, text, sinceMs: reason.sinceMs, untilMs: dueMs };
  }
  if (standing.suspendedAtMs !== null) {
    const text = 'delivery is suspended; resume it with POST /v1/delivery/resume';
    return { on: 'operator', text, sinceMs: standing.suspendedAtMs, untilMs: null };
  }
  const suspension = suspensionOf(recipient, site, suspensions);
  if (suspension !== null) {
    const { scope, name, sinceMs } = suspension;
    return { on: 'operator', text: `the ${scope} ${name} is suspended`, sinceMs, untilMs: null };
  }
  const wait = domains.waitOf(domain);
  if (wait !== undefined) return wait;
  if (standing.spoolTrouble !== null && standing.saturated) {
    const { text, sinceMs } = standing.spoolTrouble;
    return { on: 'spool', text, sinceMs, untilMs: null };
  }
  if (site !== undefined) return site.wait(dueMs);
  return {
    on: 'route',
    text: `asking DNS where ${domain} takes mail`,
    sinceMs: dueMs,
    untilMs: null,
  };
}

function bufferedAt({ message }: QueuedRecipient, sites: Iterable<SiteQueue>): SiteQueue | null {
  for (const site of sites) if (site.buffers(message)) return site;
  return null;
}

const suspensionOf = (
  { domain, tenant, campaign }: QueuedRecipient,
  queue: SiteQueue | undefined,
  suspensions: Suspensions,
): Suspension | null =>
  suspensions.find('domain', domain) ??
  suspensions.find('tenant', tenant) ??
  suspensions.find('campaign', campaign) ??
  (queue === undefined ? null : siteSuspension(suspensions, queue.site));
