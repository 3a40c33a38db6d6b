/** dns-packet as the second opinion on every message; it reads Buffers only. */
import { type DecodedPacket, decode } from 'dns-packet';

export const oracle = (message: Uint8Array): DecodedPacket =>
  decode(Buffer.from(message.buffer, message.byteOffset, message.byteLength));
