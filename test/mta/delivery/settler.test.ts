import { describe, expect, test } from 'vitest';
import { Settler } from '../../../mta/delivery/settler.ts';
import type { Submission } from '../../../mta/envelope.ts';
import { MessageNotSigned, SpoolUnavailable } from '../../../mta/errors.ts';
import type { Settlement, Spool } from '../../../mta/spool/spool.ts';
import { silentLog } from '../../../runtime/log.ts';
import { ManualClock } from '../../support/clock.ts';

const done = (message: number): Settlement => ({ key: { message, index: 0 }, kind: 'done' });
const notice: Submission = {
  envelope: { reversePath: '', recipients: [], body: '7bit', smtpUtf8: false },
  content: new Uint8Array(),
  receivedAtMs: 0,
  origin: 'dsn',
};

/** A spool whose settle() waits for the test, call by call. */
function controlledSpool() {
  const calls: {
    settlements: readonly Settlement[];
    notices: readonly Submission[];
    resolve(): void;
    fail(): void;
  }[] = [];
  let nextId = 100;
  const spool = {
    settle: (settlements: readonly Settlement[], notices: readonly Submission[]) =>
      new Promise<number[]>((resolve, reject) => {
        calls.push({
          settlements,
          notices,
          resolve: () => resolve(notices.map(() => nextId++)),
          fail: () => reject(new SpoolUnavailable('full', 'disk full')),
        });
      }),
  } as Pick<Spool, 'settle'> as Spool;
  return { spool, calls };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('settler', () => {
  test('what arrives while the spool is busy forms one next batch', async () => {
    const { spool, calls } = controlledSpool();
    const settler = new Settler({
      spool,
      clock: new ManualClock(),
      log: silentLog,
      sign: async (notice) => notice,
    });
    settler.add([done(1)], [], () => undefined);
    settler.add([done(2)], [], () => undefined);
    await turn();
    settler.add([done(3)], [], () => undefined);
    settler.add([done(4)], [], () => undefined);
    expect(calls.map(({ settlements }) => settlements.length)).toEqual([2]);
    calls[0]!.resolve();
    await turn();
    expect(calls.map(({ settlements }) => settlements.length)).toEqual([2, 2]);
    calls[1]!.resolve();
    await settler.idle();
  });

  test('each entry hears of its own notices', async () => {
    const { spool, calls } = controlledSpool();
    const settler = new Settler({
      spool,
      clock: new ManualClock(),
      log: silentLog,
      sign: async (notice) => notice,
    });
    const heard: unknown[] = [];
    settler.add([done(1)], [notice, notice], (ids) => heard.push(['first', ...ids]));
    settler.add([done(2)], [], (ids) => heard.push(['second', ...ids]));
    settler.add([done(3)], [notice], (ids) => heard.push(['third', ...ids]));
    for (const call of [0, 1]) {
      await turn();
      calls[call]!.resolve();
    }
    await settler.idle();
    expect(heard).toEqual([['second'], ['first', 100, 101], ['third', 102]]);
  });

  test('a notice that cannot be signed holds up its own outcomes only, and those until it can', async () => {
    const { spool, calls } = controlledSpool();
    const clock = new ManualClock();
    let broken = true;
    const sign = async (unsigned: Submission): Promise<Submission> => {
      if (broken) throw new MessageNotSigned('no key');
      return { ...unsigned, origin: 'signed' };
    };
    const settler = new Settler({ spool, clock, log: silentLog, sign });
    settler.add([done(1)], [notice], () => undefined);
    settler.add([done(2)], [], () => undefined);
    await turn();
    calls[0]!.resolve();
    await turn();
    expect(calls.map(({ settlements }) => settlements)).toEqual([[done(2)]]);
    broken = false;
    clock.advance(1_000);
    await turn();
    expect(calls[1]!.settlements).toEqual([done(1)]);
    expect(calls[1]!.notices[0]!.origin).toBe('signed');
    calls[1]!.resolve();
    await settler.idle();
  });

  test('a full disk delays outcomes and loses none', async () => {
    const { spool, calls } = controlledSpool();
    const clock = new ManualClock();
    const settler = new Settler({ spool, clock, log: silentLog, sign: async (notice) => notice });
    let settled = 0;
    settler.add([done(1)], [], () => (settled += 1));
    await turn();
    calls[0]!.fail();
    await turn();
    expect([calls.length, settled]).toEqual([1, 0]);
    clock.advance(1_000);
    await turn();
    expect(calls[1]!.settlements).toEqual([done(1)]);
    calls[1]!.resolve();
    await settler.idle();
    expect(settled).toBe(1);
  });

  test('it is saturated while more than twenty thousand outcomes wait', async () => {
    const { spool, calls } = controlledSpool();
    const settler = new Settler({
      spool,
      clock: new ManualClock(),
      log: silentLog,
      sign: async (notice) => notice,
    });
    const many = Array.from({ length: 20_001 }, (_, message) => done(message));
    settler.add(many, [], () => undefined);
    expect(settler.saturated()).toBe(true);
    await turn();
    calls[0]!.resolve();
    await settler.idle();
    expect(settler.saturated()).toBe(false);
  });
});
