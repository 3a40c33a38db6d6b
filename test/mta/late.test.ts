/** What a sender hears of mail that is late, and where notices go that nobody can be given. */
import { afterEach, describe, expect, test } from 'vitest';
import { parseId } from '../../mta/envelope.ts';
import { Cleanup } from '../support/cleanup.ts';
import { waitFor } from '../support/process.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const world = (mta: object, sinks: WorldOptions['sinks'] = {}, mail: WorldOptions['mail'] = {}) =>
  createWorld(
    {
      mail: {
        'busy.example': ['mx.busy.example'],
        'sender.example': ['mx.sender.example'],
        'admin.example': ['mx.admin.example'],
        ...mail,
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

describe('mail that waits without an attempt', () => {
  const heard = ({ accepted }: World): string[] =>
    accepted
      .filter(({ header }) => header?.startsWith('Your mail is late'))
      .map(({ head }) => {
        const [, why = ''] = /\r\nDiagnostic-Code: (.*)\r\n/.exec(head.toString('latin1')) ?? [];
        const [, status = ''] = /\r\nStatus: (.*)\r\n/.exec(head.toString('latin1')) ?? [];
        return `${status} ${why}`;
      });
  const patient = { max_age: '5d', delay_warning: '2m' };

  test('for DNS, for a site that takes none, or for what an operator suspended: the sender hears once', async () => {
    const made = await world(patient, {}, { 'down.example': ['mx.down.example'] });
    made.mta.suspendScope('domain', 'admin.example');
    await made.send([
      { to: ['a@not-served.example', 'b@not-served.example'] },
      { to: ['a@down.example'] },
      { to: ['a@admin.example'] },
      { to: ['asked@down.example'], from: '' },
    ]);
    await waitFor(() => heard(made).length === 3, 'three notices');
    // Two more sweeps, on this clock.
    const sweeps = made.accepted.length;
    await made.send([{ to: ['later@down.example'] }]);
    await waitFor(() => heard(made).length === 4, 'the notice of what came later');
    expect(made.accepted).toHaveLength(sweeps + 1);
    const waits = await made.mta.queue({ domain: null, after: null, limit: 10 });
    expect(waits.map(({ wait, attempts }) => `${wait.on} ${attempts}`)).toEqual([
      'dns 0',
      'dns 0',
      'site 0',
      'operator 0',
      'site 0',
      'site 0',
    ]);
    expect(
      heard(made)
        .map((text) => text.slice(0, 5))
        .sort(),
    ).toEqual(['4.0.0', '4.4.1', '4.4.1', '4.4.3']);
  });

  test('what an operator holds is told to nobody, and does not expire; released, it is tried once more', async () => {
    const made = await world({ delay_warning: '1m', max_age: '3m' });
    made.mta.suspend();
    const [held, other] = await made.send([
      { to: ['a@admin.example'] },
      { to: ['b@admin.example'] },
    ]);
    const held1 = { ids: [parseId(held!)!] };
    await made.mta.operate('hold', held1, { dryRun: false, note: '' });
    made.mta.suspendScope('domain', 'admin.example');
    made.mta.resume();
    await waitFor(
      async () => (await made.why(other!)).length === 0,
      'the expiry of what is suspended',
    );
    expect((await made.why(held!))[0]?.wait.on).toBe('operator');
    await waitFor(() => made.accepted.length === 2, 'the notices of the other');
    made.mta.resumeScope('domain', 'admin.example');
    await made.mta.operate('release', held1, { dryRun: false, note: '' });
    await made.drained();
    expect(made.accepted.map(({ header }) => header)).toEqual([
      'Your mail is late',
      'Undelivered mail returned to sender',
      'hello',
    ]);
  });
});
