import { expect, test } from 'vitest';
import { Metrics } from '../../../bench/load/metrics.ts';

const metrics = new Metrics(`# HELP a_total Help.
# TYPE a_total counter
a_total{type="MX",transport="udp"} 3
a_total{type="A",transport="udp"} 4
a_total{type="A",transport="tcp"} 1e2
a_total_more{type="A"} 9
plain 7.5
`);

test.each([
  ['a_total', {}, 107],
  ['a_total', { type: 'A' }, 104],
  ['a_total', { type: 'A', transport: 'udp' }, 4],
  ['plain', {}, 7.5],
  ['absent', {}, 0],
])('%s %j is %d', (name, labels, expected) => {
  expect(metrics.sum(name, labels)).toBe(expected);
});
