/** The units are well-formed, confined as far as V8 lets them be, and agree with the configuration beside them. */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { formatEndpoint } from '../../runtime/settings.ts';
import { loadConfig } from '../../sidecar/config/load.ts';
import { blocksOf } from '../support/markdown.ts';
import { requirePeer } from '../support/peers.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url));
const UNITS = readdirSync(join(DEPLOY, 'systemd'));
const unit = (name: string): string => readFileSync(join(DEPLOY, 'systemd', name), 'utf8');
const { config } = loadConfig({
  file: join(DEPLOY, 'postilion.toml'),
  overrides: [],
  role: 'up',
});

/** Of 10, where 0 is no exposure. What remains is the network, netlink, and memory that V8 executes. */
const EXPOSURE_MAX = { postilion: 1.7, 'postilion-resolver': 1.3, 'postilion-mta': 1.3 } as const;

requirePeer('systemd-analyze')('systemd-analyze', () => {
  test('verify finds nothing', () => {
    const root = mkdtempSync(join(tmpdir(), 'postilion-units-'));
    onTestFinished(() => rmSync(root, { recursive: true }));
    const folder = join(root, 'lib/systemd/system');
    for (const each of ['lib/systemd/system', 'usr/bin', 'bin'])
      mkdirSync(join(root, each), { recursive: true });
    for (const name of readdirSync('/lib/systemd/system').filter((each) =>
      each.endsWith('.target'),
    ))
      copyFileSync(join('/lib/systemd/system', name), join(folder, name));
    for (const name of UNITS) copyFileSync(join(DEPLOY, 'systemd', name), join(folder, name));
    for (const program of ['usr/bin/postilion', 'bin/kill'])
      copyFileSync('/bin/true', join(root, program));
    // With the drop-in that the README has for port 53.
    const readme = blocksOf(join(DEPLOY, 'README.md'));
    const dropIn = readme.find(({ language }) => language === 'ini')!.text;
    expect(dropIn).toMatch(/^ListenDatagram=\nListenStream=\nListenDatagram=127\.0\.0\.2:53$/m);
    mkdirSync(join(folder, 'postilion-resolver.socket.d'));
    writeFileSync(join(folder, 'postilion-resolver.socket.d/override.conf'), `${dropIn}\n`);
    // Its manual page comes with the package.
    const args = ['verify', `--root=${root}`, '--man=no', ...UNITS];
    const { status, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });

  test.each(Object.entries(EXPOSURE_MAX))('%s.service is exposed by %d at most', (name, most) => {
    const file = join(DEPLOY, `systemd/${name}.service`);
    const args = ['security', '--offline=true', '--no-pager', `--threshold=${most * 10}`, file];
    const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain('Overall exposure level');
  });
});

test('sockets are those of the configuration', () => {
  const listen = config.resolver.listen.map(formatEndpoint);
  for (const name of ['postilion.socket', 'postilion-resolver.socket']) {
    for (const key of ['ListenDatagram', 'ListenStream']) {
      const bound = [...unit(name).matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, at]) => at);
      expect(bound).toEqual(listen);
    }
  }
  expect(config.resolver.fronts).toBe(1);
});

test.each([
  ['postilion.service', config.mta.drain + 15_000],
  ['postilion-mta.service', config.mta.drain + 15_000],
  ['postilion-resolver.service', config.resolver.deadline + 15_000],
])('%s gives time to stop in order', (name, neededMs) => {
  const [, seconds] = /^TimeoutStopSec=(\d+)s$/m.exec(unit(name)) ?? [];
  expect(Number(seconds) * 1000).toBeGreaterThanOrEqual(neededMs);
});

test('state is where the units let it be', () => {
  for (const path of [config.mta.spool, config.resolver.snapshot])
    expect(path).toMatch(/^\/var\/lib\/postilion\//);
});

test('what the configuration leaves commented is valid too', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postilion-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'postilion.toml');
  const text = readFileSync(join(DEPLOY, 'postilion.toml'), 'utf8');
  writeFileSync(file, text.replaceAll(/^#(?=\w+ +=)/gm, ''));
  const loaded = loadConfig({ file, overrides: [], role: 'up' });
  expect(loaded.config.resolver.listen.map(formatEndpoint)).toEqual(['127.0.0.2:53']);
  expect(loaded.config.mta.hostname).toBe('mta.example.net');
  expect(loaded.warnings).toEqual([]);
});
