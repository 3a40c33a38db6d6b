/** What a sender hears of mail that is late, and where notices go that nobody can be given. */
import { afterEach, expect, test } from 'vitest';
import { Cleanup } from '../support/cleanup.ts';
import { waitFor } from '../support/process.ts';
import { createWorld, type WorldOptions } from './world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const world = (mta: object, sinks: WorldOptions['sinks'] = {}) =>
  createWorld(
    {
      mail: {
        'busy.example': ['mx.busy.example'],
        'sender.example': ['mx.sender.example'],
        'admin.example': ['mx.admin.example'],
      },
      sinks: {
        'mx.busy.example': { onRecipient: () => '451 4.3.0 try later' },
        'mx.sender.example': { header: 'subject' },
        'mx.admin.example': { header: 'subject' },
        ...sinks,
      },
      mta: { retry: ['1m'], max_age: '3m', ...mta },
    },
    cleanup,
  );

test('a delay is told once, and then the end', async () => {
  const { send, drained, accepted } = await world({ delay_warning: '90s' });
  await send([{ to: ['user@busy.example'] }]);
  await drained();
  expect(accepted.map(({ host, header }) => [host, header])).toEqual([
    ['mx.sender.example', 'Your mail is late'],
    ['mx.sender.example', 'Undelivered mail returned to sender'],
  ]);
});

test('by default nobody is told of a delay who did not ask', async () => {
  const { send, drained, accepted } = await world({});
  await send([{ to: ['user@busy.example'] }]);
  await drained();
  expect(accepted.map(({ header }) => header)).toEqual(['Undelivered mail returned to sender']);
});

test('a bounce that bounces goes to the operator, and one that bounces there to nobody', async () => {
  const strict = { onRecipient: () => '550 5.1.1 no such user' };
  const one = await world(
    { double_bounce: 'postmaster@admin.example' },
    { 'mx.busy.example': strict, 'mx.sender.example': strict },
  );
  await one.send([{ to: ['user@busy.example'] }]);
  await one.drained();
  expect(
    one.accepted.map(({ reversePath, recipients, header }) => [reversePath, recipients, header]),
  ).toEqual([['', ['postmaster@admin.example'], 'Undelivered mail returned to sender']]);

  const two = await world(
    { double_bounce: 'postmaster@busy.example' },
    { 'mx.busy.example': strict, 'mx.sender.example': strict },
  );
  await two.send([{ to: ['user@busy.example'] }]);
  await two.drained();
  await waitFor(async () => (await two.mta.status()).outcomes.bounced === 3, 'three bounces');
  expect(two.accepted).toEqual([]);
});
