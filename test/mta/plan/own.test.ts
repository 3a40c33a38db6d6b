/** Wildcard listeners stand for every address of their family. */
import { expect, test } from 'vitest';
import { ownEndpoints } from '../../../mta/plan/own.ts';

const interfaces = ['127.0.0.1', '192.0.2.1', '::1'];

test.each([
  ['192.0.2.1', ['192.0.2.1']],
  ['0.0.0.0', ['127.0.0.1', '192.0.2.1']],
  ['::', ['127.0.0.1', '192.0.2.1', '::1']],
])('%s', (address, expected) => {
  expect(ownEndpoints([{ address, port: 2525 }], interfaces)).toEqual(
    expected.map((own) => ({ address: own, port: 2525 })),
  );
});
