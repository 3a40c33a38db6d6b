/**
 * Images and pods without Docker or Kubernetes: the steps of the Dockerfile are taken on a machine of its own
 * (but for those that download), and containers run there as they would: process 1 of its own, the user and
 * capabilities that the manifests give, nothing writable but the volumes.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig } from '../../sidecar/config/load.ts';
import { VERSION } from '../../sidecar/version.ts';
import { copyOf, type Instruction, parseDockerfile } from '../support/dockerfile.ts';
import { bootMachine, type Machine } from '../support/machine.ts';
import { startUpstream } from '../support/machine-upstream.ts';
import { requirePeer } from '../support/peers.ts';
import { type RunningProcess, waitFor } from '../support/process.ts';

const ROOT = realpathSync(fileURLToPath(new URL('../..', import.meta.url)));
const DOCKER = join(ROOT, 'deploy/docker');
const MODULES = realpathSync(join(ROOT, 'node_modules'));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const IMAGE = parseDockerfile(read('deploy/docker/Dockerfile'));
const POSTFIX = parseDockerfile(read('deploy/docker/postfix/Dockerfile'));

interface Compose {
  readonly services: Readonly<
    Record<
      'postilion' | 'postfix',
      {
        readonly build: { readonly context: string; readonly dockerfile?: string };
        readonly image: string;
        readonly volumes: readonly string[];
        readonly sysctls?: Readonly<Record<string, number>>;
        readonly stop_grace_period?: string;
        readonly network_mode?: string;
      }
    >
  >;
  readonly volumes: Readonly<Record<string, null>>;
}
const { services, volumes } = parse(read('deploy/docker/compose.yaml')) as Compose;
const last = (image: readonly Instruction[], name: string): string =>
  image.findLast((instruction) => instruction.name === name)!.text;

describe('what the files say of each other', () => {
  test.each([
    ['the image', IMAGE, ROOT],
    ["Postfix's", POSTFIX, join(DOCKER, 'postfix')],
  ])('%s copies only what there is', (_name, image, context) => {
    const ignored = read('.dockerignore').split('\n');
    const stages = image.flatMap(({ name, text }) =>
      name === 'FROM' ? (text.split(' AS ')[1] ?? []) : [],
    );
    for (const instruction of image.filter(({ name }) => name === 'COPY')) {
      const { from, sources } = copyOf(instruction);
      if (from !== null) expect(stages).toContain(from);
      else
        for (const source of sources) {
          expect([source, existsSync(join(context, source))]).toEqual([source, true]);
          expect(ignored).not.toContain(source);
        }
    }
  });

  test('the image is of Debian, runs as nobody in particular, and says how it is', () => {
    for (const { text } of IMAGE.filter(({ name }) => name === 'FROM'))
      expect(text).toMatch(/bookworm-slim/);
    expect(last(IMAGE, 'USER')).toBe('10053:10053');
    expect(JSON.parse(last(IMAGE, 'ENTRYPOINT'))).toEqual(['/usr/bin/postilion']);
    expect(last(IMAGE, 'HEALTHCHECK')).toContain('CMD ["/usr/local/bin/healthy"]');
    // No package index stays in a layer.
    for (const image of [IMAGE, POSTFIX])
      for (const { text } of image.filter(
        ({ name, text }) => name === 'RUN' && /apt-get/.test(text),
      ))
        expect(text).toMatch(/--no-install-recommends .* && rm -rf \/var\/lib\/apt\/lists\/\*$/);
  });

  test('compose names files, volumes and ports that there are', () => {
    const { postilion, postfix } = services;
    expect(postilion.image).toBe(`postilion:${VERSION}`);
    expect(existsSync(join(DOCKER, postilion.build.context, postilion.build.dockerfile!))).toBe(
      true,
    );
    expect(existsSync(join(DOCKER, postfix.build.context, 'Dockerfile'))).toBe(true);
    expect(postfix.network_mode).toBe('service:postilion');
    for (const volume of [...postilion.volumes, ...postfix.volumes]) {
      const [source] = volume.split(':');
      if (source!.startsWith('.')) expect(existsSync(join(DOCKER, source!))).toBe(true);
      else expect(Object.keys(volumes)).toContain(source);
    }
    const file = join(DOCKER, 'postilion.toml');
    const { config, warnings } = loadConfig({ file, overrides: [], role: 'up' });
    expect(warnings).toEqual([]);
    expect(postilion.stop_grace_period).toBe(`${config.mta.drain / 1000 + 15}s`);
    const [dns] = config.resolver.listen;
    expect(read('deploy/docker/resolv.conf')).toContain(`nameserver ${dns!.address}\n`);
    expect(dns!.port).toBeGreaterThanOrEqual(
      postilion.sysctls!['net.ipv4.ip_unprivileged_port_start']!,
    );
  });
});

/** Those that other machines would be: Docker's DNS, the cluster's, the cloud's. */
const UPSTREAMS = ['127.0.0.11', '10.96.0.10', '169.254.169.253'] as const;

interface Container {
  readonly args: readonly string[];
  readonly user: number;
  /** As setpriv has them: "net_bind_service". */
  readonly capabilities?: readonly string[];
}

requirePeer(
  'machine',
  'unbound',
  'dig',
  'swaks',
  'postfix',
)('run', () => {
  vi.setConfig({ testTimeout: 90_000 });
  let machine: Machine;
  const containers: RunningProcess[] = [];

  beforeAll(async () => {
    machine = await bootMachine([ROOT, MODULES]);
    for (const address of UPSTREAMS.slice(1)) machine.must(`ip address add ${address}/32 dev lo`);
    machine.must('sysctl -qw net.ipv4.ip_unprivileged_port_start=53');
    startUpstream(machine, UPSTREAMS);
    build();
  }, 120_000);
  afterAll(() => machine?.stop());
  afterEach(async () => {
    for (const container of containers.splice(0)) await container.stop();
  });

  function write(path: string, text: string): void {
    writeFileSync(join(machine.shared.here, 'file'), text);
    machine.must(`mkdir -p ${dirname(path)} && cat ${machine.shared.inside}/file >${path}`);
  }

  /** Takes the steps of the Dockerfile: the first stage in /src, the second in /. */
  function build(): void {
    let workdir = '/';
    mkdirSync(join(machine.shared.here, 'bin'));
    machine.must(`ln -s ${process.execPath} /usr/local/bin/node`);
    for (const instruction of IMAGE) {
      const { name, text, stage } = instruction;
      if (name === 'WORKDIR' && stage === 0) {
        workdir = text;
        machine.must(`mkdir -p ${workdir}`);
      } else if (name === 'FROM') workdir = '/';
      else if (name === 'COPY') {
        const { from, sources, target } = copyOf(instruction);
        const place = from === null ? `${ROOT}/` : '';
        for (const source of sources) {
          const at = source === '/tree' ? '/tree/.' : `${place}${source}`;
          machine.must(`cd ${workdir} && cp -a ${at} ${target}`);
        }
      } else if (name === 'RUN' && text.startsWith('npm ci'))
        machine.must(
          `mkdir ${workdir}/node_modules && mount --bind ${MODULES} ${workdir}/node_modules`,
        );
      else if (name === 'RUN' && !text.startsWith('apt-get'))
        machine.must(`cd ${workdir} && ${text}`);
    }
  }

  /** Ends a container as Docker does, and waits for it. */
  function run({ args, user, capabilities = [] }: Container): RunningProcess {
    const bounding = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
    const settle = [
      'mount --bind /var/lib/postilion /var/lib/postilion',
      'mount -o remount,bind,ro /',
      `exec setpriv --reuid ${user} --regid ${user} --clear-groups --no-new-privs --bounding-set ${bounding} --inh-caps ${bounding} /usr/bin/postilion ${args.join(' ')}`,
    ].join(' && ');
    const namespaces = ['--pid', '--fork', '--mount', '--mount-proc', '--kill-child=SIGTERM'];
    const container = machine.start('unshare', [...namespaces, 'sh', '-c', settle]);
    containers.push(container);
    return container;
  }
  const healthy = (container: RunningProcess): Promise<void> =>
    waitFor(
      () => machine.run('/usr/local/bin/healthy').status === 0,
      () => `the container to be healthy; it wrote:\n${container.output()}`,
      30_000,
      200,
    );
  const mx = (server: string): string =>
    machine.must(`dig +short +tries=1 @${server} remote.example MX`).trim();
  const waiting = (): number =>
    Number(JSON.parse(machine.must('postilion queue counts --json')).queued);

  test('the image as compose runs it, and its Postfix hands mail over', async () => {
    expect(machine.run('/usr/local/bin/healthy').status).toBe(1);
    const container = run({ args: JSON.parse(last(IMAGE, 'CMD')), user: 10_053 });
    await healthy(container);
    expect(mx('127.0.0.1')).toBe('10 mx.remote.example.');

    machine.must('cp /etc/resolv.conf /run/resolv.conf');
    machine.must(`cat ${DOCKER}/resolv.conf >/etc/resolv.conf`);
    machine.must(`cat ${DOCKER}/postfix/main.cf >/etc/postfix/main.cf`);
    for (const { text } of POSTFIX.filter(({ name }) => name === 'RUN'))
      if (!text.startsWith('apt-get')) machine.must(text);
    const command = (JSON.parse(last(POSTFIX, 'CMD')) as string[]).join(' ');
    // Docker's output is a pipe, which /dev/stdout can be opened as; a test's is a socket.
    const server = machine.start('sh', ['-c', `${command} | cat`]);
    await waitFor(
      () => machine.run('ss -Hltn "sport = :25"').output !== '',
      () => `Postfix to listen; it wrote:\n${server.output()}`,
    );
    machine.must(
      'swaks --server 127.0.0.1:25 --from a@example.net --to b@remote.example --hide-all',
    );
    await waitFor(() => waiting() === 1, 'the mail to be handed over', 15_000, 200);
    machine.must('postfix stop 2>&1');

    // Killed children are replaced and leave nothing behind: the first process waits for its own.
    const [child] = machine.must('pgrep -u 10053 -f resolver').trim().split('\n');
    machine.must(`kill -9 ${child}`);
    await waitFor(() => machine.run(`test -e /proc/${child}`).status !== 0, 'it to be gone');
    await healthy(container);
    expect(machine.run('ps -o stat= -u 10053 | grep Z').output).toBe('');
    machine.must('postilion queue delete --domain remote.example');
  });

  interface PodContainer {
    readonly args?: readonly string[];
    readonly command?: readonly string[];
    readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: string[] } } };
    readonly securityContext: {
      readonly runAsUser: number;
      readonly capabilities: { readonly add?: readonly string[] };
    };
  }
  interface Manifest {
    readonly kind: string;
    readonly data: Readonly<Record<string, string>>;
    readonly spec: {
      readonly template: {
        readonly spec: {
          readonly initContainers: readonly PodContainer[];
          readonly containers: readonly PodContainer[];
        };
      };
    };
  }
  function pod(file: string, kind: string): Manifest['spec']['template']['spec'] {
    const manifests = parseAllDocuments(read(`deploy/kubernetes/${file}.yaml`)).map(
      (document) => document.toJS() as Manifest,
    );
    const config = manifests.find((manifest) => manifest.kind === 'ConfigMap')!;
    write('/etc/postilion/postilion.toml', config.data['postilion.toml']!);
    machine.must('rm -rf /var/lib/postilion/* && chown 10053:10053 /var/lib/postilion');
    return manifests.find((manifest) => manifest.kind === kind)!.spec.template.spec;
  }
  const asContainer = ({ args, securityContext }: PodContainer): Container => ({
    args: args!,
    user: securityContext.runAsUser,
    capabilities: (securityContext.capabilities.add ?? []).map((name) => name.toLowerCase()),
  });

  test('the sidecars of the mail pod, and their drain', async () => {
    const { initContainers } = pod('sidecar', 'StatefulSet');
    const [resolver, mta] = initContainers.map((each) => run(asContainer(each)));
    await healthy(resolver!);
    await waitFor(
      () => machine.run('curl -fsS http://127.0.0.1:8025/readyz').status === 0,
      () => `the mta to be ready; it wrote:\n${mta!.output()}`,
      30_000,
      200,
    );
    expect(mx('127.0.0.1')).toBe('10 mx.remote.example.');
    machine.must(
      'swaks --server 127.0.0.1:2525 --from a@example.net --to b@remote.example --hide-all',
    );
    const { command } = initContainers[1]!.lifecycle!.preStop.exec;
    // Its host takes nothing: the drain waits as long as it may, and reports what remains.
    const drained = machine.run(command.join(' ').replace('30s', '2s'));
    expect(drained.output).toMatch(/1 recipients?/);
    expect(machine.run('swaks --server 127.0.0.1:2525 --to c@remote.example').output).toMatch(
      /4\d\d /,
    );
  });

  test('the resolver of a node: a link-local address, root with one capability', async () => {
    const {
      initContainers,
      containers: [resolver],
    } = pod('node-local', 'DaemonSet');
    machine.must('chown 0:0 /var/lib/postilion');
    machine.must('sysctl -qw net.ipv4.ip_unprivileged_port_start=1024');
    machine.must(initContainers[0]!.command!.join(' '));
    const container = run(asContainer(resolver!));
    await waitFor(
      () => machine.run('curl -fsS http://169.254.20.53:8053/readyz').status === 0,
      () => `the resolver to be ready; it wrote:\n${container.output()}`,
      30_000,
      200,
    );
    expect(mx('169.254.20.53')).toBe('10 mx.remote.example.');
  });
});
