/** Spools in scratch folders, and messages to put in them. */

import type { MessageId, Priority, Submission } from '../../../mta/envelope.ts';
import type { LeaseRequest, Spool } from '../../../mta/spool/spool.ts';
import { openSqliteSpool } from '../../../mta/spool/sqlite-engine.ts';
import type { Clock } from '../../../runtime/clock.ts';
import { type Log, silentLog } from '../../../runtime/log.ts';
import { ManualClock } from '../../support/clock.ts';

/** Where ManualClock begins. */
export const START_MS = 1_800_000_000_000;

export interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** Keeps what is logged. */
export function listeningLog(): Log & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: Line['level']) => (fields: object, message: string) =>
    void lines.push({ level, fields: { ...fields }, message });
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export interface Settings {
  readonly clock?: Clock;
  readonly log?: Log;
  readonly reserveBytes?: number;
  readonly segmentOctets?: number;
  readonly onLost?: (error: Error) => void;
}

export const openAt = (folder: string, settings: Settings = {}): Promise<Spool> =>
  openSqliteSpool({
    folder,
    reserveBytes: 0,
    clock: new ManualClock(),
    log: silentLog,
    ...settings,
  });

export interface Details {
  readonly content?: string | Uint8Array;
  readonly receivedAtMs?: number;
  readonly reversePath?: string;
  readonly priority?: Priority;
  readonly tenant?: string;
}

/** A message to these addresses, routed by what follows the @. */
export function submission(addresses: readonly string[], details: Details = {}): Submission {
  const content = details.content ?? 'Subject: hello\r\n\r\nhello\r\n';
  return {
    envelope: {
      reversePath: details.reversePath ?? 'from@sender.example.net',
      recipients: addresses.map((address, index) => ({
        index,
        address,
        domain: address.slice(address.lastIndexOf('@') + 1),
      })),
      body: '7bit',
      smtpUtf8: false,
    },
    content: typeof content === 'string' ? Buffer.from(content) : content,
    receivedAtMs: details.receivedAtMs ?? START_MS,
    origin: 'test',
    ...(details.priority === undefined ? {} : { priority: details.priority }),
    ...(details.tenant === undefined ? {} : { tenant: details.tenant }),
  };
}

export const leaseOf = (
  domains: readonly string[],
  bounds: Partial<Omit<LeaseRequest, 'domains'>> = {},
): LeaseRequest => ({
  domains,
  nowMs: START_MS,
  messagesMax: 100,
  bytesMax: 100_000_000,
  recipientsMax: 100,
  ...bounds,
});

interface Addressed {
  readonly message: MessageId;
  readonly recipients: readonly { readonly address: string }[];
}

/** For each message the addresses leased, in order. */
export const addressesOf = (messages: readonly Addressed[]): string[][] =>
  messages.map(({ recipients }) => recipients.map(({ address }) => address));
