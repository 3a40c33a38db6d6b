/** The Debian package on a machine with systemd: installed, run in its sandbox, upgraded, removed, purged. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { buildPackage } from '../../deploy/debian/package.ts';
import { bootMachine, type Machine } from '../support/machine.ts';
import { startUpstream } from '../support/machine-upstream.ts';
import { requirePeer } from '../support/peers.ts';
import { waitFor } from '../support/process.ts';

const CONFIG = '/etc/postilion/postilion.toml';
const UPSTREAM = '127.0.0.9';
const READY_TIMEOUT_MS = 30_000;
/** Node alone is 124 MB of it. */
const INSTALLED_MEBIBYTES_MAX = 160;

const LOAD_EVERYTHING = `
const { default: manifest } = await import('./package.json', { with: { type: 'json' } });
for (const name of Object.keys(manifest.dependencies)) await import(name);
const { socketBinder } = await import('./resolver/sockets.ts');
await socketBinder();
console.log('all there');
`;

requirePeer(
  'machine',
  'unbound',
  'dig',
  'swaks',
)('the Debian package', () => {
  vi.setConfig({ testTimeout: 90_000 });
  let machine: Machine;
  let packageFile = '';

  beforeAll(async () => {
    machine = await bootMachine();
    packageFile = buildPackage(machine.shared.here, 'none');
    // The disk is memory, and nobody reads manuals there.
    machine.must("printf 'force-unsafe-io\\nno-triggers\\n' >/etc/dpkg/dpkg.cfg.d/trial");
    startUpstream(machine, [UPSTREAM]);
  }, 120_000);
  afterAll(() => machine?.stop());

  const inside = (file: string): string => file.replace(machine.shared.here, machine.shared.inside);
  const isReady = (port: number): boolean =>
    machine.run(`curl -fsS http://127.0.0.1:${port}/readyz`).status === 0;
  const whenReady = (...ports: readonly number[]): Promise<void> =>
    waitFor(
      () => ports.every(isReady),
      () => machine.run('journalctl --no-pager -n 50 -u "postilion*"').output,
      READY_TIMEOUT_MS,
      100,
    );
  const mx = (): string =>
    machine.must('dig +short +time=20 @127.0.0.1 -p 5335 remote.example MX').trim();
  const waiting = (): number =>
    Number(JSON.parse(machine.must('postilion queue counts --json')).queued);

  test('holds what runs, and nothing else', () => {
    const files = execFileSync('dpkg-deb', ['-c', packageFile], { encoding: 'utf8' });
    for (const path of [
      './usr/bin/postilion ->',
      './usr/lib/postilion/sidecar/cli.ts',
      './usr/lib/systemd/system/postilion-resolver.socket',
      './usr/share/man/man1/postilion.1.gz',
      './usr/share/doc/postilion/copyright',
      './usr/share/doc/postilion/examples/prometheus/rules.yml',
    ])
      expect(files).toContain(path);
    for (const name of ['vitest', 'typescript', '@biomejs', 'kubernetes-models', 'dns2'])
      expect(files).not.toContain(`/node_modules/${name}/`);
    expect(files).not.toMatch(/\/(?:test|bench)\/\w/);
    // Of the folders in /, only those that are links nowhere.
    expect(files.match(/(?<= \.\/)[^/\s]+(?=\/$)/gm)).toEqual(['etc', 'usr']);
    // Everything belongs to root, and only root writes it.
    expect(
      files
        .split('\n')
        .filter((line) => !/^$|^l|^.[r-][w-][x-][r-]-[x-][r-]-[x-] root\/root/.test(line)),
    ).toEqual([]);
    const field = (name: string) =>
      execFileSync('dpkg-deb', ['-f', packageFile, name], { encoding: 'utf8' }).trim();
    expect(Number(field('Installed-Size')) / 1024).toBeLessThan(INSTALLED_MEBIBYTES_MAX);
    expect(statSync(packageFile).size / 2 ** 20).toBeLessThan(INSTALLED_MEBIBYTES_MAX);
  });

  test('installs, starts nothing by itself, and its command works', () => {
    const said = machine.must(`dpkg -i ${inside(packageFile)} 2>&1`);
    expect(said).toContain('systemctl enable --now postilion');
    expect(machine.run('systemctl is-active postilion').output).toBe('inactive\n');
    expect(machine.must(`stat -c '%U:%G %a' ${CONFIG}`)).toBe('root:postilion 640\n');
    expect(machine.must(`postilion check --config ${CONFIG}`)).toContain('valid');
    expect(machine.must('postilion --version')).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(
      machine.must(
        'zcat /usr/share/man/man1/postilion.1.gz | groff -ww -man -Tutf8 2>&1 >/dev/null',
      ),
    ).toBe('');
    // Nothing that a dependency loads was taken for dead weight.
    writeFileSync(join(machine.shared.here, 'load.mjs'), LOAD_EVERYTHING);
    machine.must(`cp ${machine.shared.inside}/load.mjs /usr/lib/postilion/`);
    const node = '/usr/lib/postilion/node_modules/.bin/node';
    expect(machine.must(`${node} /usr/lib/postilion/load.mjs 2>&1`)).toBe('all there\n');
    machine.must('rm /usr/lib/postilion/load.mjs');
    const completion = '. /usr/share/bash-completion/completions/postilion; complete -p postilion';
    expect(machine.must(`bash -c '${completion}'`)).toContain('_postilion');
    const units = '/lib/systemd/system/postilion*';
    expect(machine.must(`systemd-analyze verify --man=no ${units} 2>&1`)).toBe('');
  });

  test('both programs run in the sandbox, as a user without rights', async () => {
    const config = readFileSync(new URL('../../deploy/postilion.toml', import.meta.url), 'utf8')
      .replace('[mta]', `upstreams = ["${UPSTREAM}"]\n\n[mta]`)
      .replace('#hostname', 'hostname');
    mkdirSync(join(machine.shared.here, 'etc'));
    writeFileSync(join(machine.shared.here, 'etc/postilion.toml'), config);
    // An editor keeps owner and mode.
    machine.must(`cat ${machine.shared.inside}/etc/postilion.toml >${CONFIG}`);
    machine.must('systemctl enable --now postilion 2>&1');
    await whenReady(8053, 8025);
    expect(mx()).toBe('10 mx.remote.example.');
    const pid = machine.must('systemctl show postilion -p MainPID --value').trim();
    expect(machine.must(`stat -c %U /proc/${pid}`)).toBe('postilion\n');
    expect(machine.must('stat -L -c "%U %a" /var/lib/postilion')).toBe('postilion 700\n');
    const show = machine.must(
      'systemctl show postilion -p NoNewPrivileges -p CapabilityBoundingSet',
    );
    expect(show.trim().split('\n').toSorted()).toEqual([
      'CapabilityBoundingSet=cap_net_bind_service',
      'NoNewPrivileges=yes',
    ]);
    machine.must(
      'swaks --server 127.0.0.1:2525 --from a@example.net --to b@remote.example --hide-all',
    );
    expect(waiting()).toBe(1);
    machine.must('systemctl reload postilion');
    expect(machine.must('systemctl is-active postilion')).toBe('active\n');
  });

  test('an upgrade takes over in place: no query fails, configuration and mail stay', async () => {
    const before = machine.must('systemctl show postilion -p MainPID --value');
    // A new version, by its number.
    machine.must(
      `cd /tmp && dpkg-deb -R ${inside(packageFile)} next && sed -i 's/^Version: .*/&+next/' next/DEBIAN/control && sed -i 's/"version": "[^"]*/&+next/' next/usr/lib/postilion/package.json && dpkg-deb -Znone -b next next.deb && rm -r next`,
    );
    const question = 'dig +short +tries=1 +time=4 @127.0.0.1 -p 5335 remote.example MX';
    const loop = `while :; do [ "$(${question})" = "10 mx.remote.example." ] && echo asked || echo LOST; sleep 0.1; done`;
    const client = machine.start('sh', ['-c', loop]);
    // No terminal: a question about the configuration would fail it.
    const said = machine.must('dpkg -i /tmp/next.deb </dev/null 2>&1');
    expect(said).not.toContain('has not taken over');
    await client.stop();
    expect(client.output()).toContain('asked');
    expect(client.output()).not.toContain('LOST');
    const { upgrade } = JSON.parse(machine.must('curl -fsS http://127.0.0.1:8025/v1/upgrade'));
    expect(upgrade).toMatchObject({ state: 'done', to: expect.stringContaining('+next') });
    // The supervisor has stayed, with its sockets.
    expect(machine.must('systemctl show postilion -p MainPID --value')).toBe(before);
    expect(machine.must('dpkg-query -W postilion')).toContain('+next');
    await whenReady(8053, 8025);
    expect(machine.must(`stat -c '%U:%G %a' ${CONFIG}`)).toBe('root:postilion 640\n');
    expect(machine.must(`grep upstreams ${CONFIG}`)).toContain(UPSTREAM);
    expect(waiting()).toBe(1);
  });

  test('the resolver alone, on sockets of systemd, without any capability', async () => {
    machine.must('systemctl disable --now postilion 2>&1');
    machine.must('systemctl start postilion-resolver.socket');
    expect(machine.run('systemctl is-active postilion-resolver').output).toBe('inactive\n');
    // The question that starts it is answered, too.
    expect(mx()).toBe('10 mx.remote.example.');
    await whenReady(8053);
    const pid = machine.must('systemctl show postilion-resolver -p MainPID --value').trim();
    const status = machine.must(`cat /proc/${pid}/status`);
    expect(status).toMatch(/^CapBnd:\s*0+$/m);
    expect(status).toMatch(/^Seccomp:\s*2$/m);
    // A restart loses nothing: the question waits in the socket.
    machine.must('systemctl restart --no-block postilion-resolver');
    expect(mx()).toBe('10 mx.remote.example.');
    machine.must('systemctl start postilion-mta');
    await whenReady(8025);
    expect(waiting()).toBe(1);
  });

  test('removal stops it and says what waits; a purge keeps mail, and says so', () => {
    const removed = machine.must('dpkg -r postilion 2>&1');
    expect(removed).toContain('1 recipients wait in the spool');
    expect(machine.run('pgrep -u postilion').output).toBe('');
    expect(machine.run('command -v postilion').status).not.toBe(0);
    expect(machine.must(`ls ${CONFIG}`)).toContain(CONFIG);

    const purged = machine.must('dpkg -P postilion 2>&1');
    expect(purged).toContain('/var/lib/private/postilion/spool, where 1 recipients wait');
    expect(machine.run('ls -d /etc/postilion').status).not.toBe(0);
    expect(machine.must('ls /var/lib/postilion/')).toBe('spool\nwaiting-at-removal\n');
  });

  test('installed again the mail is there; without mail a purge leaves nothing', async () => {
    machine.must('dpkg -i /tmp/next.deb 2>&1');
    machine.must('systemctl start postilion');
    // The configuration is as it came, and nobody here is there to be asked: only the mta is ready.
    await whenReady(8025);
    expect(waiting()).toBe(1);
    machine.must('postilion queue delete --domain remote.example');
    expect(waiting()).toBe(0);
    expect(machine.must('dpkg -P postilion 2>&1')).not.toContain('wait');
    expect(machine.run('ls -d /var/lib/postilion /var/lib/private/postilion').status).not.toBe(0);
    expect(machine.run('ls /etc/systemd/system/*.wants/postilion*').status).not.toBe(0);
  });
});
