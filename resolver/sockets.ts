/** What the sidecar needs to bind and to recognise sockets for a resolver. */
export { type BoundSockets, bindSockets } from './listen/bind-sockets.ts';
export { type HandedSocket, HandedSockets } from './listen/handed-sockets.ts';
