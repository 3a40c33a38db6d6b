/** Owns the fields of the own API that say how a message is to be treated, in JSON and in a query alike. */

import { z } from 'zod';
import { DURABILITIES, LABEL, PRIORITIES } from '../envelope.ts';
import type { Caller } from './callers.ts';
import type { Intake, SubmissionOptions } from './intake.ts';
import { InjectionRefused } from './problems.ts';

const label = z
  .string()
  .regex(LABEL, 'is a letter or digit, then up to 63 letters, digits, dots, hyphens, _ or @');

export const optionFields = {
  priority: z.enum(PRIORITIES).optional(),
  tenant: label.optional(),
  campaign: label.optional(),
  /** RFC 3339 instant before which it is not tried. */
  send_at: z.string().optional(),
  durability: z.enum(DURABILITIES).optional(),
} as const;

export type OptionFields = {
  readonly [Field in keyof typeof optionFields]?: z.output<(typeof optionFields)[Field]>;
};

/** @throws InjectionRefused */
export function optionsOf(fields: OptionFields, caller: Caller, intake: Intake): SubmissionOptions {
  const { priority, campaign, durability, send_at: sendAt } = fields;
  return {
    ...(durability === undefined ? {} : { durability }),
    ...(priority === undefined ? {} : { priority }),
    ...tenantOption(caller, fields.tenant),
    ...(campaign === undefined ? {} : { campaign }),
    ...(sendAt === undefined ? {} : { notBeforeMs: instant(sendAt, 'send_at', intake) }),
  };
}

/** Keys and users are one tenant's: they speak for no other. Without one, '' is nobody in particular. */
function tenantOf(asked: string | undefined, { principal }: Caller): string {
  if (principal === null) return asked ?? '';
  if (asked === undefined || asked === principal.tenant) return principal.tenant;
  throw new InjectionRefused(403, 'forbidden', 'this key or user belongs to another tenant', {
    field: 'tenant',
  });
}

/** @throws InjectionRefused */
export function tenantOption(caller: Caller, asked?: string): { readonly tenant?: string } {
  const tenant = tenantOf(asked, caller);
  return tenant === '' ? {} : { tenant };
}

const INSTANT = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d)$/;

/**
 * @returns wall ms; what is past is now
 * @throws InjectionRefused when it is no RFC 3339 instant, or so late that the message would expire first
 */
export function instant(text: string, field: string, intake: Intake): number {
  const atMs = INSTANT.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(atMs)) {
    const wanted = 'is not an instant such as 2026-03-01T09:30:00+01:00';
    throw new InjectionRefused(400, 'invalid_field', `"${field}" ${wanted}`, { field });
  }
  const nowMs = intake.clock.wallMs();
  if (atMs < nowMs + intake.settings.max_age) return Math.max(atMs, nowMs);
  const late = 'is later than the message may wait (bound max_age)';
  throw new InjectionRefused(400, 'invalid_field', `"${field}" ${late}`, { field });
}
