/** What a supervisor and its children say to each other over the fork's channel. */
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

/** To the child, once: the configuration never stands in a command line or the environment. */
export const startSchema = z.strictObject({
  kind: z.literal('start'),
  raw: z.record(z.string(), z.unknown()),
  /** Bound for the child, which has inherited them. */
  sockets: z
    .array(
      z.strictObject({
        fd: z.int().min(3),
        protocol: z.enum(['udp', 'tcp']),
        endpoint: z.strictObject({ address: z.string(), port: z.int() }),
      }),
    )
    .readonly()
    .optional(),
  /** How to read the configuration again. */
  request: z
    .strictObject({
      file: z.string().nullable(),
      role: z.enum(['up', 'resolver', 'mta']),
      overrides: z
        .array(
          z.strictObject({
            flag: z.string(),
            path: z.array(z.string()).readonly(),
            value: z.unknown(),
          }),
        )
        .readonly(),
    })
    .optional(),
});
export type Start = z.infer<typeof startSchema>;

/** From the child. After 'failed' it exits by itself. */
export const reportSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('ready'),
    addresses: z.strictObject({
      dns: z.array(z.string()).readonly(),
      smtp: z.array(z.string()).readonly(),
      http: z.string(),
    }),
  }),
  z.strictObject({ kind: z.literal('failed'), message: z.string() }),
]);
export type Report = z.infer<typeof reportSchema>;
