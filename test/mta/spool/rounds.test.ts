/** Classes by weight, tenants in turn, of a tenant its domains in turn. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Spool } from '../../../mta/spool/spool.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { addressesOf, type Details, leaseOf, openAt, START_MS, submission } from './fixture.ts';

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

/** `count` messages of one recipient each: "name0@domain", "name1@domain", … */
const fill = (count: number, name: string, details: Details = {}, domain = 'x.example') =>
  Promise.all(
    Array.from({ length: count }, (_, n) =>
      spool.append(submission([`${name}${n}@${domain}`], details)),
    ),
  );

const served = async (messagesMax: number, more: object = {}, domains = ['x.example']) => {
  const { messages } = await spool.lease(leaseOf(domains, { messagesMax, ...more }));
  return addressesOf(messages).flat();
};

const names = (addresses: readonly string[]): string =>
  addresses.map((address) => address.replace(/\d+@.*/, '')).join('');

describe('classes', () => {
  test('urgent mail overtakes a campaign that came before it', async () => {
    await fill(200, 'c', { priority: 'bulk' });
    await fill(2, 'u', { priority: 'urgent' });
    expect(names(await served(5))).toBe('uuccc');
  });

  test('sixteen urgent, four normal, one bulk; so that none starves', async () => {
    await fill(60, 'b', { priority: 'bulk' });
    await fill(60, 'n');
    await fill(60, 'u', { priority: 'urgent' });
    const round = `${'u'.repeat(16)}nnnnb`;
    expect(names(await served(42))).toBe(round + round);
  });

  test('a class that runs dry leaves its share to the others', async () => {
    await fill(60, 'b', { priority: 'bulk' });
    await fill(6, 'n');
    await fill(3, 'u', { priority: 'urgent' });
    expect(names(await served(12))).toBe('uuunnnnbnnbb');
  });

  test('urgentOnly hands out nothing else, and tells when the next of it is due', async () => {
    await fill(3, 'b', { priority: 'bulk' });
    await fill(1, 'u', { priority: 'urgent' });
    await fill(1, 'v', { priority: 'urgent', receivedAtMs: START_MS + 50 });
    const lease = await spool.lease(leaseOf(['x.example'], { urgentOnly: true }));
    expect(addressesOf(lease.messages)).toEqual([['u0@x.example']]);
    expect(lease.nextDueMs.get('x.example')).toBe(START_MS + 50);
    const rest = await spool.lease(leaseOf(['x.example']));
    expect(names(addressesOf(rest.messages).flat())).toBe('bbb');
    expect(rest.messages.map(({ priority }) => priority)).toEqual(['bulk', 'bulk', 'bulk']);
  });
});

describe('tenants', () => {
  test('take turns, however long the queue of one, and over all of its domains', async () => {
    await fill(100, 'a', { tenant: 'acme' });
    await fill(100, 'a', { tenant: 'acme' }, 'y.example');
    await fill(3, 'z', { tenant: 'zeta' }, 'y.example');
    await fill(3, '-', {}, 'y.example');
    const addresses = await served(12, {}, ['x.example', 'y.example']);
    expect(names(addresses)).toBe('a-za-za-zaaa');
    const ofAcme = addresses.filter((address) => address.startsWith('a'));
    expect(ofAcme.map((address) => address.slice(-9))).toEqual([
      'x.example',
      'y.example',
      'x.example',
      'y.example',
      'x.example',
      'y.example',
    ]);
  });

  test('that are held keep their mail, and nobody is told that it is due', async () => {
    await fill(2, 'a', { tenant: 'acme' });
    await fill(1, 'z', { tenant: 'zeta' });
    const bounds = { heldTenants: ['acme', 'unheard-of'] };
    const lease = await spool.lease(leaseOf(['x.example'], bounds));
    expect(names(addressesOf(lease.messages).flat())).toBe('z');
    expect(lease.nextDueMs.get('x.example')).toBeNull();
    expect(names(await served(9))).toBe('aa');
  });

  test('their names and the class come back, also after a restart', async () => {
    const id = await spool.append({
      ...submission(['a@x.example'], { tenant: 'acme', priority: 'urgent' }),
      campaign: 'spring-sale',
      extra: '{"envid":"7"}',
      notBeforeMs: START_MS + 100,
    });
    await spool.close();
    spool = await openAt(folder.path);
    expect(await spool.domains(null, 9)).toEqual([
      { domain: 'x.example', nextDueMs: START_MS + 100 },
    ]);
    const labels = { tenant: 'acme', priority: 'urgent', campaign: 'spring-sale' };
    expect(await spool.inspect(id)).toMatchObject([labels]);
    const { messages } = await spool.lease(leaseOf(['x.example'], { nowMs: START_MS + 100 }));
    expect(messages).toMatchObject([{ ...labels, extra: '{"envid":"7"}' }]);
  });
});

test('an operator leases one message, or one recipient of it, due or not', async () => {
  const later = { receivedAtMs: START_MS + 1000 };
  const id = await spool.append(submission(['a@x.example', 'b@y.example', 'c@x.example'], later));
  const one = await spool.leaseMessage({ message: id, index: 1 });
  expect(addressesOf([one!])).toEqual([['b@y.example']]);
  expect(await spool.leaseMessage({ message: id, index: 1 })).toBeNull();
  const rest = await spool.leaseMessage({ message: id, index: null });
  expect(addressesOf([rest!])).toEqual([['a@x.example', 'c@x.example']]);
  expect(await spool.leaseMessage({ message: id, index: null })).toBeNull();
  await spool.settle([{ key: { message: id, index: 0 }, kind: 'done' }], []);
  expect(await spool.counts()).toMatchObject({ messages: 1, queued: 0, leased: 2 });
});
