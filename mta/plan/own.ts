/** Where this server takes mail itself, as routing must know it to see a loop. */
import type { Endpoint } from '../../runtime/settings.ts';

/**
 * Replaces the wildcard addresses of listeners by the addresses that they stand for. A listener on ::
 * takes IPv4 too, as Node's do.
 *
 * @param interfaceAddresses every address of this machine, as os.networkInterfaces() tells them
 */
export function ownEndpoints(
  listeners: readonly Endpoint[],
  interfaceAddresses: readonly string[],
): Endpoint[] {
  return listeners.flatMap((listener) => {
    if (listener.address !== '0.0.0.0' && listener.address !== '::') return [listener];
    const { port } = listener;
    return interfaceAddresses
      .filter((address) => listener.address === '::' || !address.includes(':'))
      .map((address) => ({ address, port }));
  });
}
