/** Real servers as upstreams: Unbound over TLS, dnsdist over HTTPS, NSD with DNS cookies. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { selfSigned } from '../../../bench/load/certificate.ts';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { answers, FakeUpstream } from '../../support/fake-upstream.ts';
import { requirePeer } from '../../support/peers.ts';
import { accepts, startProcess, waitFor } from '../../support/process.ts';
import { askUdp, brief, metric, question, startTestResolver } from '../../support/resolver.ts';
import { freePort, scratchFolder } from '../../support/scratch.ts';

const NAME = 'dns.example.net';
const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A folder with a key and its certificate. */
async function prepare() {
  const folder = await scratchFolder('peer');
  cleanup.add(() => folder.remove());
  const at = (name: string): string => join(folder.path, name);
  const { key, cert } = selfSigned([NAME]);
  await writeFile(at('key.pem'), key);
  await writeFile(at('cert.pem'), cert);
  return at;
}

async function run(program: string, args: readonly string[], port: number): Promise<void> {
  const peer = cleanup.stop(startProcess(program, args));
  await waitFor(
    () => accepts(port),
    () => `${program} to listen:\n${peer.output()}`,
  );
}

const askMany = async (upstream: string, certificate: string) => {
  const resolver = cleanup.stop(
    await startTestResolver([], { upstreams: [upstream], tls_ca: certificate }),
  );
  const names = Array.from({ length: 30 }, (_, n) => `n${n}.example`);
  const packets = await Promise.all(
    names.map((name) => askUdp(resolver.endpoint, question(name, TYPE.A))),
  );
  return { resolver, said: new Set(packets.map(brief)) };
};

requirePeer('unbound')('unbound', () => {
  test('answers over TLS on one connection', async () => {
    const [at, source] = [await prepare(), cleanup.stop(await FakeUpstream.start(answers(300, 4)))];
    const port = await freePort();
    await writeFile(
      at('unbound.conf'),
      `server:
  interface: 127.0.0.1@${port}
  tls-port: ${port}
  tls-service-key: "${at('key.pem')}"
  tls-service-pem: "${at('cert.pem')}"
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  module-config: "iterator"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@${source.endpoint.port}
`,
    );
    await run('unbound', ['-d', '-c', at('unbound.conf')], port);
    const upstream = `tls://127.0.0.1:${port}#${NAME}`;
    const { said, resolver } = await askMany(upstream, at('cert.pem'));
    expect(said).toEqual(new Set(['NOERROR 4']));
    const sent = `postilion_dns_upstream_packets_total{upstream="${upstream}",direction="sent"}`;
    // Connecting 6, and 2 a question.
    expect(await metric(resolver, sent)).toBe(6 + 60);
  });
});

requirePeer('dnsdist')('dnsdist', () => {
  test('answers over HTTPS on one connection', async () => {
    const [at, source] = [await prepare(), cleanup.stop(await FakeUpstream.start(answers(300, 6)))];
    const [port, plain] = [await freePort(), await freePort()];
    await writeFile(
      at('dnsdist.conf'),
      `setSecurityPollSuffix("")
setLocal("127.0.0.1:${plain}")
addDOHLocal("127.0.0.1:${port}", "${at('cert.pem')}", "${at('key.pem')}", "/dns-query")
newServer({address="127.0.0.1:${source.endpoint.port}"}):setUp()
`,
    );
    await run('dnsdist', ['--supervised', '--disable-syslog', '-C', at('dnsdist.conf')], port);
    const upstream = `https://${NAME}:${port}/dns-query#127.0.0.1`;
    const { said } = await askMany(upstream, at('cert.pem'));
    expect(said).toEqual(new Set(['NOERROR 6']));
  });
});

requirePeer('nsd')('nsd', () => {
  test('its cookies are learned and sent back, and its answers pass', async () => {
    const at = await prepare();
    const port = await freePort();
    await writeFile(
      at('zone'),
      `$ORIGIN example.\n$TTL 300\n@ SOA ns.example. x.example. 1 2 3 4 5\n@ NS ns.example.\n* A 192.0.2.8\n`,
    );
    await writeFile(
      at('nsd.conf'),
      `server:
  ip-address: 127.0.0.1@${port}
  username: ""
  zonesdir: "/"
  pidfile: "${at('pid')}"
  database: ""
  xfrdfile: "${at('xfrd')}"
  zonelistfile: "${at('list')}"
  answer-cookie: yes
remote-control:
  control-enable: no
zone:
  name: "example"
  zonefile: "${at('zone')}"
`,
    );
    await run('nsd', ['-d', '-c', at('nsd.conf')], port);
    const resolver = cleanup.stop(
      await startTestResolver([{ address: '127.0.0.1', port }], { hedge: false }),
    );
    for (const name of ['one.example', 'two.example', 'three.example']) {
      expect(brief(await askUdp(resolver.endpoint, question(name, TYPE.A)))).toBe('NOERROR 8');
    }
    const label = `upstream="127.0.0.1:${port}"`;
    expect(await metric(resolver, `postilion_dns_upstream_cookies{${label}}`)).toBe(1);
    expect(await metric(resolver, `postilion_dns_upstream_mismatches_total{${label}}`)).toBe(0);
    expect(
      await metric(resolver, `postilion_dns_upstream_packets_total{${label},direction="sent"}`),
    ).toBe(3);
  });
});
