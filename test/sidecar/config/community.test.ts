import { expect, test } from 'vitest';
import { communityLimits } from '../../../mta/community.ts';
import { mtaSchema } from '../../../mta/config.ts';

const of = (input: object, written: readonly string[] = []) =>
  communityLimits({ ...mtaSchema.parse(input), written: new Set(written) }).filter(
    ({ provider }) => provider === 'yahoo',
  );

test('each that comes with the program, and what outranks it', () => {
  const shaping = { provider: { yahoo: { connections: 1 } } };
  expect(of({ shaping }, ['retry', 'connections'])).toEqual([
    {
      provider: 'yahoo',
      name: 'connections',
      value: '5',
      outrankedBy: 'mta.shaping.provider.yahoo.connections',
    },
    { provider: 'yahoo', name: 'messages_per_connection', value: '20', outrankedBy: null },
    { provider: 'yahoo', name: 'recipients_per_message', value: '20', outrankedBy: null },
    { provider: 'yahoo', name: 'retry', value: '5m 15m 30m 1h 2h 4h', outrankedBy: 'mta.retry' },
  ]);
  expect(of({ shaping: { community: false } })).toEqual([]);
});
