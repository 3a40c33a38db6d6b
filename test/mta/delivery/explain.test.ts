/** Why mail waits while the spool cannot record what became of it. */
import { describe, expect, test } from 'vitest';
import { explain, type Standing } from '../../../mta/delivery/explain.ts';
import { Suspensions } from '../../../mta/delivery/suspensions.ts';
import { remedyOf } from '../../../mta/remedies.ts';
import type { QueuedRecipient } from '../../../mta/spool/spool.ts';

const NOW_MS = 1_800_000_000_000;
const TROUBLE = { code: 'full', text: 'no space left on the disk', sinceMs: NOW_MS - 5_000 };

const recipient = (leased: boolean): QueuedRecipient =>
  ({
    message: 1,
    index: 0,
    address: 'a@x.example',
    domain: 'x.example',
    tenant: '',
    campaign: '',
    leased,
    dueMs: NOW_MS - 60_000,
    reason: { code: 'new', text: 'not tried yet', sinceMs: NOW_MS - 60_000 },
  }) as unknown as QueuedRecipient;

const standing = (more: Partial<Standing>): Standing =>
  ({
    nowMs: NOW_MS,
    sites: [],
    domains: { siteOf: () => undefined, waitOf: () => undefined },
    suspensions: new Suspensions(null),
    suspendedAtMs: null,
    spoolTrouble: TROUBLE,
    saturated: false,
    owed: () => false,
    ...more,
  }) as unknown as Standing;

describe('a spool in trouble', () => {
  test.each([
    {
      what: 'the outcome of what was handed over',
      leased: true,
      more: { owed: (message: number) => message === 1 },
      text: 'its outcome waits to be recorded: no space left on the disk',
    },
    {
      what: 'so many outcomes that nothing more is taken up',
      leased: false,
      more: { saturated: true },
      text: 'no space left on the disk',
    },
  ])('keeps $what', ({ leased, more, text }) => {
    const wait = explain(recipient(leased), standing(more));
    expect(wait).toEqual({ on: 'spool', text, sinceMs: TROUBLE.sinceMs, untilMs: null });
    expect(remedyOf(wait, 'new')).toMatch(/^a spool that can record outcomes again/);
  });

  test.each([
    ['what is still being handed over', true, 'delivering'],
    ['what waits for its turn', false, 'route'],
  ])('is not why %s waits', (_what, leased, on) => {
    expect(explain(recipient(leased), standing({})).on).toBe(on);
  });
});
