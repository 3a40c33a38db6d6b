/** From a profile to a chart. */
import { expect, it } from 'vitest';
import { type CpuProfile, flameSvg, frameTree, selfTimes } from '../../../bench/load/flame.ts';

const frame = (functionName: string, url = '', lineNumber = 0) => ({
  functionName,
  url,
  lineNumber,
});

// (root) ─ pump ─ write ; (root) ─ other ─ pump ; (root) ─ (idle) ; pump twice below (root)
const PROFILE: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(root)'), children: [2, 4, 5, 6] },
    { id: 2, callFrame: frame('pump', 'file:///x/mta/smtp/connection.ts', 7), children: [3] },
    { id: 3, callFrame: frame('write', 'node:net', 1) },
    { id: 4, callFrame: frame('(idle)') },
    { id: 5, callFrame: frame('pump', 'file:///x/mta/smtp/connection.ts', 7) },
    { id: 6, callFrame: frame('', 'file:///x/node_modules/a/b.js', 3) },
  ],
  samples: [2, 3, 4, 5, 6],
  timeDeltas: [100, 200, 5_000, 50, 30],
};

it('joins equal callees and leaves out idling', () => {
  const root = frameTree(PROFILE);
  expect([root.totalMicros, root.selfMicros]).toEqual([380, 0]);
  const [pump] = [...root.children.values()];
  expect([pump!.name, pump!.area, pump!.selfMicros, pump!.totalMicros]).toEqual([
    'pump',
    'mta/smtp',
    150,
    350,
  ]);
  expect(selfTimes(root, ({ area }) => area)).toEqual([
    ['node', 200],
    ['mta/smtp', 150],
    ['packages', 30],
    ['all', 0],
    ['native', 0],
  ]);
});

it('draws boxes as wide as their share, and leaves out what nobody could see', () => {
  const svg = flameSvg('a < b', frameTree(PROFILE));
  expect(svg).toContain('a &lt; b');
  expect(svg).toContain('<title>pump (mta/smtp) 92.1 %</title>');
  expect(svg).toContain('<title>anonymous:4 (packages) 7.9 %</title>');
  expect(svg).not.toContain('(idle)');
});
