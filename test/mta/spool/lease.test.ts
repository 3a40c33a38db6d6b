import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Spool } from '../../../mta/spool/spool.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { addressesOf, leaseOf, openAt, START_MS, submission } from './fixture.ts';

let folder: Folder;
let spool: Spool;
beforeEach(async () => {
  folder = await scratchFolder('spool');
  spool = await openAt(folder.path);
});
afterEach(async () => {
  await spool.close();
  await folder.remove();
});

/** Appends one message to each address, in this order. */
async function fill(addresses: readonly string[]): Promise<number[]> {
  return Promise.all(addresses.map((address) => spool.append(submission([address]))));
}

const key = (message: number, index = 0) => ({ message, index });
const numbered = (domain: string, count: number) =>
  Array.from({ length: count }, (_, n) => `${n}@${domain}`);

describe('turns', () => {
  test('domains are served one message each, however long the queue of one', async () => {
    await fill([...numbered('big.example', 20), ...numbered('a.example', 2), '0@b.example']);
    const request = leaseOf(['big.example', 'a.example', 'b.example'], { messagesMax: 7 });
    expect(addressesOf((await spool.lease(request)).messages).flat()).toEqual([
      '0@big.example',
      '0@a.example',
      '0@b.example',
      '1@big.example',
      '1@a.example',
      '2@big.example',
      '3@big.example',
    ]);
  });

  test('a lease goes on with the domain whose turn it is', async () => {
    await fill(['a', 'b', 'c'].flatMap((name) => numbered(`${name}.example`, 3)));
    const request = leaseOf(['a.example', 'b.example', 'c.example'], { messagesMax: 2 });
    const served: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      served.push(...addressesOf((await spool.lease(request)).messages).flat());
    }
    expect(served).toEqual(
      [0, 1, 2].flatMap((n) => ['a', 'b', 'c'].map((name) => `${n}@${name}.example`)),
    );
  });
});

describe('bounds', () => {
  test('a lease ends before the message that would exceed bytesMax', async () => {
    const content = new Uint8Array(1000);
    for (let n = 0; n < 4; n += 1) {
      await spool.append(submission([`${n}@x.example`], { content }));
    }
    const request = leaseOf(['x.example'], { bytesMax: 2000 });
    expect((await spool.lease(request)).messages.length).toBe(2);
    const rest = await spool.lease({ ...request, bytesMax: 1 });
    expect(addressesOf(rest.messages)).toEqual([['2@x.example']]);
    expect(rest.nextDueMs.get('x.example')).toBe(START_MS);
  });

  test('recipientsMax splits a message, and the rest follows', async () => {
    await spool.append(submission(numbered('x.example', 5)));
    const request = leaseOf(['x.example'], { messagesMax: 1, recipientsMax: 2 });
    const leased: string[][] = [];
    for (let n = 0; n < 4; n += 1) {
      leased.push(...addressesOf((await spool.lease(request)).messages));
    }
    expect(leased).toEqual([
      ['0@x.example', '1@x.example'],
      ['2@x.example', '3@x.example'],
      ['4@x.example'],
    ]);
  });

  test('a message with very many recipients is handed out completely', async () => {
    await spool.append(submission(numbered('x.example', 1000)));
    const leased = new Set<string>();
    for (;;) {
      const { messages } = await spool.lease(leaseOf(['x.example'], { recipientsMax: 1000 }));
      if (messages.length === 0) break;
      for (const address of addressesOf(messages).flat()) leased.add(address);
    }
    expect(leased.size).toBe(1000);
  });
});

describe('companions', () => {
  test('recipients in the domains asked for go together, others stay', async () => {
    await spool.append(submission(['1@a.example', '2@b.example', '3@c.example', '4@a.example']));
    const lease = await spool.lease(leaseOf(['b.example', 'a.example']));
    expect(addressesOf(lease.messages)).toEqual([['1@a.example', '2@b.example', '4@a.example']]);
    expect(lease.nextDueMs).toEqual(
      new Map([
        ['b.example', null],
        ['a.example', null],
      ]),
    );
    expect(addressesOf((await spool.lease(leaseOf(['c.example']))).messages)).toEqual([
      ['3@c.example'],
    ]);
  });

  test('two messages with the same recipients are two leases', async () => {
    const addresses = ['1@a.example', '2@b.example'];
    await spool.append(submission(addresses));
    await spool.append(submission(addresses));
    const { messages } = await spool.lease(leaseOf(['a.example', 'b.example']));
    expect(addressesOf(messages)).toEqual([addresses, addresses]);
  });

  test('one that waits for a later time stays', async () => {
    const id = await spool.append(submission(['1@a.example', '2@a.example']));
    await spool.lease(leaseOf(['a.example']));
    const reason = { code: 'greylisted', text: '450', sinceMs: START_MS };
    const defer = (index: number, dueMs: number) =>
      ({ key: key(id, index), kind: 'deferred', dueMs, attempts: 1, reason }) as const;
    await spool.settle([defer(0, START_MS + 10), defer(1, START_MS + 20)], []);
    const lease = await spool.lease(leaseOf(['a.example'], { nowMs: START_MS + 10 }));
    expect(addressesOf(lease.messages)).toEqual([['1@a.example']]);
    expect(lease.nextDueMs.get('a.example')).toBe(START_MS + 20);
  });
});

describe('next due', () => {
  test('is told for every domain asked, and follows what happens', async () => {
    const domains = ['x.example', 'y.example'];
    const nextDue = async (nowMs = START_MS) =>
      Object.fromEntries((await spool.lease(leaseOf(domains, { nowMs }))).nextDueMs);
    expect(await nextDue()).toEqual({ 'x.example': null, 'y.example': null });

    const id = await spool.append(submission(['a@x.example'], { receivedAtMs: START_MS + 5 }));
    expect(await nextDue()).toEqual({ 'x.example': START_MS + 5, 'y.example': null });
    expect(await nextDue(START_MS + 5)).toEqual({ 'x.example': null, 'y.example': null });

    // Due earlier than what is leased.
    const early = await spool.append(submission(['b@x.example'], { receivedAtMs: START_MS + 2 }));
    expect(await nextDue()).toEqual({ 'x.example': START_MS + 2, 'y.example': null });
    expect(await nextDue(START_MS + 5)).toEqual({ 'x.example': null, 'y.example': null });

    await spool.settle([{ key: key(id), kind: 'released' }], []);
    expect(await nextDue()).toEqual({ 'x.example': START_MS + 5, 'y.example': null });
    await spool.settle([{ key: key(early), kind: 'released' }], []);
    expect(await nextDue()).toEqual({ 'x.example': START_MS + 2, 'y.example': null });
  });
});

/** What a lease has read and not handed out is of use to the next one, as long as it is still so. */
describe('what an earlier lease has read', () => {
  const next = (messagesMax: number) => spool.lease(leaseOf(['x.example'], { messagesMax }));
  const done = (message: number) => ({ key: key(message), kind: 'done' }) as const;

  test('is followed by what is appended later', async () => {
    await fill(numbered('x.example', 3));
    await next(1);
    // This one has seen the end of the queue.
    expect((await next(1)).nextDueMs.get('x.example')).toBe(START_MS);
    await fill(['3@x.example']);
    const { messages, nextDueMs } = await next(10);
    expect(addressesOf(messages).flat()).toEqual(['2@x.example', '3@x.example']);
    expect(nextDueMs.get('x.example')).toBeNull();
  });

  test('comes after what is appended to be due before it', async () => {
    const receivedAtMs = START_MS - 10;
    await fill(numbered('x.example', 3));
    await next(1);
    await spool.append(submission(['early@x.example'], { receivedAtMs }));
    expect(addressesOf((await next(10)).messages).flat()).toEqual([
      'early@x.example',
      '1@x.example',
      '2@x.example',
    ]);
  });

  test('is without what somebody else has leased, or done with', async () => {
    const [, second, third] = await fill(numbered('x.example', 5));
    await next(1);
    await spool.leaseMessage({ message: second!, index: null });
    await spool.leaseMessage({ message: third!, index: null });
    await spool.settle([done(second!)], []);
    await spool.counts();
    expect(addressesOf((await next(1)).messages)).toEqual([['3@x.example']]);
    await spool.settle([{ key: key(third!), kind: 'released' }], []);
    expect(addressesOf((await next(10)).messages).flat()).toEqual(['2@x.example', '4@x.example']);
  });

  test('is without what goes to another domain', async () => {
    const [, second] = await fill(numbered('x.example', 3));
    await next(1);
    await spool.leaseMessage({ message: second!, index: null });
    const reason = { code: 'moved', text: 'by an operator', sinceMs: START_MS };
    await spool.settle(
      [
        {
          key: key(second!),
          kind: 'deferred',
          dueMs: START_MS,
          attempts: 0,
          reason,
          domain: 'y.example',
        },
      ],
      [],
    );
    expect(addressesOf((await next(10)).messages)).toEqual([['2@x.example']]);
    expect(addressesOf((await spool.lease(leaseOf(['y.example']))).messages)).toEqual([
      ['1@x.example'],
    ]);
  });
});

describe('expiry', () => {
  test('leases what was accepted before an instant, oldest first, due or not', async () => {
    const content = new Uint8Array(1000);
    const [first, second] = [
      await spool.append(submission(['a@x.example', 'b@y.example'], { content })),
      await spool.append(submission(['c@x.example'], { content })),
    ];
    await spool.lease(leaseOf(['y.example']));
    const all = { messagesMax: 10, bytesMax: 10_000 };
    expect(await spool.leaseExpired({ acceptedBeforeMs: START_MS, ...all })).toEqual([]);
    const acceptedBeforeMs = START_MS + 1;
    const one = await spool.leaseExpired({ acceptedBeforeMs, messagesMax: 10, bytesMax: 1500 });
    expect(one.map(({ message }) => message)).toEqual([first]);
    expect(addressesOf(one)).toEqual([['a@x.example']]);
    const two = await spool.leaseExpired({ acceptedBeforeMs, ...all });
    expect(two.map(({ message }) => message)).toEqual([second]);
    expect(await spool.leaseExpired({ acceptedBeforeMs, ...all })).toEqual([]);
    expect((await spool.counts()).leased).toBe(3);
  });
});
