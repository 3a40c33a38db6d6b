import { expect, test } from 'vitest';
import { HostMemory, isLastRung, LADDER } from '../../../mta/smtp/manners.ts';
import { TicketCache } from '../../../mta/smtp/tickets.ts';
import { ManualClock } from '../../support/clock.ts';

const HOUR_MS = 3_600_000;

test('a host goes down rung by rung, once per rung, and climbs again by being forgotten', () => {
  const clock = new ManualClock(0);
  const hosts = new HostMemory(clock);
  const [top, first, second, third] = LADDER;
  expect(hosts.mannersOf('mx')).toEqual({ mode: 'window', chunking: true });
  hosts.stepDown('mx', top!);
  expect(hosts.mannersOf('mx')).toEqual({ mode: 'overlap', chunking: true });
  hosts.stepDown('mx', top!);
  hosts.stepDown('mx', first!);
  // Other connections of the same time stumble over the same rung.
  hosts.stepDown('mx', first!);
  expect(hosts.mannersOf('mx')).toEqual({ mode: 'pipelined', chunking: false });
  hosts.stepDown('mx', second!);
  hosts.stepDown('mx', first!);
  expect(hosts.mannersOf('mx')).toEqual({ mode: 'lockstep', chunking: false });
  hosts.stepDown('mx', third!);
  expect(hosts.mannersOf('mx')).toBe(third);
  expect(hosts.mannersOf('other')).toBe(top);
  clock.advance(6 * HOUR_MS - 1);
  expect(hosts.mannersOf('mx')).toBe(third);
  clock.advance(2);
  expect(hosts.mannersOf('mx')).toBe(top);
});

test('the last rung is the last', () => {
  expect(LADDER.map(isLastRung)).toEqual([false, false, false, true]);
});

test('both memories are bounded', () => {
  const clock = new ManualClock();
  const hosts = new HostMemory(clock);
  for (let index = 0; index < 10_500; index += 1) hosts.stepDown(`mx${index}`, LADDER[0]!);
  expect(hosts.size).toBe(10_000);
  const tickets = new TicketCache(clock);
  const verdict = {
    protocol: 'TLSv1.3',
    cipher: 'TLS_AES_256_GCM_SHA384',
    resumed: false,
    verified: true,
    fault: null,
  };
  for (let index = 0; index < 5_500; index += 1) {
    tickets.set(`require mx${index} 25`, { session: Buffer.alloc(1), verdict });
  }
  expect(tickets.size).toBe(5_000);
  clock.advance(2 * HOUR_MS + 1);
  expect(tickets.get('require mx5499 25')).toBeUndefined();
});
