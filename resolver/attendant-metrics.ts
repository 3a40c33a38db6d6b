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
  addUncap(registry, attendants);
  const { queue, recovery } = attendants;
  addGauge(registry, 'failing_names', 'Names that failed and are asked for again.', [], () => [
    [[], recovery.watched],
  ]);
  addCounter(registry, 'recovery_probes', 'Questions for names that failed.', [], () => [
    [[], recovery.probesTotal],
  ]);
  addCounter(registry, 'recovered_names', 'Names that failed and resolve again.', [], () => [
    [[], recovery.recoveredTotal],
  ]);
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
    () => VERDICTS.map((verdict) => [[verdict], guard.verdicts[verdict]]),
  );
  addCounter(registry, 'bounce_guard_packets', 'Packets sent to confirm denials.', [], () => [
    [[], guard.packetsTotal],
  ]);
}

function addUncap(registry: Registry, { uncap }: Attendants): void {
  addGauge(
    registry,
    'ttl_cap_seconds',
    'Longest TTL of an upstream that cuts them.',
    ['upstream', 'type'],
    () => uncap.caps().map(([upstream, type, seconds]) => [[upstream, type], seconds]),
  );
  addCounter(registry, 'ttl_uncapped', 'Answers kept longer than a cut TTL.', [], () => [
    [[], uncap.extendedTotal],
  ]);
  addCounter(
    registry,
    'ttl_uncap_packets_avoided',
    'Exchanges that the names in use would have cost in that time.',
    [],
    () => [[[], uncap.packetsAvoidedTotal]],
  );
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
