/**
 * DNS over TLS (RFC 7858): connections whose certificate must bear the configured name, resumed from
 * the last session where the server allows. A resumed session has no certificate to look at, so a
 * session is used again only here: same server, same name, same authorities.
 */
import { isIP } from 'node:net';
import { connect } from 'node:tls';
import type { UpstreamAddress } from './address.ts';
import type { Dialer } from './tcp.ts';

/** @param authorities PEM, in place of those that come with Node; undefined for those */
export function tlsDialer(address: UpstreamAddress, authorities: string | undefined): Dialer {
  const serverName = address.serverName ?? address.address;
  let session: Buffer | undefined;
  return {
    // SYN, ACK, ClientHello, ACK of the server's flight, Finished, and one to spare.
    connectPackets: 6,
    // close_notify with FIN, ACK.
    closePackets: 2,
    readyEvent: 'secureConnect',
    dial() {
      const socket = connect({
        host: address.address,
        port: address.port,
        // Numeric names are no SNI (RFC 6066 §3), but are verified all the same.
        ...(isIP(serverName) === 0 ? { servername: serverName } : { host: serverName }),
        lookup: (_host, _options, found) =>
          found(null, [{ address: address.address, family: isIP(address.address) }]),
        minVersion: 'TLSv1.2',
        ALPNProtocols: ['dot'],
        ...(authorities === undefined ? {} : { ca: authorities }),
        ...(session === undefined ? {} : { session }),
      });
      socket.setNoDelay(true);
      socket.on('session', (fresh) => {
        session = fresh;
      });
      socket.on('error', () => {
        session = undefined;
      });
      return socket;
    },
  };
}
