/** What a site queue needs of the planner that made it. */
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { DeliveryConfig } from '../config.ts';
import type { Itinerary } from '../plan/route.ts';
import type { Shaping } from '../plan/shaping.ts';
import type { Site } from '../plan/site.ts';
import type { LimitChange, Wait } from '../running.ts';
import type { RecipientFact } from '../smtp/transaction.ts';
import type { LeasedMessage, Spool } from '../spool/spool.ts';
import type { Allotment } from './allotment.ts';
import type { Consignment } from './consignment.ts';
import type { Crowding } from './crowding.ts';
import type { ReversePathFor } from './deps.ts';
import type { HostHealth } from './hosts.ts';
import type { Lessons } from './lessons.ts';
import type { LinkOpener } from './link.ts';
import type { Throttles } from './throttle.ts';
import type { TlsWatch } from './tls-watch.ts';

export interface SiteContext {
  readonly config: DeliveryConfig;
  readonly spool: Spool;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly hosts: HostHealth;
  /** Connections, over all sites. */
  readonly slots: Allotment;
  /** Of these, those of sites that have not taken mail since they came up or last failed. */
  readonly trials: Allotment;
  readonly crowding: Crowding;
  /** Octets of content in memory, over all sites. */
  readonly memory: Allotment;
  readonly openLink: LinkOpener;
  readonly shaping: Shaping;
  readonly throttles: Throttles;
  readonly lessons: Lessons;
  /** See DeliveryDeps; null leaves reverse-paths as they are. */
  readonly reversePathFor: ReversePathFor | null;
  /** For TLS reports; null when none are made. */
  readonly tlsWatch: TlsWatch | null;
  itinerary(site: Site): Itinerary;
  /** Whether outcomes are taken; false while the spool cannot record those it has. */
  accepting(site: Site): boolean;
  /** Takes mail that an operator holds back off the site's hands, by rescheduling it. @returns whether it did */
  park(leased: LeasedMessage): boolean;
  /** Tenants whose mail an operator holds back. */
  heldTenants(): readonly string[];
  /** A rule lets a domain rest. */
  suspendDomain(domain: string, wait: Wait): void;
  /** A consignment is over. */
  finished(
    consignment: Consignment,
    facts: readonly RecipientFact[],
    host: string,
    site: Site,
  ): void;
  /** The site has become faster or slower, for operators to see. */
  changed(change: LimitChange): void;
  /** Leases to be given back untried. */
  release(consignments: readonly Consignment[]): void;
  /** The domain has nothing due now; its next work is due then, or there is none. */
  drained(domain: string, nextDueMs: number | null): void;
  /** DNS no longer speaks for the site as it did: ask it again for these domains. */
  reroute(domains: readonly string[]): void;
}
