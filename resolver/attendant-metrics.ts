/** Series of bundles, guards, DNSBL zones and refreshes. */
import type { Registry } from 'prom-client';
import type { Attendants } from './attendants.ts';
import { KINDS } from './bundle/members.ts';
import { VERDICTS } from './guard/bounce-guard.ts';
import { DNSBL_REFUSALS } from './guard/dnsbl.ts';
import { addCounter, addGauge } from './metric-kinds.ts';

export function addAttendants(registry: Registry, attendants: Attendants): void {
  addBundles(registry, attendants);
  addGuard(registry, attendants);
  addDnsbl(registry, attendants);
  const { queue } = attendants;
  addGauge(registry, 'refreshes', 'Questions that no client waits for.', ['state'], () => [
    [['waiting'], queue.waiting],
    [['under_way'], queue.underWay],
  ]);
}

function addBundles(registry: Registry, { bundles }: Attendants): void {
  const { worth } = bundles;
  addCounter(registry, 'bundle_fetches', 'Fetched ahead after an MX.', ['kind'], () =>
    KINDS.map((kind) => [[kind], worth[kind].fetchedTotal]),
  );
  addCounter(
    registry,
    'bundle_hits',
    'Of those, how many a client asked for within a minute: each an exchange that nobody waited for.',
    ['kind'],
    () => KINDS.map((kind) => [[kind], worth[kind].hitsTotal]),
  );
  addCounter(
    registry,
    'bundle_spared',
    'Not fetched ahead, because clients hardly use the kind.',
    ['kind'],
    () => KINDS.map((kind) => [[kind], worth[kind].sparedTotal]),
  );
  addCounter(registry, 'bundle_packets', 'Packets sent to fetch ahead.', [], () => [
    [[], bundles.packetsTotal],
  ]);
}

function addGuard(registry: Registry, { guard }: Attendants): void {
  addCounter(
    registry,
    'bounce_guard',
    'Denials that contradicted what was true lately, by what asking elsewhere showed.',
    ['verdict'],
    () => VERDICTS.map((verdict) => [[verdict], guard?.verdicts[verdict] ?? 0]),
  );
  addCounter(registry, 'bounce_guard_packets', 'Packets sent to confirm denials.', [], () => [
    [[], guard?.packetsTotal ?? 0],
  ]);
}

function addDnsbl(registry: Registry, { dnsbl }: Attendants): void {
  addCounter(
    registry,
    'dnsbl_refusals',
    'Questions to block lists that became SERVFAIL: refused by the list, answered with what is no code, or too many at once.',
    ['reason'],
    () => DNSBL_REFUSALS.map((reason) => [[reason], dnsbl.refusals[reason]]),
  );
  addGauge(registry, 'dnsbl_in_flight', 'Questions to block lists under way.', [], () => [
    [[], dnsbl.inFlight],
  ]);
  addGauge(registry, 'dnsbl_cache_bytes', 'Memory of their cached responses.', [], () => [
    [[], dnsbl.cache.bytes],
  ]);
}
