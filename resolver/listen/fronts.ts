/** DNS over UDP in batches: as many fronts at one address as the configuration says. */
import type { Worker } from 'node:worker_threads';
import type { HandedSockets } from '../../runtime/handed-sockets.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { adoptDatagramSocket, openDatagramSocket } from './datagram-socket.ts';
import { Front, type FrontOptions } from './front.ts';
import { adviseLargePages, loadLibc } from './libc.ts';

export interface FrontsOptions extends Omit<FrontOptions, 'libc' | 'socket'> {
  readonly fronts: number;
  /** Sockets that are bound already. */
  readonly handed?: HandedSockets | null;
  /** An IPv6 wildcard leaves IPv4 to a listener of its own. */
  readonly ipv6Only: boolean;
}

export class FrontsListener {
  /** Bound; the port is the one the system chose when 0 was asked. */
  readonly endpoint: Endpoint;
  readonly fronts: readonly Front[];

  constructor(fronts: readonly Front[]) {
    this.fronts = fronts;
    this.endpoint = fronts[0]!.endpoint;
  }

  /**
   * @throws ListenFailed
   * @throws FrontsUnavailable where the calls or threads are not to be had
   */
  static async open(endpoint: Endpoint, options: FrontsOptions): Promise<FrontsListener> {
    const libc = await loadLibc();
    const { ipv6Only } = options;
    adviseLargePages(libc, options.table.buffer);
    const fronts: Front[] = [];
    let bound = endpoint;
    try {
      for (let index = 0; index < options.fronts; index += 1) {
        const fd = options.handed?.take('udp', endpoint) ?? null;
        if (fd !== null) {
          const socket = adoptDatagramSocket(fd, endpoint, { libc, ipv6Only });
          fronts.push(new Front({ ...options, libc, socket }));
          continue;
        }
        // Who bound one for us did so for every front that there shall be.
        if (fronts[0]?.isShared === true) break;
        // Alone, a socket must not share its address with anybody, another resolver of ours included.
        const socket = openDatagramSocket(bound, { libc, ipv6Only, reusePort: options.fronts > 1 });
        bound = socket.endpoint;
        fronts.push(new Front({ ...options, libc, socket }));
      }
      await Promise.all(fronts.map((front) => front.start()));
    } catch (error) {
      await Promise.all(fronts.map((front) => front.close()));
      throw error;
    }
    return new FrontsListener(fronts);
  }

  /** Threads that serve now. */
  get workers(): Worker[] {
    return this.fronts.flatMap(({ worker }) => worker ?? []);
  }

  /** Takes no more queries; those taken are answered until {@link close}. */
  async drain(): Promise<void> {
    await Promise.all(this.fronts.map((front) => front.drain()));
  }

  async close(): Promise<void> {
    await Promise.all(this.fronts.map((front) => front.close()));
  }
}
