/** What a supervisor has to know before it starts programs on a configuration: sockets and times. */
import type { Endpoint } from '../runtime/settings.ts';
import type { Config, RawConfig } from './config/schema.ts';
import type { Plan } from './protocol.ts';
import { VERSION } from './version.ts';

type Wanted = Plan['programs']['mta']['sockets'][number];

/** What a program needs beyond its own drain to close files and sockets. */
const STOP_MARGIN_MS = 5_000;
const IPV6_WILDCARD = '::';

/** @param raw from which `config` was parsed */
export function planOf(config: Config, raw: RawConfig): Plan {
  const { resolver, mta, upgrade } = config;
  return {
    version: VERSION,
    raw,
    programs: {
      resolver: {
        stopTimeoutMs: resolver.deadline + STOP_MARGIN_MS,
        sockets: [
          ...resolver.listen.flatMap((at) => [
            ...Array<Wanted>(Math.max(resolver.fronts, 1)).fill({
              ...wanted('udp', at, resolver.listen),
              reusePort: resolver.fronts > 1,
            }),
            wanted('tcp', at, resolver.listen),
          ]),
          ...streams(resolver.listen_tls),
          ...streams(resolver.listen_https),
          ...streams([resolver.admin]),
        ].filter(isBindable),
      },
      mta: {
        stopTimeoutMs: mta.drain + STOP_MARGIN_MS,
        sockets: [
          ...streams(mta.smtp),
          ...streams([mta.http]),
          ...streams(mta.socketmap === '' ? [] : [mta.socketmap]),
        ].filter(isBindable),
      },
    },
    upgrade: { readyTimeoutMs: upgrade.ready_timeout, probationMs: upgrade.probation },
  };
}

const streams = (endpoints: readonly Endpoint[]): Wanted[] =>
  endpoints.map((endpoint) => wanted('tcp', endpoint, endpoints));

function wanted(
  protocol: Wanted['protocol'],
  endpoint: Endpoint,
  group: readonly Endpoint[],
): Wanted {
  const ipv6Only =
    endpoint.address === IPV6_WILDCARD &&
    group.some(({ address, port }) => port === endpoint.port && !address.includes(':'));
  return { protocol, endpoint, ipv6Only, reusePort: false };
}

/** A port of the system's choice is the program's to tell. */
const isBindable = ({ endpoint }: Wanted): boolean => endpoint.port !== 0;
