/** Every address that answers, opened in the order of the configuration and closed together. */
import { readFile } from 'node:fs/promises';
import type { Endpoint } from '../../runtime/settings.ts';
import type { ResolverConfig } from '../config.ts';
import { TlsFileUnreadable } from '../errors.ts';
import { HttpsListener } from './https.ts';
import { StreamListener, type TlsIdentity } from './tcp.ts';
import { listenUdp, type UdpOptions } from './udp.ts';

const IPV6_WILDCARD = '::';
const PORT_CHOICES_MAX = 10;

export type ListenParts = Omit<UdpOptions, 'ipv6Only'>;

export class Listeners {
  /** Each over UDP and TCP. */
  readonly endpoints: Endpoint[] = [];
  readonly encrypted: { readonly transport: 'tls' | 'https'; readonly endpoint: Endpoint }[] = [];
  readonly #open: { close(): Promise<void>; drain?(): void | Promise<void> }[] = [];

  /**
   * @throws ListenFailed, TlsFileUnreadable; what was opened before stays open until {@link close}
   */
  async open(parts: ListenParts): Promise<void> {
    const { config } = parts;
    for (const endpoint of config.listen) await this.#openPlain(endpoint, parts);
    if (config.listen_tls.length + config.listen_https.length === 0) return;
    const tls = await readIdentity(config);
    for (const endpoint of config.listen_tls) {
      const options = { ...streamOptions(endpoint, config.listen_tls, parts), tls };
      const listener = await StreamListener.open(endpoint, options);
      this.#open.push(listener);
      this.encrypted.push({ transport: 'tls', endpoint: listener.endpoint });
    }
    for (const endpoint of config.listen_https) {
      const options = { ...streamOptions(endpoint, config.listen_https, parts), tls };
      const listener = await HttpsListener.open(endpoint, options);
      this.#open.push(listener);
      this.encrypted.push({ transport: 'https', endpoint: listener.endpoint });
    }
  }

  /** Nothing new is taken where that can be helped; what was taken is answered until {@link close}. */
  async drain(): Promise<void> {
    await Promise.all(this.#open.map(async (listener) => listener.drain?.()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((listener) => listener.close()));
  }

  /** UDP and TCP of one address, on the same port even where the system chose it. */
  async #openPlain(endpoint: Endpoint, parts: ListenParts): Promise<void> {
    const options = { ...streamOptions(endpoint, parts.config.listen, parts), tls: null };
    for (let attempt = 1; ; attempt += 1) {
      const stream = await StreamListener.open(endpoint, options);
      try {
        this.#open.push(await listenUdp(stream.endpoint, options), stream);
        this.endpoints.push(stream.endpoint);
        return;
      } catch (error) {
        await stream.close();
        // The system chose a port that is free for TCP only; let it choose again.
        if (endpoint.port !== 0 || attempt === PORT_CHOICES_MAX) throw error;
      }
    }
  }
}

function streamOptions(endpoint: Endpoint, all: readonly Endpoint[], parts: ListenParts) {
  const { tcp_clients: connectionsMax, tcp_clients_each: connectionsEachMax } = parts.config;
  const ipv6Only =
    endpoint.address === IPV6_WILDCARD &&
    all.some(({ address, port }) => port === endpoint.port && !address.includes(':'));
  return { ...parts, connectionsMax, connectionsEachMax, ipv6Only };
}

async function readIdentity(config: ResolverConfig): Promise<TlsIdentity> {
  const { tls_certificate, tls_key } = config;
  return {
    cert: await read('tls_certificate', tls_certificate),
    key: await read('tls_key', tls_key),
  };
}

async function read(setting: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new TlsFileUnreadable(setting, file, (error as NodeJS.ErrnoException).code ?? 'EUNKNOWN');
  }
}
