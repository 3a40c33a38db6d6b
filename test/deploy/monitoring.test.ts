/** Alerts and dashboard name metrics that exist, with labels that they have; promtool runs the alerts. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { requirePeer } from '../support/peers.ts';

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const read = (path: string): string => readFileSync(at(path), 'utf8');

/** What the programs export; a test of its own holds that page equal to their registries. */
const METRICS = new Map(
  [...read('docs/reference/metrics.md').matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]*)\|/gm)].map(
    ([, name, type, labels]) => [
      name!,
      { type: type!, labels: [...labels!.matchAll(/`(\w+)`/g)].map((match) => match[1]!) },
    ],
  ),
);
const RULES = 'deploy/prometheus/rules.yml';
const FILES = [RULES, 'deploy/grafana/postilion.json'] as const;
/** Those that Prometheus itself adds. */
const TARGET_LABELS = ['instance', 'job'];

const strippedName = (name: string): string => name.replace(/_(?:bucket|sum|count)$/, '');

test('metrics follow the convention', () => {
  expect(METRICS.size).toBeGreaterThan(40);
  for (const [name, { type }] of METRICS) {
    expect(name).toMatch(/^postilion_(?:dns|mta)_[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/);
    expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
    expect(name).not.toMatch(/_(?:ms|milliseconds|kb|mb|minutes|hours)(?:_total)?$/);
  }
});

test.each(FILES)('%s names only metrics and labels that exist', (file) => {
  const text = read(file).replaceAll('\\"', '"');
  const uses = [...text.matchAll(/\b(postilion_(?:dns|mta)_\w+)(?:\{([^}]*)\})?/g)];
  expect(uses.length).toBeGreaterThan(10);
  for (const [, name, selector = ''] of uses) {
    const metric = METRICS.get(name!) ?? METRICS.get(strippedName(name!));
    expect([name, metric !== undefined]).toEqual([name, true]);
    for (const [, label] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)) {
      expect([...metric!.labels, ...TARGET_LABELS]).toContain(label);
    }
  }
});

test('panels of the dashboard have ids and places of their own', () => {
  const { panels } = JSON.parse(read(FILES[1])) as {
    readonly panels: readonly { readonly id: number; readonly gridPos: object }[];
  };
  const distinct = (values: readonly unknown[]) =>
    new Set(values.map((value) => JSON.stringify(value))).size;
  expect(distinct(panels.map(({ id }) => id))).toBe(panels.length);
  expect(distinct(panels.map(({ gridPos }) => gridPos))).toBe(panels.length);
});

requirePeer('promtool')('promtool', () => {
  const promtool = (...args: readonly string[]) =>
    spawnSync('promtool', args, { encoding: 'utf8', cwd: at('deploy/prometheus') });

  test('accepts configuration and rules', () => {
    const { status, stdout, stderr } = promtool('check', 'config', 'prometheus.yml');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain('1 rule files found');
  });

  test('every alert fires where it should and is quiet where it should be', () => {
    const { status, stdout, stderr } = promtool('test', 'rules', 'rules.test.yml');
    expect([status, stderr, stdout.includes('SUCCESS')]).toEqual([0, '', true]);
    const tried = read('deploy/prometheus/rules.test.yml');
    const alerts = [...read(RULES).matchAll(/- alert: (\w+)/g)].map(([, name]) => name!);
    expect(alerts.length).toBeGreaterThan(10);
    for (const alert of alerts) {
      expect(tried).toContain(`name: ${alert} fires`);
      expect(tried).toContain(`name: ${alert} is quiet`);
    }
  }, 120_000);
});
