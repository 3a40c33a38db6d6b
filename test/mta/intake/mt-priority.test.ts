import { expect, test } from 'vitest';
import { readPriority } from '../../../mta/intake/mt-priority.ts';

test.each([
  ['-9', 'bulk'],
  ['-1', 'bulk'],
  ['0', 'normal'],
  ['3', 'normal'],
  ['4', 'urgent'],
  ['9', 'urgent'],
  ['10', null],
  ['-0', null],
  ['+1', null],
  ['', null],
] as const)('%s is %s', (value, priority) => {
  expect(readPriority(value)).toBe(priority);
});
