/** HTTP of the list of addresses that get no mail. Tenant "" is all of them. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { LABEL } from '../../mta/envelope.ts';
import { parseMailbox } from '../../mta/intake/address.ts';
import type { RunningMta, Suppressed, SuppressionBook } from '../../mta/running.ts';
import { AdminError, validated } from './server.ts';

export const PAGE_MAX = 1_000;
/** Addresses of one request, and the octets that they fit in. */
export const BULK_MAX = 1_000;
const BULK_OCTETS_MAX = 524_288;
const NOTE_LENGTH_MAX = 200;

const addressSchema = z.string().transform((text, context) => {
  const mailbox = parseMailbox(text.normalize());
  if (mailbox.fault === null) return mailbox.address.toLowerCase();
  context.addIssue(mailbox.text);
  return z.NEVER;
});
const tenantName = z.literal('').or(z.string().regex(LABEL, 'not a name of a tenant'));
const tenantSchema = tenantName.default('');
const noteSchema = z
  .string()
  .max(NOTE_LENGTH_MAX)
  .regex(/^\P{Cc}*$/u, 'holds a control character')
  .default('');

const paramsSchema = z.strictObject({ address: addressSchema });
const listSchema = z.strictObject({
  tenant: tenantName.optional(),
  after: z.string().max(320).optional(),
  after_tenant: z.string().max(64).default(''),
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(100),
});
const putSchema = z.strictObject({ tenant: tenantSchema, note: noteSchema });
const bulkSchema = putSchema.extend({ addresses: z.array(addressSchema).min(1).max(BULK_MAX) });
const removeSchema = z.strictObject({ tenant: tenantSchema });

export interface SuppressionPage {
  readonly suppressions: readonly Suppressed[];
  /** Pass it as `after` and `after_tenant` for the next page; null when this is the last. */
  readonly next: { readonly after: string; readonly after_tenant: string } | null;
  /** Of the whole list. */
  readonly entries: number;
}

export function addSuppressionRoutes(scope: FastifyInstance, mta: RunningMta): void {
  scope.get('/v1/suppressions', async ({ query }) => {
    const { tenant, after, after_tenant: last, limit } = validated(listSchema, query);
    const book = bookOf(mta);
    const from = after === undefined ? null : { address: after, tenant: last };
    const suppressions = book.page(from, limit, tenant ?? null);
    const end = suppressions.length < limit ? undefined : suppressions.at(-1);
    const next = end === undefined ? null : { after: end.address, after_tenant: end.tenant };
    return { suppressions, next, entries: book.size } satisfies SuppressionPage;
  });
  scope.get('/v1/suppressions/:address', async ({ params }) => {
    const suppressions = bookOf(mta).of(validated(paramsSchema, params).address);
    if (suppressions.length > 0) return { suppressions };
    throw unknown();
  });
  scope.put('/v1/suppressions/:address', async ({ params, body }) => {
    const { address } = validated(paramsSchema, params);
    const { tenant, note } = validated(putSchema, body ?? {});
    const book = bookOf(mta);
    await put(book, { address, tenant, note });
    return { suppressions: book.of(address) };
  });
  scope.post('/v1/suppressions', { bodyLimit: BULK_OCTETS_MAX }, async ({ body }) => {
    const { addresses, tenant, note } = validated(bulkSchema, body ?? {});
    const book = bookOf(mta);
    await Promise.all(addresses.map((address) => put(book, { address, tenant, note })));
    return { added: addresses.length, entries: book.size };
  });
  scope.delete('/v1/suppressions/:address', async ({ params, query }) => {
    const { address } = validated(paramsSchema, params);
    const { tenant } = validated(removeSchema, query);
    if (await kept(bookOf(mta).remove(address, tenant))) return { removed: true };
    throw unknown();
  });
}

const unknown = (): AdminError =>
  new AdminError(404, 'ADMIN_NOT_SUPPRESSED', 'the address is not on the list');

function bookOf({ suppressions }: RunningMta): SuppressionBook {
  if (suppressions !== null) return suppressions;
  const text = 'no list is kept: mta.suppression.enabled is false';
  throw new AdminError(409, 'ADMIN_NO_SUPPRESSIONS', text);
}

async function put(
  book: SuppressionBook,
  { address, tenant, note }: Pick<Suppressed, 'address' | 'tenant' | 'note'>,
): Promise<void> {
  if (await kept(book.put({ address, tenant, note, cause: 'hand' }))) return;
  throw new AdminError(409, 'ADMIN_LIST_FULL', 'the list is full (mta.suppression.entries)');
}

/** @throws AdminError while the list cannot be written */
async function kept(change: Promise<boolean>): Promise<boolean> {
  try {
    return await change;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code !== 'MTA_LEDGER_UNAVAILABLE') throw error;
    throw new AdminError(503, 'ADMIN_LEDGER', 'the list cannot be written now; see the log');
  }
}
