/** The [resolver] table: schema, defaults and the sentences of the reference. Units: ms, octets. */
import { z } from 'zod';
import { duration, endpoint, network } from '../runtime/settings.ts';
import { FAILURE_TTL_MS_MAX, FAILURE_TTL_MS_MIN } from './cache/entry.ts';
import { parseRdata, parseType } from './local-data.ts';
import { upstreamAddress } from './upstream/address.ts';
import { BUDGET_PACKETS_MIN } from './upstream/token-bucket.ts';
import { typeNumber } from './wire/constants.ts';
import { textToName } from './wire/names.ts';

export const RESOLVER_PORT = 5335;
export const RESOLVER_ADMIN_PORT = 8053;
const TLS_PORT = 853;
const HTTPS_PORT = 443;

/** Packets per second; 0 is no bound. */
const packets = () =>
  z
    .int()
    .min(0)
    .refine((value) => value === 0 || value >= BUDGET_PACKETS_MIN, {
      error: ({ input }) =>
        `${input} is too small; write 0 for no bound, or ${BUDGET_PACKETS_MIN} packets per second or more`,
    });

const selection = () =>
  z
    .enum(['ordered', 'fastest'])
    .default('ordered')
    .describe(
      'ordered: the first upstream that answers, as written. fastest: by round trip and success, one question in twenty elsewhere.',
    );

/** A domain name; yields it as written and on the wire. */
const zoneName = () =>
  z.string().transform((text, context) => {
    const name = textToName(text);
    if (typeof name !== 'number') return { text, name };
    context.addIssue(`"${text}" is not a domain name; write for example "corp.example"`);
    return z.NEVER;
  });

/** One record of our own. */
const localSchema = z
  .strictObject({ name: zoneName(), type: z.string(), data: z.string() })
  .transform(({ name, type: typeText, data }, context) => {
    const type = parseType(typeText);
    const rdata = typeof type === 'string' ? type : parseRdata(type, data);
    if (typeof type === 'number' && typeof rdata !== 'string')
      return { name: name.name, type, rdata };
    context.addIssue(`local record of "${name.text}": ${rdata}`);
    return z.NEVER;
  });

const forwardSchema = z.strictObject({
  zone: zoneName(),
  upstreams: z.array(upstreamAddress()).min(1),
  budget: packets().optional(),
  selection: selection(),
  spill: z.array(upstreamAddress()).default([]),
  spill_budget: packets().default(0),
});

const clientsSchema = z.strictObject({
  networks: z.array(network()).min(1),
  deadline: duration('4s').refine((ms) => ms >= DEADLINE_MS_MIN, 'is too short; 100 ms at least'),
});
const DEADLINE_MS_MIN = 100;

const ttlSchema = z
  .strictObject({ type: z.string(), min_ttl: duration('0'), max_ttl: duration('1d') })
  .transform(({ type: text, min_ttl: minTtlMs, max_ttl: maxTtlMs }, context) => {
    const type = typeNumber(text);
    if (type !== null && minTtlMs <= maxTtlMs) return { type, minTtlMs, maxTtlMs };
    context.addIssue(type === null ? `"${text}" is not a type` : 'min_ttl exceeds max_ttl');
    return z.NEVER;
  });

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
    types: z
      .array(ttlSchema)
      .max(256)
      .default([])
      .describe(
        'Other bounds for answers of a type: `type`, `min_ttl`, `max_ttl`, for example `{ type = "MX", min_ttl = "5m" }`.',
      ),
    prefetch: z
      .int()
      .min(0)
      .max(255)
      .default(0)
      .describe(
        'Answers asked for this often, and again in the last tenth of their life, are renewed before it ends, in the last lane of the budget; 0 is never.',
      ),
    nxdomain_cut: z
      .boolean()
      .default(false)
      .describe(
        'A name that does not exist has nothing below it (RFC 8020): what is asked there is answered from the denial, while that is fresh. Never across the boundary of a zone of `resolver.forward`, and never against what was true lately.',
      ),
    failure_ttl: duration('5s').describe(
      'Resolution failures are remembered this long, 1 s to 5 min (RFC 9520 §3.2).',
    ),
  })
  .prefault({});

const dnsblSchema = z
  .strictObject({
    zones: z
      .array(zoneName())
      .max(256)
      .default([])
      .describe(
        'DNS block lists that are asked through us, such as "zen.spamhaus.org": each has its own part of the cache, a lane behind mail lookups, and error codes (127.255.255.0/24) that become SERVFAIL, never a listing (RFC 5782).',
      ),
    bytes: z
      .int()
      .min(1_048_576)
      .default(16_777_216)
      .describe('Cache of all block lists, beside that of `resolver.cache`.'),
    in_flight: z
      .int()
      .min(1)
      .max(65_536)
      .default(1024)
      .describe('Questions to block lists under way at once; more get SERVFAIL.'),
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
      .array(upstreamAddress())
      .default([])
      .describe(
        'Servers to forward to, in order of preference: `"192.0.2.53:53"`, `"tcp://192.0.2.53"`, `"tls://192.0.2.53#NAME"`, `"https://NAME/dns-query#192.0.2.53"`. Default: those of /etc/resolv.conf.',
      ),
    selection: selection(),
    spill: z
      .array(upstreamAddress())
      .default([])
      .describe('Servers for what the budget leaves no time to wait for; none: SERVFAIL.'),
    spill_budget: packets().default(0).describe('Packets per second to those; 0 is no bound.'),
    forward: z
      .array(forwardSchema)
      .max(1_000)
      .default([])
      .describe(
        'Zones with upstreams of their own: `zone`, `upstreams`, and optionally `budget` (default: what they cost counts against `resolver.budget`), `selection`, `spill`, `spill_budget`. The longest zone that matches counts.',
      ),
    tls_ca: z
      .string()
      .default('')
      .describe(
        'PEM file of authorities to trust for TLS and HTTPS upstreams; "": the usual ones.',
      ),
    mix_case: z
      .boolean()
      .default(true)
      .describe('Questions over UDP go out in random case, which answers must repeat (0x20).'),
    cookies: z.boolean().default(true).describe('DNS cookies to upstreams (RFC 7873).'),
    hedge: z
      .boolean()
      .default(true)
      .describe(
        'A second upstream is asked when the first is slower than 95 of 100 times, as far as the budget has room.',
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
        if (budget === 0 || budget === 'auto' || budget >= BUDGET_PACKETS_MIN) return budget;
        context.addIssue(
          `${budget} is too small; write 0 for no bound, or ${BUDGET_PACKETS_MIN} packets per second or more`,
        );
        return z.NEVER;
      })
      .describe(
        `Packets per second to upstreams, ${BUDGET_PACKETS_MIN} or more; retransmissions and TCP segments (as estimated) count. 0 is no bound. "auto" finds the limit of this machine by itself.`,
      ),
    upstream_budget: packets()
      .default(0)
      .describe('The same for each upstream alone; 0 is no bound.'),
    fronts: z
      .int()
      .min(0)
      .max(64)
      .default(1)
      .describe('Batched UDP workers; 0 is the portable listener.'),
    stale: duration('3d').describe(
      'How long past expiry an answer may serve; "0" is never (RFC 8767).',
    ),
    stale_after: duration('1800ms').describe(
      'Who could have a stale answer waits this long for a fresh one (RFC 8767 §5).',
    ),
    stale_recheck: duration('30s')
      .refine(
        (ms) => ms >= FAILURE_TTL_MS_MIN && ms <= FAILURE_TTL_MS_MAX,
        'is not within 1 s and 5 min',
      )
      .describe(
        'Who could have a stale answer gets it at once for so long after a failure, and only then is it tried again (failure recheck timer, RFC 8767 §5).',
      ),
    stale_ttl: duration('30s').describe('TTL that stale answers bear (RFC 8767 §4).'),
    snapshot: z
      .string()
      .default('')
      .describe('File that keeps the cache across restarts; "" is none.'),
    snapshot_every: duration('5m')
      .refine((ms) => ms >= 1_000, 'is too short; 1 s at least')
      .describe('Time between two saves of it; it is saved on stop, too.'),
    deadline: duration('4s').describe(
      'Every query is answered within this, with SERVFAIL if need be. Below the 5 s of glibc and Postfix.',
    ),
    clients: z
      .array(clientsSchema)
      .max(100)
      .default([])
      .describe(
        'Clients that give up earlier or later: `networks` and their `deadline`, for example "900ms" for an rspamd. The first that matches counts.',
      ),
    listen_tls: z
      .array(endpoint(TLS_PORT))
      .default([])
      .describe(
        'Addresses that answer DNS over TLS (RFC 7858); `tls_certificate` and `tls_key` are needed.',
      ),
    listen_https: z
      .array(endpoint(HTTPS_PORT))
      .default([])
      .describe('Addresses that answer DNS over HTTPS, HTTP/2 at /dns-query (RFC 8484).'),
    tls_certificate: z
      .string()
      .default('')
      .describe(
        'PEM file of the certificate, intermediates included, for `listen_tls` and `listen_https`.',
      ),
    tls_key: z.string().default('').describe('PEM file of its private key.'),
    tcp_clients_each: z
      .int()
      .min(1)
      .max(10_000)
      .default(32)
      .describe('TCP connections of one address at once; this machine itself may use them all.'),
    local: z
      .array(localSchema)
      .max(100_000)
      .default([])
      .describe(
        'Records that are answered here: `name`, `type`, `data`. A name has these and no others. A, AAAA, MX, PTR and TXT as in a zone file, other types as octets (RFC 3597).',
      ),
    local_ttl: duration('5m').describe('TTL of local records.'),
    hosts: z
      .string()
      .default('')
      .describe(
        'File such as /etc/hosts, whose names and addresses are answered here; "" is none.',
      ),
    block: z
      .array(zoneName())
      .max(100_000)
      .default([])
      .describe('Names that do not exist, nor anything below them.'),
    private_reverse: z
      .enum(['forward', 'local'])
      .default('forward')
      .describe(
        'Reverse zones of private networks. forward: the upstream knows them, as in a cloud. local: there is nothing in them (RFC 6303).',
      ),
    cookie_secrets: z
      .array(z.string().regex(/^[0-9a-f]{32}$/i, 'is not 32 hexadecimal digits'))
      .max(4)
      .default([])
      .describe(
        'Secrets of server cookies (RFC 9018), 32 hexadecimal digits each: the first makes them, all are known. Default: a new one at each start.',
      ),
    require_cookies: z
      .boolean()
      .default(false)
      .describe(
        'Clients on other machines must bring our cookie over UDP: with another they get BADCOOKIE, without any TC. The portable listener then serves UDP.',
      ),
    identity: z
      .string()
      .max(255)
      .default('')
      .describe(
        'Told to who asks by NSID (RFC 5001), or for id.server or hostname.bind in class CHAOS; "": REFUSED.',
      ),
    version: z
      .string()
      .max(255)
      .default('')
      .describe('Told to who asks for version.server or version.bind; "": REFUSED.'),
    rate_limit: z
      .int()
      .min(0)
      .default(0)
      .describe(
        'Queries per second of one client, bursts of twice that; 0 is no limit. This machine itself is never limited. With a limit the portable listener serves UDP.',
      ),
    rate_limit_answer: z
      .enum(['truncate', 'refuse', 'drop'])
      .default('truncate')
      .describe(
        'What a client over its limit gets over UDP. truncate: TC, so that a real one comes again over TCP. Over other transports it gets REFUSED.',
      ),
    tcp_clients: z.int().min(1).max(10_000).default(256).describe('TCP connections at once.'),
    in_flight: z
      .int()
      .min(16)
      .max(65_536)
      .default(8192)
      .describe('Distinct questions under way at upstreams at once; more get SERVFAIL.'),
    bundles: z
      .enum(['off', 'on', 'again'])
      .default('again')
      .describe(
        'What a delivery asks after the MX is fetched ahead: for every domain ("on"), or only what is asked again after it has expired ("again"). Kinds that clients do not use are not fetched.',
      ),
    ipv6: z
      .boolean()
      .default(true)
      .describe('false answers AAAA with NODATA here: for hosts that cannot send over IPv6.'),
    bounce_guard: z
      .boolean()
      .default(true)
      .describe(
        'A denial that contradicts what was true lately is confirmed at another upstream, or over TCP, before it is served.',
      ),
    uncap: duration('0').describe(
      'How long an MX or NS set that keeps coming back unchanged is kept at most, where an upstream is seen to cut all TTLs (AWS: 300 s); "0" is what the upstream says.',
    ),
    query_log: z
      .int()
      .min(0)
      .default(0)
      .describe(
        'One query in so many is written to the log, at most 100 a second; 0 is none. What fronts answer is not among them.',
      ),
    dnsbl: dnsblSchema,
    cache: cacheSchema,
  })
  .prefault({});

export type ResolverConfig = z.output<typeof resolverSchema>;
