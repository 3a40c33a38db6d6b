/** What requests to the mta's admin HTTP name: messages and mail domains. */
import { z } from 'zod';
import { parseId } from '../../mta/envelope.ts';
import { domainSchema } from './resolver.ts';

export const idSchema = z
  .string()
  .max(18)
  .transform((text, context) => {
    const id = parseId(text);
    if (id !== null) return id;
    context.addIssue(
      'not a message id; it has eleven characters, and perhaps ".N" for a recipient',
    );
    return z.NEVER;
  });

/** A name or an address literal, as recipients are routed by. */
export const mailDomainSchema = z
  .union([domainSchema, z.string().regex(/^\[(?:ipv6:)?[0-9a-f.:]+\]$/i)], 'not a domain')
  .transform((text) => text.toLowerCase().replace(/\.$/, ''));
