/** Who watches: how many, what is made for them, and who is hung up on. */
import { describe, expect, test } from 'vitest';
import { Hub, type HubDeps } from '../../../sidecar/dashboard/hub.ts';
import { CLIENTS_MAX, type Client, Live } from '../../../sidecar/dashboard/live.ts';
import { NoAnswer, type Program } from '../../../sidecar/dashboard/program.ts';
import { ManualClock } from '../../support/clock.ts';
import { DNS_PART, dnsSample, MAIL_PART, mailSample, NOW_MS } from './fixture.ts';

const settle = () => new Promise((resolve) => setImmediate(resolve));

class Listener implements Client {
  written = '';
  writableLength = 0;
  destroyed = false;
  write(text: string): void {
    this.written += text;
  }
  destroy(): void {
    this.destroyed = true;
  }
  get events(): string[] {
    return [...this.written.matchAll(/^event: (\w+)$/gm)].map((match) => match[1]!);
  }
}

function hubOf(other: Program, more: Partial<HubDeps> = {}) {
  const clock = new ManualClock();
  let made = 0;
  const samples = [mailSample(NOW_MS - 1_000), mailSample(NOW_MS, { delivered: 4 })];
  const hub = new Hub({
    self: 'mta',
    own: {
      async state() {
        made += 1;
        return { ...MAIL_PART, samples };
      },
      past: () => ({ fine: samples, coarse: [] }),
    },
    other,
    together: false,
    actions: false,
    hostname: 'mta.example.net',
    clock,
    ...more,
  });
  return { hub, clock, made: () => made };
}

const away: Program = {
  ask: async () => {
    throw new NoAnswer('nothing answers at 127.0.0.1:1');
  },
};

const resolver: Program = {
  async ask({ path }) {
    const samples = [dnsSample(NOW_MS - 1_000), dnsSample(NOW_MS, { queries: 9 })];
    const body = path === '/v1/state' ? { ...DNS_PART, samples } : { fine: samples, coarse: [] };
    return { status: 200, body };
  },
};

describe('Hub', () => {
  test('both programs, each as it answers', async () => {
    const { hub } = hubOf(resolver);
    const { tick, state } = await hub.frame();
    expect([tick.mail?.row.delivered, tick.dns?.row.lookups]).toEqual([4, 9]);
    expect([state.self, state.mailAbsent, state.dnsAbsent]).toEqual(['mta', null, null]);
    expect(JSON.stringify(state)).not.toContain('samples');
    expect((await hub.history()).fine.dns.columns.lookups).toEqual([9]);
  });

  test('one that is away is told of, and costs the other nothing', async () => {
    const { hub } = hubOf(away);
    const { tick, state } = await hub.frame();
    expect([state.dns, state.dnsAbsent]).toEqual([null, 'nothing answers at 127.0.0.1:1']);
    expect(tick.verdicts.dns.level).toBe('none');
    expect(tick.mail?.row.delivered).toBe(4);
    const history = await hub.history();
    expect([history.fine.dns.atMs, history.fine.mail.atMs]).toEqual([[], [NOW_MS]]);
  });

  test('one that is away though it was started with us is wrong', async () => {
    const { tick } = await hubOf(away, { together: true }).hub.frame();
    expect(tick.verdicts.dns.level).toBe('bad');
  });

  test('a refusal is told in its own words', async () => {
    const body = {
      error: { code: 'ADMIN_CLIENT', message: '127.0.0.1 is not among the networks' },
    };
    const { hub } = hubOf({ ask: async () => ({ status: 403, body }) });
    expect((await hub.frame()).state.dnsAbsent).toBe('127.0.0.1 is not among the networks');
  });

  test('a frame is made once, however many ask', async () => {
    const { hub, clock, made } = hubOf(away);
    await Promise.all([hub.frame(), hub.frame(), hub.frame()]);
    expect(made()).toBe(1);
    clock.advance(500);
    await hub.frame();
    expect(made()).toBe(2);
  });
});

describe('Live', () => {
  test('everything at once, then a tick each second and the tables every third', async () => {
    const { hub, clock } = hubOf(away);
    const live = new Live(hub, clock);
    const client = new Listener();
    live.join(client);
    await settle();
    expect(client.events).toEqual(['state', 'tick']);
    for (let second = 0; second < 3; second += 1) {
      clock.advance(1_000);
      await settle();
    }
    expect(client.events).toEqual(['state', 'tick', 'tick', 'tick', 'state', 'tick']);
    live.stop();
    expect([client.destroyed, clock.timers]).toEqual([true, 0]);
  });

  test('with nobody there nothing is made', async () => {
    const { hub, clock, made } = hubOf(away);
    const live = new Live(hub, clock);
    const leave = live.join(new Listener())!;
    await settle();
    leave();
    for (let second = 0; second < 5; second += 1) clock.advance(1_000);
    await settle();
    expect([made(), clock.timers]).toEqual([1, 0]);
  });

  test('who does not read is hung up on, and others are not', async () => {
    const { hub, clock } = hubOf(away);
    const live = new Live(hub, clock);
    const [slow, quick] = [new Listener(), new Listener()];
    live.join(slow);
    live.join(quick);
    await settle();
    slow.writableLength = 2_000_000;
    clock.advance(1_000);
    await settle();
    expect([slow.destroyed, quick.destroyed, live.clients]).toEqual([true, false, 1]);
    live.stop();
  });

  test('so many and no more', () => {
    const { hub, clock } = hubOf(away);
    const live = new Live(hub, clock);
    const leaves = Array.from({ length: CLIENTS_MAX }, () => live.join(new Listener()));
    expect(live.join(new Listener())).toBeNull();
    leaves[0]!();
    expect(live.join(new Listener())).not.toBeNull();
    live.stop();
  });
});
