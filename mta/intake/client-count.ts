/** Owns how many connections one client has open, so that one stranger cannot have them all. */
import ipaddr from 'ipaddr.js';

const V6_PREFIX_PARTS = 4;

export class ClientCount {
  readonly #open = new Map<string, number>();

  /** @returns false, and counts nothing, when the client has `max` already */
  enter(client: string, max: number): boolean {
    const count = this.#open.get(client) ?? 0;
    if (count >= max) return false;
    this.#open.set(client, count + 1);
    return true;
  }

  leave(client: string): void {
    const count = this.#open.get(client) ?? 0;
    if (count > 1) this.#open.set(client, count - 1);
    else this.#open.delete(client);
  }
}

/** Who counts as one: an IPv4 address, or the /64 that one customer has of IPv6. */
export function clientOf(address: string): string {
  if (!ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  if (parsed.kind() === 'ipv4') return parsed.toString();
  return (parsed as ipaddr.IPv6).parts.slice(0, V6_PREFIX_PARTS).join(':');
}
