/** Domains that DNS holds up: when they are asked for again, by time, by an operator, and when DNS recovers. */
import { describe, expect, test } from 'vitest';
import type { DeliveryDeps } from '../../../mta/delivery/deps.ts';
import { Domains } from '../../../mta/delivery/domains.ts';
import { Suspensions } from '../../../mta/delivery/suspensions.ts';
import type { RouteResult } from '../../../mta/plan/route.ts';
import { ManualClock } from '../../support/clock.ts';

const FIRST_WAIT_MS = 15_000;

function rig(about: (domain: string) => string = (domain) => domain) {
  const clock = new ManualClock();
  const asked: string[] = [];
  const forgotten: string[] = [];
  const router = {
    route: async (domain: string): Promise<RouteResult> => {
      asked.push(domain);
      return { kind: 'trouble', reachable: true, text: 'SERVFAIL', about: about(domain) };
    },
    peek: () => null,
    forgetTrouble: (domain: string, name: string | null) =>
      void forgotten.push(`${domain} ${name}`),
  };
  const domains = new Domains({
    deps: {
      clock,
      router,
      random: { integer: () => 0, fraction: () => 0.5 },
    } as unknown as DeliveryDeps,
    suspensions: new Suspensions(null),
    siteQueue: () => {
      throw new Error('there is no route');
    },
    refuse: () => undefined,
    takeLocally: () => false,
  });
  const hold = async (names: readonly string[]): Promise<void> => {
    for (const name of names) domains.due(name, 0);
    await settle();
    asked.splice(0);
  };
  return { clock, domains, asked, forgotten, hold };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('DNS has recovered', () => {
  test('with a name: the domains that it held up are asked for, as a domain or as a host', async () => {
    const { domains, asked, forgotten, hold } = rig((domain) =>
      domain.startsWith('via-') ? 'mx.example.net' : domain,
    );
    await hold(['a.example', 'via-1.example', 'b.example', 'via-2.example']);
    domains.recovered('mx.example.net');
    domains.recovered('b.example');
    domains.recovered('stranger.example');
    await settle();
    expect(asked).toEqual(['via-1.example', 'via-2.example', 'b.example']);
    // Or the router would repeat what it remembers.
    expect(forgotten).toEqual([
      'via-1.example mx.example.net',
      'via-2.example mx.example.net',
      'b.example b.example',
    ]);
  });

  test('as a whole: all are asked for, 500 a second', async () => {
    const { domains, asked, hold } = rig();
    await hold(Array.from({ length: 1_200 }, (_, n) => `d${n}.example`));
    domains.recovered(null);
    await settle();
    const counts = [asked.length];
    for (let second = 0; second < 3; second += 1) {
      domains.releaseRecovered();
      await settle();
      counts.push(asked.length);
    }
    expect(counts).toEqual([500, 1_000, 1_200, 1_200]);
    expect(new Set(asked).size).toBe(1_200);
  });

  test('in vain: it is held since the same instant, and its waits begin anew', async () => {
    const { clock, domains, hold } = rig();
    await hold(['a.example']);
    const { sinceMs } = domains.waitOf('a.example')!;
    // Twice in vain by time: the wait is four times the first by now.
    for (const waitMs of [FIRST_WAIT_MS, 2 * FIRST_WAIT_MS]) {
      clock.advance(waitMs);
      await settle();
    }
    expect(domains.waitOf('a.example')!.untilMs! - clock.wallMs()).toBe(4 * FIRST_WAIT_MS);
    domains.recovered('a.example');
    await settle();
    const after = domains.waitOf('a.example')!;
    expect([after.sinceMs, after.untilMs! - clock.wallMs()]).toEqual([sinceMs, FIRST_WAIT_MS]);
  });
});

test('an operator who wants it tried does not wait either', async () => {
  const { domains, asked, forgotten, hold } = rig();
  await hold(['a.example', 'b.example']);
  domains.hurry('a.example', false);
  await settle();
  expect(asked).toEqual(['a.example']);
  expect(forgotten).toEqual(['a.example a.example']);
});

test('routes of 512 domains are looked up at once; what is known does not wait for its turn', async () => {
  const clock = new ManualClock();
  const pending: { readonly domain: string; answer(): void }[] = [];
  const trouble: RouteResult = { kind: 'trouble', reachable: true, text: 'SERVFAIL' };
  const router = {
    peek: (domain: string) => (domain.startsWith('known') ? trouble : null),
    route: (domain: string) =>
      new Promise<RouteResult>((resolve) => {
        pending.push({ domain, answer: () => resolve(trouble) });
      }),
  };
  const domains = new Domains({
    deps: { clock, router, random: { fraction: () => 0.5 } } as unknown as DeliveryDeps,
    suspensions: new Suspensions(null),
    siteQueue: () => {
      throw new Error('there is no route');
    },
    refuse: () => undefined,
    takeLocally: () => false,
  });
  for (let n = 0; n < 1_000; n += 1) domains.due(`d${n}.example`, 0);
  // It is there already, and waits once.
  domains.due('d700.example', 0);
  domains.due('known.example', 0);
  expect(pending.map(({ domain }) => domain)).toEqual([
    ...Array.from({ length: 512 }, (_, n) => `d${n}.example`),
    'known.example',
  ]);
  const asked: string[] = [];
  for (let answered = 0; answered < 1_001; answered += 1) {
    const { domain, answer } = pending.shift()!;
    asked.push(domain);
    answer();
    await settle();
    // One more than 512 while the known one was among them.
    expect(pending.length).toBeLessThanOrEqual(512);
  }
  expect(new Set(asked).size).toBe(1_001);
  expect(asked.slice(513, 515)).toEqual(['d512.example', 'd513.example']);
  expect(domains.heldCount).toBe(1_001);
});
