/** The [resolver] table: schema, defaults and the sentences of the reference. Units: ms, octets. */
import { z } from 'zod';
import { duration, endpoint, network } from '../runtime/settings.ts';
import { BUDGET_PACKETS_MIN } from './upstream/budget.ts';

export const RESOLVER_PORT = 5335;
export const RESOLVER_ADMIN_PORT = 8053;
const DNS_PORT = 53;

const cacheSchema = z
  .strictObject({
    bytes: z
      .int()
      .min(1_048_576)
      .default(268_435_456)
      .describe('Bound on the memory of cached responses, their keys included.'),
    min_ttl: duration('0').describe('Positive answers are kept at least this long.'),
    max_ttl: duration('1d').describe('Positive answers are kept at most this long (RFC 8767 §4).'),
    max_negative_ttl: duration('3h').describe(
      'NXDOMAIN and NODATA are kept at most this long (RFC 2308 §5).',
    ),
    failure_ttl: duration('5s').describe(
      'Resolution failures are remembered this long, 1 s to 5 min (RFC 9520 §3.2).',
    ),
  })
  .prefault({});

export const resolverSchema = z
  .strictObject({
    listen: z
      .array(endpoint(RESOLVER_PORT))
      .min(1)
      .prefault([`127.0.0.1:${RESOLVER_PORT}`])
      .describe('Addresses that answer DNS over UDP and TCP.'),
    upstreams: z
      .array(endpoint(DNS_PORT))
      .default([])
      .describe(
        'Servers to forward to, in order of preference. Default: those of /etc/resolv.conf.',
      ),
    admin: endpoint(RESOLVER_ADMIN_PORT)
      .prefault(`127.0.0.1:${RESOLVER_ADMIN_PORT}`)
      .describe('HTTP: /metrics, /healthz, /readyz and the JSON API.'),
    allow: z
      .array(network())
      .prefault(['127.0.0.0/8', '::1'])
      .describe('Clients that may ask; others get REFUSED.'),
    budget: z
      .union([z.int().min(0), z.literal('auto')])
      .default(0)
      .transform((budget, context) => {
        if (budget === 0 || (budget !== 'auto' && budget >= BUDGET_PACKETS_MIN)) return budget;
        context.addIssue(
          budget === 'auto'
            ? '"auto" does not work yet; write packets per second, for example 900, or 0 for no bound'
            : `${budget} is too small; write 0 for no bound, or ${BUDGET_PACKETS_MIN} packets per second or more`,
        );
        return z.NEVER;
      })
      .describe(
        `Packets per second to upstreams, ${BUDGET_PACKETS_MIN} or more; retransmissions and TCP segments (as estimated) count. 0 is no bound.`,
      ),
    fronts: z
      .int()
      .min(0)
      .max(64)
      .default(1)
      .describe('Batched UDP workers; 0 is the portable listener.'),
    stale: duration('3d').describe(
      'How long past expiry an answer may serve; "0" is never (RFC 8767).',
    ),
    snapshot: z
      .string()
      .default('')
      .describe('File that keeps the cache across restarts; "" is none.'),
    deadline: duration('4s').describe(
      'Every query is answered within this, with SERVFAIL if need be. Below the 5 s of glibc and Postfix.',
    ),
    tcp_clients: z.int().min(1).max(10_000).default(256).describe('TCP connections at once.'),
    in_flight: z
      .int()
      .min(16)
      .max(65_536)
      .default(8192)
      .describe('Distinct questions under way at upstreams at once; more get SERVFAIL.'),
    cache: cacheSchema,
  })
  .prefault({});

export type ResolverConfig = z.output<typeof resolverSchema>;
