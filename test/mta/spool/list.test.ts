import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RecipientKey } from '../../../mta/envelope.ts';
import type { CensusPage, QueuedRecipient, Spool } from '../../../mta/spool/spool.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { leaseOf, openAt, START_MS, submission } from './fixture.ts';

let folder: Folder;
let spool: Spool;
beforeAll(async () => {
  folder = await scratchFolder('spool');
  spool = await openAt(folder.path);
  await spool.append(submission(['1@b.example', '2@a.example', '3@b.example']));
  await spool.append(submission(['4@a.example'], { receivedAtMs: START_MS - 7 }));
  await spool.append(submission(['5@c.example']));
});
afterAll(async () => {
  await spool.close();
  await folder.remove();
});

/** Pages through a listing and returns the addresses, page by page. */
async function pages(one: Spool, domain: string | null, limit: number): Promise<string[][]> {
  const found: string[][] = [];
  let after: RecipientKey | null = null;
  for (;;) {
    const page: readonly QueuedRecipient[] = await one.list({ domain, after, limit });
    if (page.length === 0) return found;
    found.push(page.map(({ address }) => address));
    const { message, index } = page.at(-1)!;
    after = { message, index };
  }
}

describe('list', () => {
  test.each([
    {
      domain: null,
      limit: 2,
      expected: [['1@b.example', '2@a.example'], ['3@b.example', '4@a.example'], ['5@c.example']],
    },
    { domain: 'a.example', limit: 1, expected: [['2@a.example'], ['4@a.example']] },
    { domain: 'b.example', limit: 9, expected: [['1@b.example', '3@b.example']] },
    { domain: 'd.example', limit: 9, expected: [] },
  ])('pages of $limit of $domain', async ({ domain, limit, expected }) => {
    expect(await pages(spool, domain, limit)).toEqual(expected);
  });

  test('a long queue of one domain among others is found completely', async () => {
    const other = await scratchFolder('spool');
    const one = await openAt(other.path);
    const wanted: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      const addresses = Array.from(
        { length: 8000 },
        (_, i) => `${n}-${i}@${i % 2 === 0 ? 'long' : 'other'}.example`,
      );
      wanted.push(...addresses.filter((address) => address.endsWith('@long.example')));
      await one.append(submission(addresses));
    }
    expect(wanted.length).toBe(12_000);
    expect((await pages(one, 'long.example', 5000)).flat()).toEqual(wanted);
    await one.close();
    await other.remove();
  });
});

describe('domains', () => {
  test('are listed by name with what is due next', async () => {
    const all = [
      { domain: 'a.example', nextDueMs: START_MS - 7 },
      { domain: 'b.example', nextDueMs: START_MS },
      { domain: 'c.example', nextDueMs: START_MS },
    ];
    expect(await spool.domains(null, 10)).toEqual(all);
    expect(await spool.domains(null, 2)).toEqual(all.slice(0, 2));
    expect(await spool.domains('a.example', 2)).toEqual(all.slice(1));
    expect(await spool.domains('c.example', 2)).toEqual([]);
  });

  test('what is leased is not queued work', async () => {
    await spool.lease(leaseOf(['a.example'], { messagesMax: 1 }));
    expect(await spool.domains(null, 1)).toEqual([{ domain: 'a.example', nextDueMs: START_MS }]);
    await spool.lease(leaseOf(['a.example'], { messagesMax: 1 }));
    expect(await spool.domains(null, 1)).toEqual([{ domain: 'b.example', nextDueMs: START_MS }]);
  });
});

describe('census', () => {
  test.each([
    { rowsMax: 100, pages: [['a.example 2', 'b.example 2', 'c.example 1']] },
    { rowsMax: 2, pages: [['a.example 2+'], ['b.example 2+'], ['c.example 1']] },
    { rowsMax: 3, pages: [['a.example 2', 'b.example 2'], ['c.example 1']] },
  ])('of $rowsMax entries a page', async ({ rowsMax, pages: expected }) => {
    const found: string[][] = [];
    let after: string | null = null;
    do {
      const page: CensusPage = await spool.census({ after, rowsMax });
      found.push(
        page.domains.map((one) => `${one.domain} ${one.recipients}${one.isMore ? '+' : ''}`),
      );
      after = page.resume;
    } while (after !== null);
    expect(found).toEqual(expected);
  });

  test('of what is leased too, by the oldest message', async () => {
    const { domains } = await spool.census({ after: null, rowsMax: 100 });
    const [first] = await spool.list({ domain: null, after: null, limit: 1 });
    expect(domains.map(({ oldest }) => oldest === first!.message)).toEqual([true, true, false]);
  });
});
