/**
 * What a supervisor and its children say to each other over the fork's channel.
 *
 * The two may be of different versions: `postilion upgrade` starts children from what is on the disk by
 * then, under the supervisor that runs. So this only grows: what is not known is ignored, what is new is
 * optional, and nothing changes its meaning.
 *
 *   supervisor → child   start ───────────────► go ─────────► yield ────────► go (again) or SIGTERM
 *   child → supervisor         ◄── prepared, if a successor  ◄── ready       ◄── yielded
 */
import { z } from 'zod';

export const PROGRAMS = ['resolver', 'mta'] as const;
export type ProgramName = (typeof PROGRAMS)[number];

/** Where a program that is up can be reached; each "ADDRESS:PORT". */
export interface Addresses {
  readonly dns: readonly string[];
  readonly smtp: readonly string[];
  /** Admin HTTP of the resolver, or injection and admin HTTP of the mta. */
  readonly http: string;
}

const endpointSchema = z.object({ address: z.string(), port: z.int() });
const protocolSchema = z.enum(['udp', 'tcp']);

const requestSchema = z.object({
  file: z.string().nullable(),
  role: z.enum(['up', 'resolver', 'mta']),
  overrides: z
    .array(z.object({ flag: z.string(), path: z.array(z.string()).readonly(), value: z.unknown() }))
    .readonly(),
});

/** How far the last upgrade has come; a supervisor that has seen none says nothing. */
export const upgradeStatusSchema = z.object({
  /** 1 for the first since the supervisor started. */
  number: z.int(),
  /** The last three are ends. Refused: nothing was touched, since the new version did not get so far. */
  state: z.enum(['preparing', 'handing-over', 'probation', 'done', 'refused', 'rolled-back']),
  /** Versions, as package.json has them; the new one is null until it has told. */
  from: z.string(),
  to: z.string().nullable(),
  /** Why it was refused or rolled back, in sentences; null otherwise. */
  reason: z.string().nullable(),
  /** Wall milliseconds; null while it goes on. */
  startedAtMs: z.number(),
  endedAtMs: z.number().nullable(),
  /** How long the old mta took to finish, and the new one to open the spool; null until then. */
  finishMs: z.number().nullable(),
  openMs: z.number().nullable(),
});
export type UpgradeStatus = z.infer<typeof upgradeStatusSchema>;

export const orderSchema = z.discriminatedUnion('kind', [
  /** Once, first: the configuration never stands in a command line or the environment. */
  z.object({
    kind: z.literal('start'),
    raw: z.record(z.string(), z.unknown()),
    /** Bound for the child, which has inherited them and keeps them until it ends. */
    sockets: z
      .array(z.object({ fd: z.int().min(3), protocol: protocolSchema, endpoint: endpointSchema }))
      .readonly()
      .optional(),
    /** How to read the configuration again. */
    request: requestSchema.optional(),
    /** It is to take over from another: it loads what it needs, says so and waits for 'go'. */
    successor: z.boolean().optional(),
  }),
  /** Do your work, now or once more. */
  z.object({ kind: z.literal('go') }),
  /** Another is about to start: leave on the disk what it can use. */
  z.object({ kind: z.literal('save') }),
  /** Another has your work, or is to have it: finish what is under way, let go of everything, and wait. */
  z.object({ kind: z.literal('yield') }),
  /** For those who ask how an upgrade goes. */
  z.object({ kind: z.literal('upgrade-status'), status: upgradeStatusSchema }),
]);
export type Order = z.infer<typeof orderSchema>;
export type Start = Extract<Order, { kind: 'start' }>;

/** What the supervisor must know of a configuration; the version that will use it finds it out. */
export const planSchema = z.object({
  version: z.string(),
  raw: z.record(z.string(), z.unknown()),
  programs: z.record(
    z.enum(PROGRAMS),
    z.object({
      /** After SIGTERM it gets so long. */
      stopTimeoutMs: z.number(),
      sockets: z
        .array(
          z.object({
            protocol: protocolSchema,
            endpoint: endpointSchema,
            ipv6Only: z.boolean(),
            reusePort: z.boolean(),
          }),
        )
        .readonly(),
    }),
  ),
  upgrade: z.object({ readyTimeoutMs: z.number(), probationMs: z.number() }),
});
export type Plan = z.infer<typeof planSchema>;

/** From the child. After 'failed' it exits by itself. */
export const reportSchema = z.discriminatedUnion('kind', [
  /** What was asked for with the argument "plan" in place of a program's name. */
  z.object({ kind: z.literal('plan'), plan: planSchema }),
  z.object({ kind: z.literal('prepared') }),
  z.object({
    kind: z.literal('ready'),
    addresses: z.object({
      dns: z.array(z.string()).readonly(),
      smtp: z.array(z.string()).readonly(),
      http: z.string(),
    }),
  }),
  z.object({ kind: z.literal('saved') }),
  z.object({ kind: z.literal('yielded') }),
  z.object({ kind: z.literal('failed'), message: z.string() }),
  /** Somebody wants what is on the disk to be started in place of what runs. */
  z.object({ kind: z.literal('upgrade') }),
]);
export type Report = z.infer<typeof reportSchema>;
