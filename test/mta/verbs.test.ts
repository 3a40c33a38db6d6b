/** What operators do to mail that waits, and what `why` says of each wait. */
import { afterEach, describe, expect, test } from 'vitest';
import { greylist } from '../../bench/load/sink.ts';
import { parseId } from '../../mta/envelope.ts';
import type { MessageVerb, Selection } from '../../mta/running.ts';
import { systemClock } from '../../runtime/clock.ts';
import { Cleanup } from '../support/cleanup.ts';
import { waitFor } from '../support/process.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const MAIL = {
  mail: { 'dest.example': ['mx.dest.example'], 'sender.example': ['mx.sender.example'] },
  sinks: { 'mx.dest.example': {}, 'mx.sender.example': { header: 'x-none' } },
};
const world = (options: Partial<WorldOptions> = {}): Promise<World> =>
  createWorld({ ...MAIL, ...options }, cleanup);

const run = (
  { mta }: World,
  verb: MessageVerb,
  selection: Selection | string,
  dryRun = false,
  note = '',
) =>
  mta.operate(verb, typeof selection === 'string' ? { ids: [parseId(selection)!] } : selection, {
    dryRun,
    note,
  });

const toDest = (made: World): number =>
  made.accepted.filter(({ host }) => host === 'mx.dest.example').length;

describe('verbs', () => {
  test('what is held stays, over a restart too, until it is released', async () => {
    let made = await world();
    made.mta.suspend();
    const [id] = await made.send([{ to: ['a@dest.example', 'b@dest.example'] }]);
    expect(await run(made, 'hold', id!, true)).toEqual({
      verb: 'hold',
      dryRun: true,
      matched: 2,
      busy: 0,
      done: 0,
      more: false,
      ids: [`${id}.0`, `${id}.1`],
    });
    expect(await run(made, 'hold', `${id}.0`, false, 'looks odd')).toMatchObject({
      matched: 1,
      done: 1,
    });
    expect(await run(made, 'hold', `${id}.0`)).toMatchObject({ matched: 0 });
    made.mta.resume();
    await waitFor(() => toDest(made) === 1, 'the other recipient');
    made = await made.restart();
    expect((await made.why(id!))[0]).toMatchObject({
      wait: { on: 'operator', text: 'held by an operator: looks odd', untilMs: null },
      change: expect.stringContaining('release it'),
    });
    // Trying all of a domain lets nothing go that is held.
    expect(await run(made, 'retry', { domain: 'dest.example' })).toMatchObject({ matched: 0 });
    expect(await run(made, 'release', { domain: 'dest.example' })).toMatchObject({ done: 1 });
    await made.drained();
    expect(toDest(made)).toBe(2);
  });

  test('what its sender scheduled keeps its time through hold and release', async () => {
    const made = await world();
    const at = Date.now() + 3_600_000 * 24;
    const sendAt = new Date(at).toISOString();
    const id = await made.inject({ to: ['a@dest.example'], send_at: sendAt });
    await run(made, 'hold', id);
    expect((await made.why(id))[0]).toMatchObject({ wait: { on: 'operator', untilMs: null } });
    await run(made, 'release', id);
    expect((await made.why(id))[0]).toMatchObject({ wait: { on: 'schedule', untilMs: at } });
  });

  test('bounce tells the sender, delete does not, and both are counted', async () => {
    const made = await world();
    made.mta.suspend();
    const [first, second] = await made.send([
      { to: ['a@dest.example'] },
      { to: ['b@dest.example'] },
    ]);
    await run(made, 'bounce', first!, false, 'wrong list');
    await run(made, 'delete', second!);
    made.mta.resume();
    await made.drained();
    expect(made.accepted).toHaveLength(1);
    const notice = made.accepted[0]!.head.toString('latin1');
    expect(notice).toContain(
      'Final-Recipient: rfc822; a@dest.example\r\nAction: failed\r\nStatus: 5.7.1\r\n',
    );
    expect(notice).toContain('returned by an operator: wrong list');
    expect((await made.mta.status()).outcomes).toMatchObject({
      received: 3,
      bounced: 2,
      delivered: 1,
    });
  });

  test('retry does not wait for the schedule', async () => {
    let open = false;
    const made = await world({
      sinks: {
        ...MAIL.sinks,
        'mx.dest.example': { onRecipient: () => (open ? null : '450 4.2.1 later') },
      },
      mta: { retry: ['5h'] },
    });
    const [id] = await made.send([{ to: ['a@dest.example'] }]);
    await waitFor(async () => (await made.why(id!))[0]?.wait.on === 'retry', 'a deferral');
    open = true;
    expect(await run(made, 'retry', { domain: 'dest.example' })).toMatchObject({
      matched: 1,
      done: 1,
    });
    await made.drained();
  });

  test('retry asks DNS again, and a site that is left alone, but leaves rests by rule unless told', async () => {
    let listed = true;
    // On the machine's own clock the waits are 15 s, 10 s and half an hour: none ends by itself.
    const made = await world({
      clock: systemClock(),
      sinks: {
        ...MAIL.sinks,
        'mx.dest.example': { onMessage: () => (listed ? '550 5.7.1 you are listed' : null) },
      },
      mail: { ...MAIL.mail, 'down.example': ['mx.down.example'] },
      delivery: { connections: 1 },
    });
    const [down] = await made.send([{ to: ['a@down.example'] }]);
    await waitFor(async () => (await made.why(down!))[0]?.wait.on === 'site', 'a back-off');
    const first = (await made.why(down!))[0]!.wait;
    await run(made, 'retry', down!);
    await waitFor(
      async () => ((await made.why(down!))[0]!.wait.untilMs ?? 0) - first.untilMs! > 5_000,
      'a longer back-off',
    );
    expect((await made.why(down!))[0]).toMatchObject({
      wait: { on: 'site', sinceMs: first.sinceMs },
      change: expect.stringContaining('postilion queue retry ID'),
    });

    const ids = await made.send(
      Array.from({ length: 30 }, (_, n) => ({ to: [`u${n}@dest.example`] })),
    );
    const waiting = { ids: [parseId(ids.at(-1)!)!] };
    await waitFor(async () => (await made.why(ids.at(-1)!))[0]?.wait.on === 'rule', 'a rest');
    listed = false;
    await run(made, 'retry', waiting);
    expect((await made.why(ids.at(-1)!))[0]).toMatchObject({
      wait: { on: 'rule' },
      change: expect.stringContaining('--end-rests'),
    });
    await made.mta.operate('retry', waiting, { dryRun: false, note: '', endRests: true });
    await waitFor(() => toDest(made) > 0, 'the end of the rest');
  });

  test('show gives the header, and leaves the mail as it was', async () => {
    const made = await world();
    made.mta.suspend();
    const [id] = await made.send([{ to: ['a@dest.example'] }]);
    const shown = await made.mta.show(parseId(id!)!.message);
    expect(shown.header).toMatch(/^Received: [\s\S]*\r\nSubject: hello\r\n$/);
    expect(shown.recipients).toMatchObject([{ id: `${id}.0` }]);
    made.mta.resume();
    await made.drained();
  });

  test('drain takes no more, and delivers what is there', async () => {
    const made = await world();
    made.mta.suspend();
    await made.send([{ to: ['a@dest.example'] }]);
    made.mta.drain();
    expect(made.mta.ready()).toBe('draining: no mail is taken');
    await expect(made.inject({ to: ['b@dest.example'] })).rejects.toThrow(/shutting_down/);
    made.mta.resume();
    await made.drained();
    expect(toDest(made)).toBe(1);
  });
});

describe('suspensions', () => {
  test.each([
    ['domain', 'dest.example'],
    ['tenant', 'acme'],
    ['campaign', 'spring'],
  ] as const)('of a %s survive a restart, and end', async (scope, name) => {
    let made = await world();
    made.mta.suspendScope(scope, name);
    made.mta.suspendScope(scope, name);
    await made.inject({ to: ['a@dest.example'], tenant: 'acme', campaign: 'spring' });
    await made.send([{ to: ['other@sender.example'] }]);
    await waitFor(() => made.accepted.length === 1, 'the mail that is not suspended');
    made = await made.restart();
    expect((await made.mta.status()).suspensions).toMatchObject([{ scope, name }]);
    const waiting = await made.mta.queue({ domain: null, after: null, limit: 10 });
    expect(waiting).toMatchObject([
      { wait: { on: 'operator', text: `the ${scope} ${name} is suspended`, untilMs: null } },
    ]);
    expect(waiting[0]!.wait.sinceMs).toBe((await made.mta.status()).suspensions[0]!.sinceMs);
    made.mta.resumeScope(scope, name);
    await made.drained();
    expect(toDest(made)).toBe(1);
    expect((await made.mta.status()).suspensions).toEqual([]);
  });

  test('of a site hold its mail alone', async () => {
    const made = await world();
    await made.send([{ to: ['a@dest.example'] }]);
    await waitFor(() => toDest(made) === 1, 'the first message');
    const alias = (await made.mta.status()).sites.find((site) =>
      site.alias.includes('mx.dest'),
    )!.alias;
    made.mta.suspendScope('site', alias);
    const [id] = await made.send([{ to: ['b@dest.example'] }]);
    await made.send([{ to: ['c@sender.example'] }]);
    await waitFor(() => made.accepted.length === 2, 'mail of the other site');
    await waitFor(
      async () => (await made.why(id!))[0]?.wait.on === 'operator',
      'the wait to be told',
    );
    made.mta.resumeScope('site', alias);
    await made.drained();
  });
});

describe('why', () => {
  const settled = async (made: World, id: string, on: string) => {
    await waitFor(async () => (await made.why(id))[0]?.wait.on === on, `a wait for ${on}`);
    return (await made.why(id))[0]!;
  };

  test('greylisted: what the host said, since the first refusal, until the next attempt', async () => {
    const made = await world({
      sinks: { ...MAIL.sinks, 'mx.dest.example': { onRecipient: greylist(3_600_000) } },
      mta: { retry: ['5h'] },
    });
    const [id] = await made.send([{ to: ['a@dest.example'] }]);
    const { wait, change, receivedAtMs } = await settled(made, id!, 'retry');
    expect(wait.text).toContain('450 4.7.1 greylisted');
    expect(wait.sinceMs).toBeGreaterThanOrEqual(receivedAtMs);
    expect(wait.untilMs! - wait.sinceMs).toBeGreaterThan(4 * 3_600_000);
    expect(change).toMatch(/^time: the host wants to see it again later/);
  });

  test('suspended by an operator', async () => {
    const made = await world();
    made.mta.suspend();
    const [id] = await made.send([{ to: ['a@dest.example'] }]);
    const { wait, change } = await settled(made, id!, 'operator');
    expect([wait.untilMs, wait.sinceMs]).toEqual([null, (await made.mta.status()).suspendedAtMs]);
    expect(change).toMatch(/^an operator: /);
  });

  test('waiting for DNS: what DNS said, and when it is asked again', async () => {
    const made = await world();
    const [id] = await made.send([{ to: ['a@not-served.example'] }]);
    const { wait, change } = await settled(made, id!, 'dns');
    expect(wait.untilMs).toBeGreaterThan(wait.sinceMs);
    expect(change).toMatch(/^an answer from DNS/);
  });

  test('waiting for a host that takes no connection: the site, and when it is probed', async () => {
    const made = await world({ sinks: { 'mx.sender.example': {} } });
    const [id] = await made.send([{ to: ['a@dest.example'] }]);
    const { wait, change } = await settled(made, id!, 'site');
    expect(wait.text).toMatch(/mx\.dest\.example.*ECONNREFUSED/);
    expect(wait.untilMs).toBeGreaterThan(wait.sinceMs);
    expect(change).toMatch(/^a host of the site/);
  });

  test('waiting for a connection: with which site', async () => {
    const made = await world({
      sinks: { ...MAIL.sinks, 'mx.dest.example': { delayMs: 1_500 } },
      delivery: { tls: 'none' },
      clock: systemClock(),
    });
    const [id] = await made.send([{ to: ['a@dest.example'] }]);
    const { wait, change } = await settled(made, id!, 'connection');
    expect(wait.text).toMatch(/^connecting to mx\.dest\.example/);
    expect(wait.untilMs).toBeNull();
    expect(wait.sinceMs).toBeLessThanOrEqual(Date.now());
    expect(change).toMatch(/^a connection to one of its hosts/);
  });

  test('rate-limited: the limit, and when the next may go', async () => {
    const made = await world({
      mta: { shaping: { domain: { 'dest.example': { messages_per_second: 0.01 } } } },
      clock: systemClock(),
    });
    const ids = await made.send([{ to: ['a@dest.example'] }, { to: ['b@dest.example'] }]);
    await waitFor(() => toDest(made) === 1, 'the first message');
    const [left] = await made.mta.queue({ domain: null, after: null, limit: 10 });
    expect(ids).toContain(left!.id.slice(0, -2));
    const { wait, change } = await settled(made, left!.id.slice(0, -2), 'rate');
    expect(wait.untilMs! - wait.sinceMs).toBeGreaterThan(10_000);
    expect(change).toMatch(/^time: the limit lets the next message go then/);
  });

  test('suspended by rule: which, and until when', async () => {
    const made = await world({
      sinks: {
        ...MAIL.sinks,
        'mx.dest.example': { onMessage: () => '550 5.7.1 your address is listed' },
      },
      delivery: { connections: 1 },
    });
    const ids = await made.send(
      Array.from({ length: 60 }, (_, n) => ({ to: [`u${n}@dest.example`] })),
    );
    const { wait, change } = await settled(made, ids.at(-1)!, 'rule');
    expect(wait.text).toContain('rests by rule: listed');
    expect(wait.untilMs! - wait.sinceMs).toBe(1_800_000);
    expect(change).toMatch(/^time: the rest ends then/);
  });

  test('scheduled by its sender', async () => {
    const made = await world();
    const at = Date.now() + 3_600_000 * 24;
    const id = await made.inject({ to: ['a@dest.example'], send_at: new Date(at).toISOString() });
    const { wait, change } = await settled(made, id, 'schedule');
    expect(wait.untilMs).toBe(at);
    expect(change).toMatch(/^time: its sender asked/);
  });
});
