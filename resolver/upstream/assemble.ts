/**
 * From settings to groups of upstreams with their sockets and budgets. A server named twice is one
 * upstream: one memory of it, one set of sockets, one budget of its own.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import type { TimerWheel } from '../../runtime/timer-wheel.ts';
import { nameKey } from '../wire/names.ts';
import type { UpstreamAddress } from './address.ts';
import { Budget } from './budget.ts';
import { type Group, type Route, type Selection, Zones } from './group.ts';
import type { HttpsChannel } from './https.ts';
import type { StreamChannel } from './stream.ts';
import { TcpChannel, tcpDialer } from './tcp.ts';
import { tlsDialer } from './tls.ts';
import { UdpPool } from './udp.ts';
import { Upstream } from './upstream.ts';

/** Packets per second, 0 for no bound. */
type Packets = number;

export interface GroupSettings {
  readonly upstreams: readonly UpstreamAddress[];
  /** null: that of the main group counts for this one too. */
  readonly budget: Packets | null;
  readonly selection: Selection;
  readonly spill: readonly UpstreamAddress[];
  readonly spillBudget: Packets;
}

export interface AssemblySettings {
  readonly main: GroupSettings;
  readonly zones: readonly (GroupSettings & {
    /** As people write it: label of metrics. */
    readonly zone: string;
    readonly zoneName: Uint8Array;
  })[];
  readonly upstreamBudget: Packets;
  readonly hedge: boolean;
  readonly mixCase: boolean;
  readonly cookies: boolean;
  /** PEM of the authorities to trust in place of those that come with Node; undefined for those. */
  readonly authorities: string | undefined;
}

export interface AssemblyParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
}

export interface Assembly {
  readonly zones: Zones;
  /** The main group first. */
  readonly groups: readonly Group[];
}

export async function assembleGroups(
  settings: AssemblySettings,
  parts: AssemblyParts,
): Promise<Assembly> {
  const { clock, wheel } = parts;
  const https = await loadHttps(settings);
  const routes = new Map<string, Route>();
  const groups: Group[] = [];
  const routeTo = (address: UpstreamAddress): Route => {
    const route = routes.get(address.text) ?? openRoute(address, settings, parts, https);
    routes.set(address.text, route);
    return route;
  };
  const add = (name: string, from: GroupSettings, shared: Budget | null): Group => {
    const { hedge } = settings;
    const { selection } = from;
    const spillName = name === MAIN ? 'spill' : `${name} spill`;
    const spill: Group | null =
      from.spill.length === 0
        ? null
        : {
            name: spillName,
            routes: from.spill.map(routeTo),
            budget: new Budget(spillName, from.spillBudget, clock, wheel),
            selection,
            hedge,
            spill: null,
          };
    const budget = shared ?? new Budget(name, from.budget ?? 0, clock, wheel);
    const group = { name, routes: from.upstreams.map(routeTo), budget, selection, hedge, spill };
    groups.push(group);
    if (spill !== null) groups.push(spill);
    return group;
  };
  const main = add(MAIN, settings.main, null);
  const byZone = new Map<string, Group>();
  for (const zone of settings.zones) {
    const key = nameKey(zone.zoneName, 0);
    if (typeof key === 'number') throw new TypeError('not a domain name');
    byZone.set(key, add(zone.zone, zone, zone.budget === null ? main.budget : null));
  }
  return { zones: new Zones(main, byZone), groups };
}

const MAIN = 'upstreams';

type HttpsConstructor = typeof HttpsChannel;

/** undici takes 95 ms and 28 MB to load, so only who needs it does. */
async function loadHttps({ main, zones }: AssemblySettings): Promise<HttpsConstructor | null> {
  const all = [main, ...zones].flatMap(({ upstreams, spill }) => [...upstreams, ...spill]);
  if (!all.some(({ transport }) => transport === 'https')) return null;
  return (await import('./https.ts')).HttpsChannel;
}

function openRoute(
  address: UpstreamAddress,
  settings: AssemblySettings,
  parts: AssemblyParts,
  https: HttpsConstructor | null,
): Route {
  const { clock, random, wheel } = parts;
  const { upstreamBudget: budget, mixCase, cookies, authorities } = settings;
  const upstream = new Upstream(address, { budget, mixCase, cookies, clock, random });
  const udp = address.transport === 'udp' ? new UdpPool(upstream, random, clock, wheel) : null;
  const stream: StreamChannel =
    https !== null && address.transport === 'https'
      ? new https(upstream, authorities)
      : new TcpChannel(
          upstream,
          address.transport === 'tls' ? tlsDialer(address, authorities) : tcpDialer(address),
          parts,
        );
  return { upstream, udp, stream };
}
