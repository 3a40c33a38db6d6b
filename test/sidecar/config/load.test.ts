/** A configuration is taken whole or refused whole, with every error and its line. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Role } from '../../../sidecar/config/checks.ts';
import { loadConfig, type Override, parseChecked } from '../../../sidecar/config/load.ts';
import { ConfigInvalid } from '../../../sidecar/config/problems.ts';

const folder = mkdtempSync(join(tmpdir(), 'postilion-config-'));
const file = join(folder, 'p.toml');
afterAll(() => rmSync(folder, { recursive: true }));

interface Given {
  readonly role?: Role;
  readonly overrides?: readonly Override[];
}

function load(source: string, { role = 'up', overrides = [] }: Given = {}) {
  writeFileSync(file, source, { mode: 0o600 });
  return loadConfig({ file, overrides, role });
}

function errorsOf(source: string, given?: Given): readonly string[] {
  try {
    load(source, given);
  } catch (error) {
    if (error instanceof ConfigInvalid)
      return error.lines.map((line) => line.replaceAll(file, 'F'));
    throw error;
  }
  return [];
}

const REFUSED: readonly (readonly [source: string, errors: readonly string[]])[] = [
  [
    '[mta.feedback]\nverp = "bounces.example.net"',
    [
      'F:1: mta.feedback.secrets: is empty, and mta.feedback.verp needs one',
      'F:2: mta.feedback.verp: is not among mta.feedback.domains',
    ],
  ],
  [
    '[mta.feedback]\ndomains = ["b.example"]\nforward = "a@B.example"',
    ['F:3: mta.feedback.forward: is in one of mta.feedback.domains, so mail would go round'],
  ],
  [
    '[mta.tlsrpt]\nfrom = "me"',
    ['F:2: mta.tlsrpt.from: is no address such as "reports@example.com"'],
  ],
  ['[resolver]\nlisen = []', ['F:2: resolver.lisen: unknown key; did you mean "listen"?']],
  ['[resolvr]', ['F:1: resolvr: unknown key; did you mean "resolver"?']],
  [
    '[frobnicate]\na = 1',
    ['F:1: frobnicate: unknown key; known here are "resolver", "mta", "admin", "log", "upgrade"'],
  ],
  ['[mta]\nport = 25', ['F:2: mta.port: unknown key here; "port" belongs under [mta.delivery]']],
  [
    '[resolver]\nlisten = [\n"127.0.0.1:53",\n"localhost:53"]',
    [
      'F:4: resolver.listen[1]: "localhost:53" is not an address; write for example "127.0.0.1:5335" or "[::1]:5335"',
    ],
  ],
  [
    '[resolver]\nlisten = "127.0.0.1"',
    ['F:2: resolver.listen: expected a list, not "127.0.0.1"; write ["127.0.0.1"]'],
  ],
  [
    '[mta]\nusers.joe = 12345',
    ['F:2: mta.users.joe: expected a string in quotes or a table, not what is there'],
  ],
  [
    '[mta.users.joe]\npassword = "$scrypt$ln=99,r=8,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAA"',
    [
      'F:2: mta.users.joe.password: begins like a scrypt hash and is none; make one with "postilion password"',
    ],
  ],
  ['[resolver]\nlisten = []', ['F:2: resolver.listen: needs at least 1 entry']],
  [
    '[resolver]\nbudget = "fast"',
    ['F:2: resolver.budget: expected a number or "auto", not "fast"'],
  ],
  ['[resolver]\nfronts = 65', ['F:2: resolver.fronts: must be at most 64, not 65']],
  ['[resolver]\nfronts = 0.5', ['F:2: resolver.fronts: expected a whole number, not 0.5']],
  ['[resolver]\nstale = 3', ['F:2: resolver.stale: expected a string in quotes, not 3; write "3"']],
  [
    '[resolver]\ncache = { bytes = 5,\n  max_ttl = "1y" }',
    [
      'F:2: resolver.cache.bytes: must be at least 1048576, not 5',
      'F:3: resolver.cache.max_ttl: "1y" is not a duration; write for example "500ms", "30s" or "3d"',
    ],
  ],
  ['[mta]\nspool = ""', ['F:2: mta.spool: must not be empty']],
  [
    '[mta.delivery]\ntls = "requir"',
    [
      'F:2: mta.delivery.tls: "requir" is not one of "opportunistic", "require", "verify", "none"; did you mean "require"?',
    ],
  ],
  ['mta = 5', ['F:1: mta: expected a table, not 5']],
  [
    '[mta]\ntls_key = "/nonexistent/k.pem"',
    [
      'F:2: mta.tls_key: cannot read "/nonexistent/k.pem": ENOENT',
      'F:2: mta.tls_key: needs mta.tls_certificate beside it',
    ],
  ],
  [
    '[resolver]\nadmin = "127.0.0.1:8025"',
    ['F: mta.http: 127.0.0.1:8025 is taken by resolver.admin = 127.0.0.1:8025 already'],
  ],
  [
    '[mta]\nsmtp = ["127.0.0.1:2525",\n"0.0.0.0:2525"]',
    ['F:3: mta.smtp[1]: 0.0.0.0:2525 is taken by mta.smtp = 127.0.0.1:2525 already'],
  ],
  [
    '[resolver]\nlisten = ["0.0.0.0:53"]\nupstreams = ["192.0.2.1", "127.0.0.1"]',
    [
      'F:3: resolver.upstreams[1]: 127.0.0.1:53 is this resolver itself; name the servers it should ask',
    ],
  ],
  [
    [
      '[resolver]',
      'listen = ["127.0.0.1:53"]',
      'listen_tls = ["0.0.0.0:853"]',
      'upstreams = ["192.0.2.1", "tcp://192.0.2.2:853"]',
      'spill = ["192.0.2.3",',
      '  "tcp://127.0.0.1:53"]',
      'tls_certificate = "/dev/null"',
      'tls_key = "/nonexistent/k.pem"',
      '[[resolver.forward]]',
      'zone = "a.example"',
      'upstreams = ["tls://127.0.0.1:853#dns.example"]',
      '[[resolver.forward]]',
      'zone = "b.example"',
      'upstreams = ["192.0.2.4"]',
      'spill = ["127.0.0.1"]',
    ].join('\n'),
    [
      'F:6: resolver.spill[1]: tcp://127.0.0.1:53 is this resolver itself; name the servers it should ask',
      'F:7: resolver.tls_certificate: cannot read "/dev/null": not a file',
      'F:8: resolver.tls_key: cannot read "/nonexistent/k.pem": ENOENT',
      'F:11: resolver.forward[0].upstreams[0]: tls://127.0.0.1:853#dns.example is this resolver itself; name the servers it should ask',
      'F:15: resolver.forward[1].spill[0]: 127.0.0.1:53 is this resolver itself; name the servers it should ask',
    ],
  ],
  [
    '[resolver]\nlisten_tls = ["127.0.0.1:853"]\nlisten_https = ["127.0.0.1:443",\n"127.0.0.1:853"]\ntls_ca = "/nonexistent/ca.pem"\nhosts = "/nonexistent/hosts"',
    [
      'F:2: resolver.listen_tls: needs resolver.tls_certificate and resolver.tls_key',
      'F:3: resolver.listen_https: needs resolver.tls_certificate and resolver.tls_key',
      'F:4: resolver.listen_https[1]: 127.0.0.1:853 is taken by resolver.listen_tls = 127.0.0.1:853 already',
      'F:5: resolver.tls_ca: cannot read "/nonexistent/ca.pem": ENOENT',
      'F:6: resolver.hosts: cannot read "/nonexistent/hosts": ENOENT',
    ],
  ],
  [
    '[resolver]\nlisten_tls = ["127.0.0.1:853"]\ntls_key = "/etc/passwd"',
    ['F:3: resolver.tls_key: needs resolver.tls_certificate beside it'],
  ],
  [
    'a = 1\n[x\n',
    ['F:2: not TOML: illegal character in key\n    1:  a = 1\n    2:  [x\n          ^'],
  ],
  [
    '[mta]\nspool = "a"\nspool = "b"',
    [
      'F:3: not TOML: trying to redefine an already defined table or value\n    2:  spool = "a"\n    3:  spool = "b"\n        ^',
    ],
  ],
];

test('it is known which general limits were written, here and in a child', () => {
  const { config, raw } = load('[mta]\nretry = ["9m"]\n[mta.delivery]\ntls = "require"\nport = 26');
  expect([...config.mta.written!].sort()).toEqual(['retry', 'tls']);
  expect(parseChecked(raw).mta.written).toEqual(config.mta.written);
  expect(load('').config.mta.written!.size).toBe(0);
});

describe('refused', () => {
  test.each(REFUSED)('%j', (source, errors) => expect(errorsOf(source)).toEqual(errors));

  test('a file that is not there', () => {
    const missing = join(folder, 'none.toml');
    expect(() => loadConfig({ file: missing, overrides: [], role: 'up' })).toThrow(
      `${missing}: cannot be read: ENOENT`,
    );
  });

  test('a flag, named in place of a line', () => {
    const overrides = [{ flag: '--listen', path: ['resolver', 'listen'], value: ['x'] }];
    expect(errorsOf('', { overrides })).toEqual([
      '--listen: resolver.listen[0]: "x" is not an address; write for example "127.0.0.1:5335" or "[::1]:5335"',
    ]);
  });

  test('a program does not mind the ports of the other', () => {
    expect(errorsOf('[resolver]\nadmin = "127.0.0.1:8025"', { role: 'resolver' })).toEqual([]);
  });
});

describe('taken', () => {
  test('nothing at all: defaults', () => {
    const { config } = load('');
    expect(config.resolver.listen).toEqual([{ address: '127.0.0.1', port: 5335 }]);
    expect(config.mta.dns).toEqual({ address: '127.0.0.1', port: 5335 });
    expect(config.mta.hostname).not.toBe('');
    expect(config.log.level).toBe('info');
  });

  test('flags outrank the file', () => {
    const overrides = [{ flag: '--http', path: ['mta', 'http'], value: '127.0.0.1:1' }];
    const { config } = load('[mta]\nhttp = "127.0.0.1:2"', { overrides });
    expect(config.mta.http.port).toBe(1);
  });

  test.each([
    ['["127.0.0.5:53"]', { address: '127.0.0.5', port: 53 }],
    ['["0.0.0.0:53"]', { address: '127.0.0.1', port: 53 }],
    ['["[::]:53"]', { address: '::1', port: 53 }],
    ['["192.0.2.7"]', { address: '192.0.2.7', port: 5335 }],
  ])('under `up`, resolver.listen = %s moves mta.dns along', (listen, dns) => {
    expect(load(`[resolver]\nlisten = ${listen}`).config.mta.dns).toEqual(dns);
  });

  test('alone, the mta asks where it is told', () => {
    const { config } = load('[resolver]\nlisten = ["127.0.0.5:53"]', { role: 'mta' });
    expect(config.mta.dns).toEqual({ address: '127.0.0.1', port: 5335 });
  });

  test('parsing what was loaded gives the same again', () => {
    const { raw, config } = load(
      '[resolver]\nlisten = ["127.0.0.9:5335"]\n[mta]\nhostname = "a.example"',
    );
    const [own, again] = [config, parseChecked(JSON.parse(JSON.stringify(raw)))];
    expect(again.mta).toEqual({ ...own.mta, allow: again.mta.allow });
    expect(again.mta.dns.address).toBe('127.0.0.9');
  });
});

const WARNED: readonly (readonly [source: string, warnings: readonly string[]])[] = [
  [
    '[mta]\nhostname = "a.example"\n[mta.tlsrpt]\nenabled = true\nfrom = "r@b.example"',
    [
      'F:5: mta.tlsrpt.from: no key in mta.dkim signs mail from b.example, and receivers ignore TLS reports without a signature',
    ],
  ],
  ['[mta]\nhostname = "mx.example.net"', []],
  [
    '[mta]\nhostname = "box"',
    [
      'F:2: mta.hostname: "box" has no domain, and some servers refuse such an EHLO; set the name that your address resolves to',
    ],
  ],
  [
    '[mta]\nhostname = "a.example"\nallow = ["::1", "0.0.0.0/0"]',
    [
      'F:3: mta.allow[1]: "0.0.0.0/0" lets everyone on the network send mail through this host; name your own networks',
    ],
  ],
  [
    '[mta]\nhostname = "a.example"\ndns = "192.0.2.1:53"',
    ['F:3: mta.dns: 192.0.2.1:53 is not the resolver started here (127.0.0.1:5335)'],
  ],
];

test.each(WARNED)('warned of: %j', (source, warnings) => {
  expect(load(source).warnings.map((line) => line.replaceAll(file, 'F'))).toEqual(warnings);
});

test('warned of: passwords that everyone may read', () => {
  const source = '[mta]\nhostname = "a.example"\nusers.joe = "secret"';
  expect(load(source).warnings).toEqual([]);
  chmodSync(file, 0o644);
  expect(loadConfig({ file, overrides: [], role: 'up' }).warnings).toEqual([
    `${file}:3: mta.users: holds passwords in a file that every user may read; chmod o-r "${file}"`,
  ]);
});

test('a token that others may read is warned of', () => {
  const source = '[admin]\ntoken = "0123456789abcdef"\n[mta]\nhostname = "mta.example.net"\n';
  load(source);
  chmodSync(file, 0o600);
  expect(loadConfig({ file, overrides: [], role: 'up' }).warnings).toEqual([]);
  chmodSync(file, 0o644);
  expect(loadConfig({ file, overrides: [], role: 'up' }).warnings).toEqual([
    `${file}:2: admin.token: stands in a file that every user may read; chmod o-r "${file}"`,
  ]);
});
