/** What `config show` tells. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { effectiveSettings, effectiveToml } from '../../../sidecar/config/effective.ts';
import { loadConfig } from '../../../sidecar/config/load.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postilion-effective-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const WRITTEN = `[resolver]
listen = ["127.0.0.2:53"]
upstreams = ["192.0.2.53"]

[mta]
hostname = ""
[mta.users]
anna = "secret"
[mta.delivery]
port = 25 # as it is anyway
`;

function show(source: string) {
  const file = join(folder, 'p.toml');
  writeFileSync(file, source);
  const loaded = loadConfig({ file, overrides: [], role: 'up' });
  return { loaded, file, settings: effectiveSettings(loaded) };
}

test('each value has its origin', () => {
  const { settings } = show(WRITTEN);
  const of = (key: string) => settings.find(({ path }) => path.join('.') === key);
  expect(of('resolver.listen')).toMatchObject({
    text: '["127.0.0.2:53"]',
    origin: 'file',
    line: 2,
  });
  expect(of('mta.dns')).toMatchObject({ text: '"127.0.0.2:53"', origin: 'derived', line: null });
  expect(of('mta.hostname')).toMatchObject({ origin: 'derived' });
  expect(of('mta.delivery.port')).toMatchObject({ text: '25', origin: 'file', line: 10 });
  expect(of('mta.spool')).toMatchObject({ text: '"./spool"', origin: 'default' });
  expect(of('mta.users')?.text).toBe('{ "anna" = "(hidden)" }');
});

test('no secret is shown', () => {
  const { settings, file } = show(`[resolver]
cookie_secrets = ["00112233445566778899aabbccddeeff"]
[mta.users]
anna = "00112233445566778899aabbccddeeff"
bert = { password = "00112233445566778899aabbccddeeff", tenant = "acme" }
[mta.webhooks.crm]
url = "https://crm.example/"
secret = "00112233445566778899aabbccddeeff"
`);
  const text = effectiveToml(settings, file);
  expect(text).not.toContain('00112233');
  expect(text.match(/\(hidden\)/g)).toHaveLength(4);
  expect(text).toContain('"tenant" = "acme"');
});

test('the TOML gives the same configuration when read again', () => {
  const { loaded, settings, file } = show(WRITTEN);
  const again = show(effectiveToml(settings, file)).loaded.config;
  expect(JSON.stringify({ ...again.mta, users: null })).toBe(
    JSON.stringify({ ...loaded.config.mta, users: null }),
  );
  expect(JSON.stringify(again.log)).toBe(JSON.stringify(loaded.config.log));
});

test('without a file all is default or derived', () => {
  const origins = effectiveSettings(loadConfig({ file: null, overrides: [], role: 'up' }));
  expect(new Set(origins.map(({ origin }) => origin))).toEqual(new Set(['default', 'derived']));
});
