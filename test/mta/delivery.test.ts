/** The mta whole, in one process, against an embedded authority and sinks: what an operator would see. */
import { afterEach, describe, expect, test } from 'vitest';
import { greylist } from '../../bench/load/sink.ts';
import { systemClock } from '../../runtime/clock.ts';
import { Cleanup } from '../support/cleanup.ts';
import { waitFor } from '../support/process.ts';
import { createWorld } from './world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const outcomes = async (world: { mta: { status(): Promise<{ outcomes: object }> } }) =>
  (await world.mta.status()).outcomes;

describe('delivery', () => {
  test('domains that share MX hosts share a connection, each looked up once', async () => {
    const domains = Array.from({ length: 30 }, (_, index) => `d${index}.example`);
    const world = await createWorld(
      {
        mail: Object.fromEntries(domains.map((domain) => [domain, ['mx.provider.example']])),
        sinks: { 'mx.provider.example': {} },
        // No time has to pass, and at a brisk pace a busy machine makes a look-up time out.
        clock: systemClock(),
      },
      cleanup,
    );
    await world.send(
      Array.from({ length: 90 }, (_, index) => ({ to: [`user${index}@${domains[index % 30]}`] })),
    );
    await world.drained();
    expect(world.accepted).toHaveLength(90);
    expect(world.accepted.every(({ secured }) => secured)).toBe(true);
    const { connections } = world.sinks.get('mx.provider.example')!.counts;
    expect(connections).toBe(1);
    expect(world.authority.questions.get('d7.example MX')).toBe(1);
    expect(world.authority.questions.get('mx.provider.example A')).toBe(1);
  });

  test('recipients of one message at one site travel in one transaction', async () => {
    const world = await createWorld(
      {
        mail: {
          'a.example': ['mx.one.example'],
          'b.example': ['mx.one.example'],
          'c.example': ['mx.two.example'],
        },
        sinks: { 'mx.one.example': {}, 'mx.two.example': {} },
      },
      cleanup,
    );
    await world.send([{ to: ['x@a.example', 'y@b.example', 'z@c.example', 'w@a.example'] }]);
    await world.drained();
    const taken = world.accepted.map(({ host, recipients }) => [host, [...recipients].sort()]);
    expect(taken.sort()).toEqual([
      ['mx.one.example', ['w@a.example', 'x@a.example', 'y@b.example']],
      ['mx.two.example', ['z@c.example']],
    ]);
  });

  test('suspended delivery takes mail and keeps it, and says so, until it is resumed', async () => {
    const world = await createWorld(
      {
        mail: { 'a.example': ['mx.one.example'] },
        sinks: { 'mx.one.example': {} },
        delivery: { suspended: true },
      },
      cleanup,
    );
    const [id] = await world.send([{ to: ['x@a.example'] }]);
    const domains = async () => (await world.mta.status()).sites.map((site) => site.domains);
    await waitFor(async () => (await domains())[0] === 1, 'the route');
    expect((await world.why(`${id}.0`))[0]?.wait.on).toBe('operator');
    expect(world.accepted).toHaveLength(0);
    world.mta.resume();
    await world.drained();
    expect(world.accepted).toHaveLength(1);
    world.mta.suspend();
    await world.send([{ to: ['y@a.example'] }]);
    expect((await world.mta.status()).messages).toBe(1);
    world.mta.resume();
    await world.drained();
  });

  test('greylisted mail comes back and is taken', async () => {
    const world = await createWorld(
      {
        mail: { 'grey.example': ['mx.grey.example'] },
        sinks: { 'mx.grey.example': { onRecipient: greylist(300) } },
        mta: { retry: ['20s'] },
      },
      cleanup,
    );
    const [id] = await world.send([{ to: ['user@grey.example'] }]);
    await waitFor(async () => (await world.why(`${id}.0`))[0]?.wait.on === 'retry', 'the deferral');
    const [recipient] = await world.why(`${id}.0`);
    expect(recipient).toMatchObject({ address: 'user@grey.example', attempts: 1 });
    expect(recipient!.wait.text).toBe(
      'mx.grey.example said: 450 4.7.1 greylisted, try again later',
    );
    await world.drained();
    expect(world.accepted).toHaveLength(1);
    expect(await outcomes(world)).toMatchObject({ delivered: 1, bounced: 0 });
  });

  test('a refused recipient is returned to the reverse-path, and a refused bounce to nobody', async () => {
    const refusal = '550 5.1.1 no such user';
    const world = await createWorld(
      {
        mail: { 'strict.example': ['mx.strict.example'], 'sender.example': ['mx.sender.example'] },
        sinks: {
          'mx.strict.example': { onRecipient: (to) => (to.startsWith('no') ? refusal : null) },
          'mx.sender.example': { onRecipient: (to) => (to.startsWith('gone') ? refusal : null) },
        },
      },
      cleanup,
    );
    await world.send([
      { from: 'here@sender.example', to: ['no@strict.example', 'yes@strict.example'] },
      { from: 'gone@sender.example', to: ['no@strict.example'] },
      { from: '', to: ['no@strict.example'] },
    ]);
    await world.drained();
    const taken = world.accepted.map(({ reversePath, recipients }) => [reversePath, ...recipients]);
    expect(taken.sort()).toEqual([
      ['', 'here@sender.example'],
      ['here@sender.example', 'yes@strict.example'],
    ]);
    // Four were taken from us and two bounces of our own: six in, six accounted for.
    expect(await outcomes(world)).toMatchObject({ received: 6, delivered: 2, bounced: 4 });
  });

  test('what DNS says takes no mail is returned at once, and nothing is tried', async () => {
    const world = await createWorld(
      {
        mail: { 'null.example': ['.'], 'sender.example': ['mx.sender.example'] },
        sinks: { 'mx.sender.example': {} },
      },
      cleanup,
    );
    await world.send([{ to: ['user@null.example'] }]);
    await world.drained();
    expect(world.accepted.map(({ recipients }) => recipients)).toEqual([['sender@sender.example']]);
  });

  test('DNS trouble holds the domain, says so, and burns no attempt', async () => {
    const world = await createWorld(
      // Outside every zone the authority says REFUSED: no verdict on the name.
      { mail: { 'sender.example': ['mx.sender.example'] }, sinks: {} },
      cleanup,
    );
    const [id] = await world.send([{ to: ['user@elsewhere.example'] }]);
    await waitFor(async () => (await world.mta.status()).heldDomains.length === 1, 'the hold');
    const asked = () => world.authority.questions.get('elsewhere.example MX') ?? 0;
    const before = asked();
    await waitFor(() => asked() > before, 'another look at DNS');
    const [recipient] = await world.why(id!);
    expect(recipient).toMatchObject({ attempts: 0, wait: { on: 'dns' } });
    expect(await outcomes(world)).toMatchObject({ deferred: 0, bounced: 0 });
  });

  test('a site whose hosts do not answer is held as a whole and probed with one message', async () => {
    const world = await createWorld(
      {
        mail: {
          'a.example': ['mx1.dead.example', 'mx2.dead.example'],
          'b.example': ['mx1.dead.example', 'mx2.dead.example'],
        },
        sinks: {},
      },
      cleanup,
    );
    const ids = await world.send([
      { to: ['x@a.example'] },
      { to: ['y@b.example'] },
      { to: ['z@b.example'] },
    ]);
    await waitFor(async () => (await world.mta.status()).sites[0]?.hold !== null, 'the hold');
    await waitFor(async () => (await world.mta.status()).leased === 0, 'leases given back');
    const waits = await Promise.all(ids.map(async (id) => (await world.why(id))[0]!));
    for (const { attempts, wait } of waits) {
      expect(attempts).toBe(0);
      expect(wait.on).toBe('site');
      expect(wait.text).toMatch(/could not connect \(ECONNREFUSED\)/);
      expect(wait.untilMs).toBeGreaterThan(wait.sinceMs);
    }
  });

  test('the second MX host takes over from a dead first one', async () => {
    const world = await createWorld(
      {
        mail: { 'a.example': ['mx1.half.example', 'mx2.half.example'] },
        sinks: { 'mx2.half.example': {} },
      },
      cleanup,
    );
    await world.send([{ to: ['x@a.example'] }]);
    await world.drained();
    expect(world.accepted.map(({ host }) => host)).toEqual(['mx2.half.example']);
  });

  test('mail that waits too long is returned with the last reason', async () => {
    const world = await createWorld(
      {
        mail: { 'busy.example': ['mx.busy.example'], 'sender.example': ['mx.sender.example'] },
        sinks: {
          'mx.busy.example': { onRecipient: () => '451 4.3.0 try later' },
          'mx.sender.example': {},
        },
        mta: { max_age: '1m', retry: ['20s'] },
      },
      cleanup,
    );
    await world.send([{ to: ['user@busy.example'] }]);
    await world.drained();
    expect(world.accepted.map(({ reversePath }) => reversePath)).toEqual(['']);
    expect(await outcomes(world)).toMatchObject({ expired: 1, delivered: 1 });
  });

  test('a stop finishes what is under way, and the next start takes up the rest', async () => {
    const mail = { 'a.example': ['mx.slow.example'] };
    let world = await createWorld({ mail, sinks: { 'mx.slow.example': { delayMs: 5 } } }, cleanup);
    const letters = Array.from({ length: 200 }, (_, index) => ({ to: [`u${index}@a.example`] }));
    await world.send(letters);
    world = await world.restart();
    await world.drained();
    const recipients = world.accepted.flatMap((message) => message.recipients);
    expect(recipients.length).toBe(200);
    expect(new Set(recipients).size).toBe(200);
  });

  test('policy "require" sends nothing in clear', async () => {
    const world = await createWorld(
      {
        mail: { 'clear.example': ['mx.clear.example'] },
        sinks: { 'mx.clear.example': { startTls: false } },
        delivery: { tls: 'require' },
      },
      cleanup,
    );
    const [id] = await world.send([{ to: ['user@clear.example'] }]);
    await waitFor(async () => (await world.why(id!))[0]?.wait.on === 'site', 'the hold');
    expect((await world.why(id!))[0]!.wait.text).toMatch(/TLS failed \(not-offered\)/);
    expect(world.accepted).toEqual([]);
  });
});
