import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { Crowd } from '../../../resolver/listen/tcp.ts';

const from = (address: string): Socket =>
  Object.assign(new EventEmitter(), { remoteAddress: address }) as unknown as Socket;

test('one address gets so many connections, and another when one is closed; we get them all', () => {
  const crowd = new Crowd(2);
  const first = from('192.0.2.1');
  const admitted = [first, from('192.0.2.1'), from('192.0.2.1'), from('192.0.2.2')].map((it) =>
    crowd.admit(it),
  );
  expect(admitted).toEqual([true, true, false, true]);
  first.emit('close');
  expect([crowd.admit(from('192.0.2.1')), crowd.admit(from('192.0.2.1'))]).toEqual([true, false]);
  for (let count = 0; count < 99; count += 1)
    expect(crowd.admit(from('::ffff:127.0.0.1'))).toBe(true);
});
