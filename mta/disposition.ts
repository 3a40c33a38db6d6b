/**
 * Failure policy, all of it: what does this reply condemn (recipient, transaction or destination),
 * for good or for now, and may the message have been delivered all the same?
 */
import type { Reply } from './smtp/reply.ts';

/** What a failure condemns. */
export type Scope = 'recipient' | 'transaction' | 'destination';

export type Outcome =
  | { readonly kind: 'delivered'; readonly reply: Reply }
  /** reply is null when DNS decided, as with a null MX. */
  | { readonly kind: 'bounced'; readonly scope: Scope; readonly reply: Reply | null }
  /** maybeDelivered: the connection died after the final dot. */
  | {
      readonly kind: 'deferred';
      readonly scope: Scope;
      readonly reply: Reply | null;
      readonly maybeDelivered: boolean;
    };
