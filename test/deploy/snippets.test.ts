/**
 * The snippets for mail servers, each at its place on a machine of its own where Postilion runs: what is in
 * Debian is run with them; Haraka where it has been installed, which it is with CI=true;
 * KumoMTA's Lua is run by an interpreter that tells what it calls.
 */
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { haraka } from '../../bench/peers/haraka.ts';
import { EXIM_FOLDER, requireExim } from '../support/exim.ts';
import { bootMachine, type Machine } from '../support/machine.ts';
import { startUpstream } from '../support/machine-upstream.ts';
import { blocksOf } from '../support/markdown.ts';
import { requirePeer } from '../support/peers.ts';
import { waitFor } from '../support/process.ts';

const ROOT = realpathSync(fileURLToPath(new URL('../..', import.meta.url)));
const MODULES = realpathSync(join(ROOT, 'node_modules'));
/** Where the bench installs it. */
const HARAKA_HOME = join(tmpdir(), 'postilion-bench-haraka-3.3.4');
const HARAKA = join(HARAKA_HOME, 'node_modules/Haraka');
// Where nothing may be skipped it is installed, as the bench does.
if (process.env.CI === 'true') {
  const why = await haraka.missing();
  if (why !== null) throw new Error(`missing peers: Haraka: ${why}`);
}
const DEPLOY = join(ROOT, 'deploy');
const UPSTREAM = '127.0.0.9';

/** Port 53 for resolv.conf, 5335 for those who can say a port. */
const CONFIG = `
[resolver]
listen    = ["127.0.0.2:53", "127.0.0.1:5335"]
upstreams = ["${UPSTREAM}"]
[mta]
hostname  = "mta.example.net"
spool     = "/run/spool"
socketmap = "127.0.0.1:8027"
dns       = "127.0.0.2:53"
`;

requirePeer(
  'machine',
  'unbound',
  'dig',
  'postfix',
  'swaks',
)('beside Postilion', () => {
  let machine: Machine;

  beforeAll(async () => {
    const visible = [ROOT, MODULES, EXIM_FOLDER, HARAKA_HOME].filter((path) => existsSync(path));
    machine = await bootMachine(visible);
    write('/etc/postilion.toml', CONFIG);
    startUpstream(
      machine,
      [UPSTREAM],
      [
        // Whatever else is asked does not exist, at once.
        'local-zone: "." static',
        `local-data: "remote.example. 3600 TXT 'v=spf1 -all'"`,
      ],
    );
    const cli = join(ROOT, 'sidecar/cli.ts');
    const up = machine.start(process.execPath, [cli, 'up', '--config', '/etc/postilion.toml']);
    await waitFor(
      () => machine.run('curl -fsS http://127.0.0.1:8025/readyz').status === 0,
      () => `Postilion to be ready; it wrote:\n${up.output()}`,
      30_000,
      200,
    );
    machine.must(`cat ${DEPLOY}/resolv.conf >/etc/resolv.conf`);
  }, 60_000);
  afterAll(() => machine?.stop());

  function write(path: string, text: string): void {
    writeFileSync(join(machine.shared.here, 'file'), text);
    machine.must(`mkdir -p $(dirname ${path}) && cat ${machine.shared.inside}/file >${path}`);
  }
  const figure = (port: number, series: string): number => {
    const text = machine.must(`curl -fsS http://127.0.0.1:${port}/metrics`);
    const lines = text.split('\n').filter((line) => line.startsWith(series));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  const received = (): number => figure(8025, 'postilion_mta_messages_total{outcome="received"}');
  const asked = (type: string): number =>
    figure(8053, `postilion_dns_queries_total{type="${type}"`);
  const listens = (port: number): boolean =>
    machine.run(`ss -Hltn "sport = :${port}"`).output !== '';
  const isReceived = async (count: number, what: () => string): Promise<void> =>
    waitFor(
      () => received() === count,
      () => `mail to be handed over:\n${what()}`,
      15_000,
      200,
    );

  test('resolv.conf', () => {
    expect(machine.must('dig +short remote.example MX')).toBe('10 mx.remote.example.\n');
    expect(machine.must('getent hosts mx.remote.example')).toMatch(/^192\.0\.2\.25\s/);
  });

  test('Postfix hands its mail over, or asks by what hosts a domain goes', async () => {
    const settings = ['inet_interfaces=127.0.0.1', 'mynetworks=127.0.0.0/8', 'mydestination='];
    settings.push('maillog_file=/var/log/postfix.log', 'compatibility_level=3.6');
    machine.must(`postconf -e ${settings.join(' ')}`);
    machine.must('postconf -X relayhost');
    machine.must(`cat ${DEPLOY}/postfix/main.cf >>/etc/postfix/main.cf`);
    // As Debian's service does before it starts; neither finds anything to say of the settings.
    machine.must('/usr/lib/postfix/configure-instance.sh -');
    expect(machine.must('postconf -n 2>&1 >/dev/null')).toBe('');
    machine.must('postfix start 2>&1');
    await waitFor(() => listens(25), 'Postfix to listen');
    const before = received();
    machine.must(
      'swaks --server 127.0.0.1:25 --from a@example.net --to b@remote.example --hide-all',
    );
    await isReceived(before + 1, () => machine.run('cat /var/log/postfix.log').output);

    const [, maps] = /^#transport_maps = \S+ (.*)$/m.exec(
      readFileSync(join(DEPLOY, 'postfix/main.cf'), 'utf8'),
    )!;
    expect(machine.must(`postmap -q b@remote.example ${maps}`)).toBe(':[mx.remote.example]\n');

    // Without the relayhost it asks for itself: the resolver, through the copy of resolv.conf in its chroot.
    machine.must('postconf -X relayhost && postfix reload 2>&1');
    const lookups = asked('MX');
    machine.must(
      'swaks --server 127.0.0.1:25 --from a@example.net --to b@remote.example --hide-all',
    );
    await waitFor(() => asked('MX') > lookups, 'a lookup of Postfix', 15_000, 200);
    machine.must('postfix stop 2>&1');
  }, 60_000);

  test('rspamd asks the resolver', async () => {
    machine.must(`cp ${DEPLOY}/rspamd/options.inc /etc/rspamd/local.d/options.inc`);
    // Without what takes it half a minute to compile.
    write(
      '/etc/rspamd/override.d/options.inc',
      'url_tld = "/run/tld";\ndisable_hyperscan = true;\n',
    );
    write('/run/tld', 'example\n');
    expect(machine.run('rspamadm configtest').output).toMatch(/^syntax OK$/m);
    const server = machine.start('rspamd', ['--no-fork', '--user=_rspamd', '--group=_rspamd']);
    await waitFor(
      () => listens(11_333),
      () =>
        `rspamd to listen:\n${server.output()}${machine.run('tail -20 /var/log/rspamd/rspamd.log').output}`,
      60_000,
      200,
    );
    const before = asked('TXT');
    write(
      '/run/mail',
      'From: a@remote.example\r\nTo: b@example.net\r\nSubject: hello\r\n\r\nhello\r\n',
    );
    const envelope =
      "-H 'IP: 203.0.113.5' -H 'From: a@remote.example' -H 'Helo: mx.remote.example'";
    const verdict = machine.must(
      `curl -fsS ${envelope} --data-binary @/run/mail http://127.0.0.1:11333/checkv2`,
    );
    // It has read the policy of the sender's domain, through us.
    expect(Object.keys(JSON.parse(verdict).symbols)).toContain('R_SPF_FAIL');
    expect(asked('TXT')).toBeGreaterThan(before);
  }, 120_000);

  test('questions need no place in the table of connections', () => {
    const blocks = blocksOf(join(ROOT, 'docs/operations/aws.md'));
    const rules = blocks.find(({ text }) => text.startsWith('nft '))!.text;
    machine.must(rules);
    expect(machine.must('nft list ruleset')).toMatch(/udp dport 53 notrack/);
    expect(machine.must('dig +short +tries=1 remote.example MX')).toContain('mx.remote.example');
  });

  test('KumoMTA is told of the resolver', () => {
    write(
      '/run/kumo.lua',
      `kumo = { dns = { configure_resolver = function(t) print(table.concat(t.name_servers, ' ')) end } }
dofile('${DEPLOY}/kumomta/postilion.lua')`,
    );
    expect(machine.must('rspamadm lua --batch /run/kumo.lua')).toContain('127.0.0.1:5335');
  });

  requireExim()('Exim', () => {
    const exim = (line: string): string =>
      machine.must(`exim4 -C /etc/exim-trial.conf ${line} 2>&1`);
    beforeAll(() => {
      machine.must(
        'adduser --allow-bad-names --system --group --quiet --no-create-home --home / Debian-exim',
      );
      machine.must(`cp -an ${EXIM_FOLDER}/usr/. /usr/ && ldconfig`);
      machine.must('install -d -o Debian-exim -g Debian-exim /run/exim');
    });

    const common = `primary_hostname = exim.example.net
spool_directory = /run/exim
log_file_path = /run/exim/%slog
keep_environment =
domainlist local_domains = @
`;

    test('hands its mail over', async () => {
      write(
        '/etc/exim-trial.conf',
        `${common}begin routers
.include ${DEPLOY}/exim/router/165_postilion
begin transports
.include ${DEPLOY}/exim/transport/10_postilion
`,
      );
      expect(exim('-bV')).toContain('Configuration file is /etc/exim-trial.conf');
      expect(exim('-bt b@remote.example')).toMatch(/router = postilion, transport = postilion/);
      const before = received();
      const mail = "printf 'Subject: hello\\n\\nhello\\n'";
      machine.must(
        `${mail} | exim4 -C /etc/exim-trial.conf -odf -f a@example.net b@remote.example`,
      );
      await isReceived(before + 1, () => machine.run('cat /run/exim/mainlog').output);
    });

    test('or asks the resolver, which resolv.conf names', () => {
      write(
        '/etc/exim-trial.conf',
        `${common}begin routers
mx:
  driver = dnslookup
  transport = smtp
begin transports
smtp:
  driver = smtp
`,
      );
      const before = asked('MX');
      expect(exim('-bt b@remote.example')).toMatch(/host mx\.remote\.example\s+\[192\.0\.2\.25\]/);
      expect(asked('MX')).toBeGreaterThan(before);
    });
  });

  test.skipIf(!existsSync(HARAKA))(
    'Haraka hands its mail over',
    async () => {
      const config = '/run/haraka/config';
      machine.must(`mkdir -p ${config} /run/haraka/queue && cp -r ${HARAKA}/config/. ${config}/`);
      machine.must(`cp ${DEPLOY}/haraka/smtp_forward.ini ${config}/`);
      write(`${config}/plugins`, 'anybody\nqueue/smtp_forward\n');
      // As one that has authenticated: what it sends is outbound mail.
      const anybody = '(next, connection) => { connection.relaying = true; next(OK); }';
      write('/run/haraka/plugins/anybody.js', `exports.hook_rcpt = ${anybody};\n`);
      write(`${config}/smtp.ini`, 'listen=127.0.0.1:2526\nnodes=0\n');
      const server = machine.start(process.execPath, [`${HARAKA}/bin/haraka`, '-c', '/run/haraka']);
      await waitFor(
        () => listens(2526),
        () => `Haraka to listen; it wrote:\n${server.output()}`,
      );
      const before = received();
      machine.must(
        'swaks --server 127.0.0.1:2526 --from a@example.net --to b@remote.example --hide-all',
      );
      await isReceived(before + 1, () => server.output());
    },
    60_000,
  );
});
