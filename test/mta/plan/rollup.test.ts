import { expect, test } from 'vitest';
import { Rollup } from '../../../mta/plan/rollup.ts';

const EOP = ['192.0.2.1', '192.0.2.2'];
const ADDRESSES: Readonly<Record<string, readonly string[]>> = {
  'a-com.mail.protection.example': EOP,
  'b-com.mail.protection.example': EOP.toReversed(),
  'c-com.mail.protection.example': ['192.0.2.1'],
  'b-com.mail.elsewhere.example': EOP,
  top: EOP,
  other: EOP,
};
const addressesOf = (host: string) => ADDRESSES[host] ?? null;

test.each([
  { title: 'the first name stands for itself', host: 'a-com.mail.protection.example' },
  {
    title: 'a sibling with the same addresses goes by it',
    host: 'b-com.mail.protection.example',
    stands: 'a-com.mail.protection.example',
  },
  { title: 'one with others does not', host: 'c-com.mail.protection.example' },
  { title: 'nor one below another parent', host: 'b-com.mail.elsewhere.example' },
  { title: 'nor one whose addresses are not known', host: 'd-com.mail.protection.example' },
  { title: 'nor a name without a parent', host: 'other' },
])('$title', ({ host, stands = host }) => {
  const rollup = new Rollup();
  rollup.ranksOf([['a-com.mail.protection.example']], addressesOf);
  rollup.ranksOf([['top']], addressesOf);
  expect(rollup.ranksOf([[host], ['backup.example']], addressesOf)).toEqual([
    [stands],
    ['backup.example'],
  ]);
});

test('when DNS gives a host other addresses, it is itself again', () => {
  const rollup = new Rollup();
  rollup.ranksOf([['a-com.mail.protection.example']], () => EOP);
  const ranks = [['b-com.mail.protection.example']];
  expect(rollup.ranksOf(ranks, () => EOP)).toEqual([['a-com.mail.protection.example']]);
  expect(rollup.ranksOf(ranks, () => ['198.51.100.1'])).toBe(ranks);
});
