/** The [mta.shaping] table: limits for providers, sites and domains, over the defaults in [mta.delivery]. */
import { z } from 'zod';
import { parseDuration } from '../../runtime/settings.ts';

/** Longest list of retry waits. */
const WAITS_MAX = 100;

const wait = z.string().transform((text, context) => {
  const milliseconds = parseDuration(text);
  if (milliseconds !== null) return milliseconds;
  context.addIssue(`"${text}" is not a duration; write for example "5m"`);
  return z.NEVER;
});

/** What may be said at any level; what is left out is the next more general level's to say. */
const limits = {
  connections: z.int().min(1).max(1000).optional(),
  messages_per_connection: z.int().min(1).optional(),
  messages_per_second: z.number().min(0).max(1_000_000).optional(),
  recipients_per_message: z.int().min(1).max(1000).optional(),
  tls: z.enum(['opportunistic', 'require', 'verify', 'none']).optional(),
  retry: z.array(wait).min(1).max(WAITS_MAX).optional(),
};

export const limitsSchema = z.strictObject(limits);
export const providerSchema = z.strictObject({
  ...limits,
  /** MX hosts: "mx.example.net", or "*.example.net" for every name below. */
  mx: z.array(z.string().min(1)).default([]),
});

export const shapingSchema = z
  .strictObject({
    community: z
      .boolean()
      .default(true)
      .describe(
        'Begin with the limits for large providers that come with Postilion. What you write outranks them, also [mta.delivery] and mta.retry; `postilion route DOMAIN` says which limit holds and who set it.',
      ),
    provider: z
      .record(z.string(), providerSchema)
      .default({})
      .describe(
        'Limits that all sites of a provider share, such as [mta.shaping.provider.google]; "mx" lists its MX hosts, "*.google.com" for all names below.',
      ),
    site: z
      .record(z.string(), limitsSchema)
      .default({})
      .describe(
        'Limits of each site that has this MX host, such as [mta.shaping.site."mx.example.net"].',
      ),
    domain: z
      .record(z.string(), limitsSchema)
      .default({})
      .describe(
        'Limits of mail for one domain: connections, messages_per_connection, messages_per_second, recipients_per_message, tls, retry. The most specific level that sets one wins, message by message.',
      ),
  })
  .prefault({});

export type ShapingConfig = z.output<typeof shapingSchema>;
export type LimitsConfig = z.output<typeof limitsSchema>;
export type ProviderConfig = z.output<typeof providerSchema>;
