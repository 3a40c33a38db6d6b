import { describe, expect, test } from 'vitest';
import { Allotment } from '../../../mta/delivery/allotment.ts';

describe('allotment', () => {
  test('who finds none is called back in order of arrival', () => {
    const slots = new Allotment(1);
    const calls: string[] = [];
    const taker = (name: string) => {
      const retry = (): void => {
        if (slots.take(1, retry)) calls.push(name);
      };
      return retry;
    };
    const [first, second, third] = [taker('first'), taker('second'), taker('third')];
    first();
    second();
    third();
    second();
    expect([calls, slots.waiting]).toEqual([['first'], 2]);
    slots.giveBack(1);
    slots.giveBack(1);
    expect([calls, slots.waiting]).toEqual([['first', 'second', 'third'], 0]);
  });

  test('a waiter that no longer wants any does not stop the line', () => {
    const slots = new Allotment(1);
    const calls: string[] = [];
    slots.take(1, () => undefined);
    slots.take(1, () => calls.push('declined'));
    slots.take(1, () => {
      slots.take(1, () => undefined);
      calls.push('took');
    });
    slots.giveBack(1);
    expect([calls, slots.taken]).toEqual([['declined', 'took'], 1]);
  });

  test('one that left is not called', () => {
    const slots = new Allotment(1);
    const calls: string[] = [];
    const retry = (): void => void calls.push('called');
    slots.take(1, retry);
    slots.take(1, retry);
    slots.leave(retry);
    slots.giveBack(1);
    expect(calls).toEqual([]);
  });
});
