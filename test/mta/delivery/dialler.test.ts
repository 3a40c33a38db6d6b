/** Whom one new connection calls, when, and how, as timetables; hosts are stood in for. */
import { describe, expect, test } from 'vitest';
import { mtaSchema } from '../../../mta/config.ts';
import { Dialler } from '../../../mta/delivery/dialler.ts';
import { HostHealth } from '../../../mta/delivery/hosts.ts';
import { Link } from '../../../mta/delivery/link.ts';
import type { Itinerary, NextTarget, Target } from '../../../mta/plan/route.ts';
import type { TlsPolicy } from '../../../mta/plan/site.ts';
import type { CloseCause } from '../../../mta/smtp/transaction.ts';
import { ManualClock } from '../../support/clock.ts';

const target = (host: string, rank = 0): Target => ({
  host,
  address: `192.0.2.${host.charCodeAt(0) - 96}`,
  port: 25,
  rank,
});

const REFUSED: CloseCause = { kind: 'connect', code: 'ECONNREFUSED' };
const BROKEN_TLS: CloseCause = { kind: 'tls', code: 'ERR_SSL', detail: 'x' } as never;

class Rig {
  readonly clock = new ManualClock();
  readonly hosts = new HostHealth(this.clock);
  /** "a none", as they were called. */
  readonly called: string[] = [];
  readonly hungUp: string[] = [];
  readonly #calls = new Map<
    string,
    { connected: boolean; onReady: () => void; onClosed: (cause: CloseCause) => void }
  >();

  dial(targets: readonly Target[], tls: TlsPolicy = 'opportunistic') {
    const left = [...targets];
    const itinerary: Itinerary = {
      next: async (): Promise<NextTarget> => {
        const next = left.shift();
        return next === undefined ? { kind: 'exhausted' } : { kind: 'target', target: next };
      },
      skipHost: () => undefined,
    };
    const dialler: Dialler = new Dialler({
      itinerary,
      hosts: this.hosts,
      config: mtaSchema.parse({}).delivery,
      tls,
      clock: this.clock,
      stopping: () => false,
      makeLink: (to) =>
        new Link(to, () => this.clock.monotonicMs(), {
          ready: () => undefined,
          next: () => null,
          outcome: () => undefined,
          closed: () => undefined,
        }),
      openLink: ((to: Target, mode: string, handlers: never) => {
        this.called.push(`${to.host} ${mode}`);
        const { onReady, onClosed } = handlers as {
          onReady(): void;
          onClosed(cause: CloseCause, untouched: readonly never[]): void;
        };
        const call = {
          connected: false,
          onReady,
          onClosed: (cause: CloseCause) => onClosed(cause, []),
        };
        this.#calls.set(to.host, call);
        return {
          get connected() {
            return call.connected;
          },
          destroy: () => {
            this.hungUp.push(to.host);
            onClosed({ kind: 'destroyed' }, []);
          },
        };
      }) as never,
    });
    return dialler.dial();
  }

  /** TCP has answered. */
  connects(host: string): void {
    this.#calls.get(host)!.connected = true;
  }

  ready(host: string): void {
    this.#calls.get(host)!.onReady();
  }

  fails(host: string, cause: CloseCause): void {
    this.#calls.get(host)!.onClosed(cause);
  }

  /** Promises settle, then so many ms pass. */
  async pass(delayMs: number): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.clock.advance(delayMs);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('addresses of equal rank race (RFC 8305)', () => {
  test('the next is called after 250 ms of silence, no sooner, and two at once at most', async () => {
    const rig = new Rig();
    void rig.dial([target('a'), target('b'), target('c')]);
    for (const step of [
      { passMs: 0, called: ['a opportunistic'] },
      { passMs: 249, called: ['a opportunistic'] },
      { passMs: 1, called: ['a opportunistic', 'b opportunistic'] },
      { passMs: 10_000, called: ['a opportunistic', 'b opportunistic'] },
    ]) {
      await rig.pass(step.passMs);
      expect(rig.called).toEqual(step.called);
    }
  });

  test.each(['a', 'b'])('the first that is ready wins: %s', async (winner) => {
    const rig = new Rig();
    const dialled = rig.dial([target('a'), target('b')]);
    await rig.pass(0);
    await rig.pass(250);
    rig.ready(winner);
    expect(await dialled).toMatchObject({ kind: 'ready', link: { target: { host: winner } } });
  });

  test('a host that has answered the call is given its time', async () => {
    const rig = new Rig();
    void rig.dial([target('a'), target('b')]);
    await rig.pass(100);
    rig.connects('a');
    await rig.pass(60_000);
    expect(rig.called).toEqual(['a opportunistic']);
  });

  test('one that refuses is followed at once', async () => {
    const rig = new Rig();
    void rig.dial([target('a'), target('b')]);
    await rig.pass(0);
    rig.fails('a', REFUSED);
    await rig.pass(0);
    expect(rig.called).toEqual(['a opportunistic', 'b opportunistic']);
  });

  test('a lower rank waits until the better one has failed', async () => {
    const rig = new Rig();
    const dialled = rig.dial([target('a'), target('b', 1)]);
    await rig.pass(0);
    await rig.pass(60_000);
    expect(rig.called).toEqual(['a opportunistic']);
    rig.fails('a', REFUSED);
    await rig.pass(0);
    expect(rig.called).toEqual(['a opportunistic', 'b opportunistic']);
    rig.fails('b', REFUSED);
    expect(await dialled).toMatchObject({ kind: 'failed', text: expect.stringMatching(/^b /) });
  });
});

describe('what is remembered of hosts', () => {
  test('one that did not answer lately is called last, for a minute', async () => {
    const rig = new Rig();
    rig.hosts.failed(target('a').address);
    void rig.dial([target('a'), target('b')]);
    await rig.pass(0);
    expect(rig.called).toEqual(['b opportunistic']);
    rig.fails('b', REFUSED);
    await rig.pass(0);
    expect(rig.called).toEqual(['b opportunistic', 'a opportunistic']);
    const later = new Rig();
    later.hosts.failed(target('a').address);
    later.clock.advance(60_000);
    void later.dial([target('a'), target('b')]);
    await later.pass(0);
    expect(later.called).toEqual(['a opportunistic']);
  });

  test('one whose TLS broke is spoken to in clear at once, and for an hour', async () => {
    const rig = new Rig();
    const dial = async (): Promise<void> => {
      void rig.dial([target('a')]);
      await rig.pass(0);
    };
    await dial();
    rig.fails('a', BROKEN_TLS);
    await rig.pass(0);
    rig.ready('a');
    await dial();
    rig.ready('a');
    rig.clock.advance(3_600_000);
    await dial();
    expect(rig.called).toEqual(['a opportunistic', 'a none', 'a none', 'a opportunistic']);
  });

  test.each(['require', 'verify'] as const)(
    'where policy is %s it is never spoken to in clear',
    async (tls) => {
      const rig = new Rig();
      rig.hosts.tlsFailed(target('a').address);
      const dialled = rig.dial([target('a')], tls);
      await rig.pass(0);
      rig.fails('a', BROKEN_TLS);
      expect(await dialled).toMatchObject({ kind: 'failed' });
      expect(rig.called).toEqual([`a ${tls}`]);
    },
  );
});
