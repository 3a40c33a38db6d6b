/** What the sidecar needs to bind and to duplicate sockets for its programs. */
export { type SocketBinder, socketBinder, type WantedSocket } from './listen/bind-sockets.ts';
