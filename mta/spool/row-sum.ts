/**
 * Checksums of the index's rows, over what says who writes to whom: a database does not notice an octet
 * that has changed in a text, and mail must not go to another mailbox or domain for that.
 */
import { crc32 } from 'node:zlib';
import type { MessageId } from '../envelope.ts';

export const messageSum = (message: MessageId, reversePath: string): number =>
  crc32(`${message} ${reversePath}`);

export const recipientSum = (
  message: MessageId,
  index: number,
  { domain, address }: { readonly domain: string; readonly address: string },
): number => crc32(`${message}.${index} ${domain} ${address}`);
