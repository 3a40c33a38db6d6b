/**
 * The sockets that `up` holds for its resolver, so that one process of it can take over from another
 * and a crash loses nothing that the kernel can keep. Those that systemd has bound come first.
 */
import type { ResolverConfig } from '../resolver/config.ts';
import type { BoundSockets, HandedSocket } from '../resolver/sockets.ts';
import { activatedSockets } from '../runtime/activation.ts';
import type { Log } from '../runtime/log.ts';
import { type Endpoint, formatEndpoint } from '../runtime/settings.ts';

/** @returns none where they cannot be bound: then the resolver binds its own, or says why it cannot */
export async function socketsFor(config: ResolverConfig, log: Log): Promise<BoundSockets> {
  const activated = activatedSockets();
  // A port of the system's choice is the resolver's to tell.
  const ours = config.listen.filter((at) => at.port !== 0 && !activated.some((it) => isAt(it, at)));
  const { bindSockets } = await import('../resolver/sockets.ts');
  try {
    const bound = await bindSockets(ours, config.fronts);
    return { sockets: [...activated, ...bound.sockets], close: bound.close };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    log.debug({ reason }, 'sockets are left to the resolver to bind');
    return { sockets: activated, close: () => undefined };
  }
}

const isAt = ({ endpoint }: HandedSocket, at: Endpoint): boolean =>
  formatEndpoint(endpoint) === formatEndpoint(at);
