/** The [mta] table: schema, defaults and the sentences of the reference. Units: ms, octets. */
import { z } from 'zod';
import { duration, endpoint, network } from '../runtime/settings.ts';
import { LABEL } from './envelope.ts';
import { looksHashed, parseScrypt } from './intake/scrypt.ts';
import { shapingSchema } from './plan/shaping-schema.ts';
import { EVENT_NAMES } from './report/events.ts';
import { feedbackSchema, suppressionSchema, tlsrptSchema } from './report/settings.ts';
import { domainName, selectorName } from './sign/names.ts';

/** How an API key stands in the configuration. */
export const KEY_DIGEST = /^sha256:[0-9a-f]{64}$/;
export const MTA_SMTP_PORT = 2525;
export const MTA_HTTP_PORT = 8025;
const MTA_SOCKETMAP_PORT = 8027;
const RESOLVER_PORT = 5335;

/** Seconds to days, with the first retries soon enough for greylisting (RFC 5321 §4.5.4.1 asks for 30 min after that). */
const RETRY_DEFAULT = ['1m', '5m', '15m', '30m', '1h', '2h', '4h'] as const;

const deliverySchema = z
  .strictObject({
    suspended: z
      .boolean()
      .default(false)
      .describe('Start with delivery suspended: mail is taken and kept until it is resumed.'),
    port: z
      .int()
      .min(1)
      .max(65_535)
      .default(25)
      .describe('Port of remote MX hosts; tests change it.'),
    tls: z
      .enum(['opportunistic', 'require', 'verify', 'none'])
      .default('opportunistic')
      .describe(
        'opportunistic: STARTTLS where offered, any certificate. require: no TLS, no delivery. verify: and the certificate must match the MX host. none: never.',
      ),
    tls_ca: z
      .string()
      .default('')
      .describe('PEM file of authorities to trust besides the built-in ones.'),
    dane: z
      .boolean()
      .default(true)
      .describe(
        'Hold MX hosts to their TLSA records (DANE, RFC 7672) where the resolver vouches for MX, addresses and TLSA (AD). Costs a lookup per host of signed domains.',
      ),
    mta_sts: z
      .boolean()
      .default(false)
      .describe(
        'Honour MTA-STS (RFC 8461): hosts of a domain with an enforced policy must be named by it and prove their names. Costs a TXT lookup per domain and hour, and an HTTPS request where there is a policy. Policies are kept in mta-sts.json beside the spool.',
      ),
    mta_sts_port: z
      .int()
      .min(1)
      .max(65_535)
      .default(443)
      .describe('Port of policy hosts; tests change it.'),
    connections: z.int().min(1).max(1000).default(20).describe('Connections to one site at once.'),
    connections_total: z
      .int()
      .min(1)
      .max(50_000)
      .default(2000)
      .describe('Connections at once, all sites.'),
    messages_per_connection: z
      .int()
      .min(1)
      .default(1000)
      .describe('After so many messages a connection is closed.'),
    recipients_per_message: z
      .int()
      .min(1)
      .max(1000)
      .default(100)
      .describe('RCPT commands in one mail transaction (RFC 5321 §4.5.3.1.8 asks for 100).'),
    connection_age: duration('5m').describe(
      'After so long a connection is closed, so that a slow host cannot collect them all.',
    ),
    idle: duration('20s').describe('How long an idle connection is kept for reuse.'),
    connect_timeout: duration('30s').describe('TCP connect.'),
    command_timeout: duration('5m').describe(
      'Replies to greeting, EHLO, MAIL and RCPT (RFC 5321 §4.5.3.2).',
    ),
    final_timeout: duration('10m').describe('Reply to the final dot (RFC 5321 §4.5.3.2.6).'),
  })
  .prefault({});

/** Yields the name as the signer spells it. */
const dnsName = (what: string, example: string, read: (text: string) => string | null) =>
  z.string().transform((text, context) => {
    const name = read(text);
    if (name !== null) return name;
    context.addIssue(`"${text}" is no ${what}; write for example "${example}"`);
    return z.NEVER;
  });

const dkimSchema = z.strictObject({
  domain: dnsName('domain', 'example.com', domainName),
  selector: dnsName('selector', 'mail1', selectorName),
  key: z.string().min(1),
  canonicalization: z
    .enum(['relaxed/relaxed', 'relaxed/simple', 'simple/relaxed', 'simple/simple'])
    .default('relaxed/relaxed'),
});

const webhookSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }),
  secret: z.string().min(16, 'has at least 16 characters'),
  events: z.array(z.enum(EVENT_NAMES)).optional(),
});

/** A scrypt hash is recognised by its beginning; all else is the password itself. */
const password = z
  .string()
  .refine(
    (text) => !looksHashed(text) || parseScrypt(text) !== null,
    'begins like a scrypt hash and is none; make one with "postilion password"',
  );

const label = z.string().regex(LABEL, 'is no name of a tenant');

const userSchema = password.or(z.strictObject({ password, tenant: label.optional() }));

const tenantSchema = z.strictObject({
  rate: z.int().min(0).max(1_000_000).optional(),
  recipients: z.int().min(1).max(100_000).optional(),
});

export const mtaSchema = z
  .strictObject({
    smtp: z
      .array(endpoint(MTA_SMTP_PORT))
      .prefault([`127.0.0.1:${MTA_SMTP_PORT}`])
      .describe('Addresses that take mail by SMTP.'),
    http: endpoint(MTA_HTTP_PORT)
      .prefault(`127.0.0.1:${MTA_HTTP_PORT}`)
      .describe('HTTP: injection API, /metrics, /healthz, /readyz, dashboard.'),
    socketmap: z
      .literal('')
      .or(endpoint(MTA_SOCKETMAP_PORT))
      .default('')
      .describe(
        'Where Postfix may look up its transport_maps ("socketmap:inet:127.0.0.1:8027:route"), so that domains with the same MX hosts share a queue and connections; "" is nowhere. Clients must be in `allow`.',
      ),
    spool: z.string().min(1).default('./spool').describe('Folder of the queue.'),
    dns: endpoint(RESOLVER_PORT)
      .prefault(`127.0.0.1:${RESOLVER_PORT}`)
      .describe('The resolver to ask, over UDP and TCP.'),
    hostname: z
      .string()
      .default('')
      .describe('Name for EHLO, Received and Message-ID. Default: that of the system.'),
    allow: z
      .array(network())
      .prefault(['127.0.0.0/8', '::1'])
      .describe('SMTP and HTTP clients that may inject without authentication.'),
    users: z
      .record(z.string(), userSchema)
      .default({})
      .describe(
        'Users who may inject with AUTH PLAIN or LOGIN (over TLS or from this machine) or HTTP Basic: name = "$scrypt$…" as `postilion password` prints it, or the password itself; or a table with `password` and `tenant`. Their mail is of that tenant; by default of the one that has their name.',
      ),
    keys: z
      .record(z.string(), z.string().regex(KEY_DIGEST, 'is not "sha256:" and 64 hex digits'))
      .default({})
      .describe(
        'API keys of HTTP clients: name = "sha256:…", the digest of the key (`printf %s "$KEY" | sha256sum`). Mail under a key is of the tenant of that name.',
      ),
    key_rate: z
      .int()
      .min(0)
      .max(1_000_000)
      .default(0)
      .describe(
        'Recipients a second that the keys and users of one tenant may name; beyond it clients get 429 or 450. 0: any.',
      ),
    tenants: z
      .record(z.string().regex(LABEL, 'is no name of a tenant'), tenantSchema)
      .default({})
      .describe(
        'Bounds of single tenants, such as [mta.tenants.acme]: `rate` in place of key_rate, and `recipients` of one message, where that is less than mta.recipients. They hold for mail under keys and users.',
      ),
    idempotency_age: duration('1d').describe(
      'So long a repeated Idempotency-Key yields the message of the first time, not another.',
    ),
    tls_certificate: z
      .string()
      .default('')
      .describe('PEM file; with tls_key, offers STARTTLS to SMTP clients.'),
    tls_key: z.string().default('').describe('PEM file of the private key.'),
    message_bytes: z
      .int()
      .min(1024)
      .max(1_073_741_824)
      .default(26_214_400)
      .describe('Largest message taken (SIZE).'),
    recipients: z
      .int()
      .min(1)
      .max(100_000)
      .default(1000)
      .describe('Recipients of one message at most.'),
    smtp_clients: z.int().min(1).max(10_000).default(500).describe('SMTP connections at once.'),
    smtp_clients_per_address: z
      .int()
      .min(1)
      .max(10_000)
      .default(50)
      .describe(
        'SMTP connections at once from one address outside `allow`; for IPv6, from one /64 network.',
      ),
    smtp_trusted: z
      .array(network())
      .default([])
      .describe('SMTP clients that may speak for others with XCLIENT, such as a filter in front.'),
    tls_timeout: duration('20s').describe('TLS handshake of an SMTP client.'),
    intake_bytes: z
      .int()
      .min(1_048_576)
      .default(268_435_456)
      .describe(
        'Content held in memory while it is being taken; beyond it clients get 452 or 503.',
      ),
    queue_recipients: z
      .int()
      .min(1)
      .max(100_000_000)
      .default(10_000_000)
      .describe(
        'Recipients that may wait in the spool; intake slows from four fifths of it on, and beyond it clients get 452 or 503.',
      ),
    durability: z
      .enum(['fsync', 'asked', 'memory'])
      .default('fsync')
      .describe(
        'When mail is acknowledged. fsync: once it would survive loss of power, also where a client asks for less, and the answer says so. asked: likewise, save where an HTTP client asks for memory. memory: once it is written, SMTP included, save where a client asks for fsync; such mail survives a crash of the mta, but not one of the machine within the next moment.',
      ),
    spool_reserve: z
      .int()
      .min(0)
      .default(67_108_864)
      .describe(
        'Disk space kept free: below it no message is taken, so that the queue can still be worked off.',
      ),
    retry: z
      .array(duration('1m'))
      .min(1)
      .prefault([...RETRY_DEFAULT])
      .describe(
        'Waits after the first, second, … failed attempt; the last one repeats. Each is varied by a tenth.',
      ),
    delay_warning: duration('0').describe(
      'A sender is told once that mail is late when it is so old; "0" tells only those who asked with NOTIFY=DELAY, after four hours.',
    ),
    double_bounce: z
      .string()
      .default('')
      .describe('Address that gets bounces which cannot be returned; "" drops them.'),
    max_age: duration('5d').describe('After so long a message is returned (RFC 5321 §4.5.4.1).'),
    events: z
      .string()
      .default('')
      .describe(
        'File that gets one JSON line per reception, delivery, deferral, bounce and expiry, and for what comes back: bounce-report, feedback, unrecognised, suppression; "" is none.',
      ),
    events_bytes: z
      .int()
      .min(0)
      .default(104_857_600)
      .describe('The file of events is rotated when it has grown to this; 0: never.'),
    events_files: z
      .int()
      .min(1)
      .max(1000)
      .default(10)
      .describe('Files of events kept: `events` itself, then `.1`, `.2`, … the oldest last.'),
    webhooks: z
      .record(
        z.string().regex(/^[a-z0-9_-]{1,64}$/, 'is lower-case letters, digits, hyphens and _'),
        webhookSchema,
      )
      .default({})
      .describe(
        'HTTP endpoints that get events as JSON arrays, such as [mta.webhooks.crm] with url, secret and, for some alone, events = ["bounce"]. Each request is signed with the secret, in order, and sent until it is answered 2xx.',
      ),
    webhook_bytes: z
      .int()
      .min(1_048_576)
      .default(1_073_741_824)
      .describe(
        'Events kept on disk for one endpoint that is away; intake slows from four fifths of it on, and beyond it clients get 452 or 503, so that none is lost.',
      ),
    dkim: z
      .array(dkimSchema)
      .default([])
      .describe(
        'Keys that sign mail (DKIM): `domain` (d=; signs mail whose From is in it or below it), `selector`, `key` (PEM file: RSA of 1024 bits or more, or Ed25519), and optionally `canonicalization` of header and body (default: "relaxed/relaxed"). Several keys of one domain make several signatures.',
      ),
    dkim_folder: z
      .string()
      .default('')
      .describe(
        'Folder of further keys, DOMAIN/SELECTOR.pem; "" is none. Changes are in use within seconds.',
      ),
    dkim_threads: z
      .int()
      .min(1)
      .max(32)
      .default(1)
      .describe('Threads that sign. One makes 3,000 signatures a second with RSA of 2048 bits.'),
    drain: duration('20s').describe('On SIGTERM, transactions under way get so long to finish.'),
    delivery: deliverySchema,
    shaping: shapingSchema,
    tlsrpt: tlsrptSchema,
    feedback: feedbackSchema,
    suppression: suppressionSchema,
  })
  .prefault({});

/** General limits, by the name that [mta.shaping] has for them → where they are set in general. */
export const GENERAL_LIMITS = {
  connections: ['delivery', 'connections'],
  messages_per_connection: ['delivery', 'messages_per_connection'],
  recipients_per_message: ['delivery', 'recipients_per_message'],
  tls: ['delivery', 'tls'],
  retry: ['retry'],
} as const;

export type MtaConfig = z.output<typeof mtaSchema> & {
  /** Of GENERAL_LIMITS, those that the operator wrote; the others are defaults. Absent: none. */
  readonly written?: ReadonlySet<string>;
};
export type DeliveryConfig = MtaConfig['delivery'];
