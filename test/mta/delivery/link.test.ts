/** When a connection has had its day: bounds in time, so that a slow host cannot collect them all. */
import { describe, expect, test } from 'vitest';
import { mtaSchema } from '../../../mta/config.ts';
import { Link } from '../../../mta/delivery/link.ts';

const CONFIG = mtaSchema.parse({ delivery: { idle: '20s', connection_age: '5m' } }).delivery;

/** Opened at 0. @param idleSinceMs null is busy */
function link(idleSinceMs: number | null) {
  let quits = 0;
  const made = new Link({ host: 'a', address: '192.0.2.1', port: 25, rank: 0 }, () => 0, {
    ready: () => undefined,
    next: () => null,
    outcome: () => undefined,
    closed: () => undefined,
  });
  void made.open(
    (() => ({ openedAtMs: 0, idleSinceMs, quit: () => (quits += 1) })) as never,
    'opportunistic',
  );
  return { made, quits: () => quits };
}

describe('a connection', () => {
  test.each([
    { idleSinceMs: 0, atMs: 19_999, quits: 0, why: 'may yet be used' },
    { idleSinceMs: 0, atMs: 20_000, quits: 1, why: 'has idled long enough' },
    { idleSinceMs: 299_000, atMs: 299_999, quits: 0, why: 'is young enough' },
    { idleSinceMs: 299_000, atMs: 300_000, quits: 1, why: 'is too old' },
    { idleSinceMs: null, atMs: 900_000, quits: 0, why: 'is busy' },
  ])('idle since $idleSinceMs, at $atMs ms: $why', ({ idleSinceMs, atMs, quits }) => {
    const one = link(idleSinceMs);
    one.made.tidy(atMs, CONFIG);
    expect(one.quits()).toBe(quits);
  });

  test('that is busy is closed between two messages once it is old', () => {
    const { made } = link(null);
    expect([made.aged(299_999, CONFIG), made.aged(300_000, CONFIG)]).toEqual([false, true]);
  });
});
