/** Which of the two UDP listeners serves an address: batched fronts, or the portable one. */
import type { Clock } from '../../runtime/clock.ts';
import type { HandedSockets } from '../../runtime/handed-sockets.ts';
import type { Log } from '../../runtime/log.ts';
import { type Endpoint, formatEndpoint } from '../../runtime/settings.ts';
import { clockHandle } from '../../runtime/thread-clock.ts';
import type { TimerWheel } from '../../runtime/timer-wheel.ts';
import type { AnswerTable } from '../cache/answer-table.ts';
import type { ResolverConfig } from '../config.ts';
import type { Counters } from '../counters.ts';
import { FrontsUnavailable } from '../errors.ts';
import type { Service } from '../service.ts';
import { DatagramListener } from './dgram.ts';
import { FrontsListener } from './fronts.ts';

export interface UdpOptions {
  readonly config: ResolverConfig;
  readonly service: Service;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly log: Log;
  /** What fronts serve from; null when none are wanted. */
  readonly table: AnswerTable | null;
  /** Sockets that are bound already. */
  readonly handed?: HandedSockets | null;
  /** An IPv6 wildcard leaves IPv4 to a listener of its own. */
  readonly ipv6Only: boolean;
}

/** @throws ListenFailed */
export async function listenUdp(
  endpoint: Endpoint,
  options: UdpOptions,
): Promise<FrontsListener | DatagramListener> {
  const { config, table, clock, log } = options;
  if (table === null) return DatagramListener.open(endpoint, options);
  try {
    return await FrontsListener.open(endpoint, {
      ...options,
      fronts: config.fronts,
      allow: config.allow.map(({ text }) => text),
      table: table.memory,
      clock: clockHandle(clock),
    });
  } catch (error) {
    if (!(error instanceof FrontsUnavailable)) throw error;
    const fields = { listen: formatEndpoint(endpoint), reason: error.message };
    log.warn(fields, 'fronts are not to be had here; the portable listener serves');
    return DatagramListener.open(endpoint, options);
  }
}
