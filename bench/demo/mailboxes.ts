/** How the demo's receivers behave: near or far, greylisting, busy, and strict about recipients. */
import type { Endpoint } from '../../runtime/settings.ts';
import type { Provider } from '../load/internet.ts';
import { greylist, type Sink, type SinkPolicy, startSink } from '../load/sink.ts';
import type { Ledger } from './ledger.ts';

export interface Mailboxes {
  readonly sinks: ReadonlyMap<Provider, Sink>;
  /** Refusals so far: reply → how often it was given. */
  readonly refusals: ReadonlyMap<string, number>;
  close(): Promise<void>;
}

type Verdict = string | null;

const GREYLIST_MS = 1_500;
/** Milliseconds between request and reply, by index of the provider; the tail repeats the rest. */
const DELAYS_MS = [15, 40, 25, 5, 60, 10, 30];
/** Among the hosters, every so many greylists. */
const GREYLISTING_EVERY = 6;
/** At yahoo.com and at every so many hosters, one message in so many is put off once. */
const BUSY_EVERY = 4;
const BUSY_ONE_IN = 25;

const NO_SUCH_USER = '550 5.1.1 no such user here';
const CONTENT_REFUSED = '554 5.7.1 message refused by policy';
const BUSY = '451 4.3.2 try again in a while';

const fateOf = (recipient: string): string => recipient.slice(0, recipient.indexOf('-'));

/** Puts off each recipient that `picked` names, once. */
function busyOnce(): (recipient: string) => Verdict {
  const putOff = new Set<string>();
  return (recipient) => {
    const number = Number(/-(\d+)@/.exec(recipient)?.[1] ?? 1);
    if (number % BUSY_ONE_IN !== 0 || putOff.has(recipient)) return null;
    putOff.add(recipient);
    return BUSY;
  };
}

function policyOf(index: number, ledger: Ledger, count: (reply: string) => Verdict): SinkPolicy {
  const grey = index > 2 && index % GREYLISTING_EVERY === 0 ? greylist(GREYLIST_MS) : null;
  const busy = index === 2 || (index > 2 && index % BUSY_EVERY === 0) ? busyOnce() : null;
  return {
    onRecipient(recipient, envelope) {
      if (fateOf(recipient) === 'gone') return count(NO_SUCH_USER);
      const verdict = grey?.(recipient, envelope) ?? busy?.(recipient) ?? null;
      return verdict === null ? null : count(verdict);
    },
    onMessage({ recipients }) {
      if (recipients.some((recipient) => fateOf(recipient) === 'refused')) {
        return count(CONTENT_REFUSED);
      }
      for (const recipient of recipients) ledger.accepted(recipient);
      return null;
    },
  };
}

export async function openMailboxes(
  providers: readonly Provider[],
  port: number,
  ledger: Ledger,
): Promise<Mailboxes> {
  const refusals = new Map<string, number>();
  const count = (reply: string): string => {
    refusals.set(reply, (refusals.get(reply) ?? 0) + 1);
    return reply;
  };
  const sinks = new Map<Provider, Sink>();
  for (const [index, provider] of providers.entries()) {
    const listen: Endpoint[] = [{ address: provider.address, port }];
    const delayMs = DELAYS_MS[index] ?? DELAYS_MS[3 + (index % (DELAYS_MS.length - 3))]!;
    sinks.set(provider, await startSink({ listen, delayMs, ...policyOf(index, ledger, count) }));
  }
  return {
    sinks,
    refusals,
    async close() {
      for (const sink of sinks.values()) await sink.close();
    },
  };
}
