/**
 * The manifests against the API's schemas, offline, unknown keys included; what they carry against our own
 * loader; and what they say of each other.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { formatEndpoint } from '../../runtime/settings.ts';
import type { Role } from '../../sidecar/config/checks.ts';
import { type Loaded, loadConfig } from '../../sidecar/config/load.ts';
import { VERSION } from '../../sidecar/version.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const require = createRequire(import.meta.url);
const folder = mkdtempSync(join(tmpdir(), 'postilion-kubernetes-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}
interface Probe {
  readonly httpGet?: {
    readonly host?: string;
    readonly path: string;
    readonly port: string | number;
  };
}
interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly restartPolicy?: string;
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: string[] } } };
  readonly resources: {
    readonly requests: Readonly<Record<string, string>>;
    readonly limits: Readonly<Record<string, string>>;
  };
  readonly securityContext?: Readonly<Record<string, unknown>>;
}
interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly terminationGracePeriodSeconds: number;
  readonly dnsConfig?: { readonly nameservers: readonly string[] };
  readonly securityContext?: {
    readonly sysctls: readonly { readonly name: string; readonly value: string }[];
  };
}

const FILES = ['sidecar', 'node-local', 'pod'] as const;
const documents = (file: string): readonly Manifest[] =>
  parseAllDocuments(readFileSync(join(ROOT, `deploy/kubernetes/${file}.yaml`), 'utf8'), {
    strict: true,
    uniqueKeys: true,
  }).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Manifest;
  });
const MANIFESTS = FILES.flatMap((file) => documents(file).map((manifest) => ({ file, manifest })));

function pick(file: string, kind: string): Manifest {
  const found = documents(file).filter((manifest) => manifest.kind === kind);
  expect(found.length).toBeGreaterThan(0);
  return found[0]!;
}
const podOf = (file: string, kind: string): PodSpec =>
  (pick(file, kind) as unknown as { spec: { template: { spec: PodSpec } } }).spec.template.spec;

/** "128Mi" → octets */
function octets(quantity: string): number {
  const [, number, unit] = /^(\d+)(Ki|Mi|Gi)$/.exec(quantity)!;
  return Number(number) * 1024 ** (['Ki', 'Mi', 'Gi'].indexOf(unit!) + 1);
}

/** The configuration that a ConfigMap carries, read as the program would read it. */
function configOf(file: string, role: Role): Loaded {
  const { data } = pick(file, 'ConfigMap') as unknown as { data: Readonly<Record<string, string>> };
  const path = join(folder, `${file}.toml`);
  writeFileSync(path, data['postilion.toml']!);
  return loadConfig({ file: path, overrides: [], role });
}

test.each(MANIFESTS.map(({ file, manifest }) => [file, manifest.kind, manifest] as const))(
  '%s: %s is what the API takes',
  (_file, kind, manifest) => {
    const model = require(`kubernetes-models/${manifest.apiVersion}/${kind}`) as Readonly<
      Record<string, new (manifest: object) => { validate(): void }>
    >;
    expect(() => new model[kind]!(manifest).validate()).not.toThrow();
  },
);

test('no key is one that the API does not know', () => {
  // The schemas let unknown keys pass; the types of the same package do not.
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const source = MANIFESTS.map(
    ({ manifest }, index) =>
      `import type { I${manifest.kind} as T${index} } from 'kubernetes-models/${manifest.apiVersion}/${manifest.kind}';
export const m${index}: T${index} = ${JSON.stringify(manifest)};`,
  ).join('\n');
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  const compile = (text: string) => {
    writeFileSync(join(folder, 'manifests.ts'), text);
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext'];
    const tsc = join(ROOT, 'node_modules/.bin/tsc');
    return spawnSync(tsc, [...options, '--types', '', 'manifests.ts'], {
      cwd: folder,
      encoding: 'utf8',
    }).stdout;
  };
  expect(compile(source)).toBe('');
  expect(compile(source.replace('"livenessProbe"', '"livelinessProbe"'))).toContain(
    'livelinessProbe',
  );
});

test('every container is confined, bounded, and of this version', () => {
  for (const [file, kind] of [
    ['sidecar', 'StatefulSet'],
    ['node-local', 'DaemonSet'],
  ] as const) {
    const pod = podOf(file, kind);
    for (const { name, image, resources, securityContext } of [
      ...(pod.initContainers ?? []),
      ...pod.containers,
    ]) {
      expect([name, Object.keys(resources.requests).toSorted()]).toEqual([name, ['cpu', 'memory']]);
      expect(octets(resources.limits.memory!)).toBeGreaterThanOrEqual(
        octets(resources.requests.memory!),
      );
      if (!image.startsWith('postilion:')) continue;
      expect(image).toBe(`postilion:${VERSION}`);
      expect(securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
        seccompProfile: { type: 'RuntimeDefault' },
      });
    }
  }
});

const probesOf = ({ startupProbe, readinessProbe, livenessProbe }: Container) =>
  [startupProbe, readinessProbe, livenessProbe].map((probe) => probe?.httpGet);

test('sidecar: probes, ports, DNS and drain are those of the configuration', () => {
  const { config, warnings } = configOf('sidecar', 'up');
  expect(warnings).toEqual([]);
  const pod = podOf('sidecar', 'StatefulSet');
  const [resolver, mta] = pod.initContainers!;
  for (const [container, http] of [
    [resolver!, config.resolver.admin],
    [mta!, config.mta.http],
  ] as const) {
    expect(container.restartPolicy).toBe('Always');
    const port = container.ports!.find(({ containerPort }) => containerPort === http.port)!;
    const [startup, readiness, liveness] = probesOf(container);
    expect(readiness).toEqual({ path: '/readyz', port: port.name });
    expect([startup, liveness]).toEqual(Array(2).fill({ path: '/healthz', port: port.name }));
    // The kubelet asks the pod's address.
    expect(http.address).toBe('0.0.0.0');
  }
  expect(config.resolver.listen.map(formatEndpoint)).toEqual([
    `${pod.dnsConfig!.nameservers[0]}:53`,
  ]);
  expect(config.mta.dns).toEqual(config.resolver.listen[0]);
  // Nobody but root binds a port below.
  const [sysctl] = pod.securityContext!.sysctls;
  expect(Number(sysctl!.value)).toBeLessThanOrEqual(53);
  expect(octets(resolver!.resources.limits.memory!)).toBeGreaterThanOrEqual(
    2 * config.resolver.cache.bytes,
  );
  expect(mta!.lifecycle!.preStop.exec.command.slice(0, 4)).toEqual([
    'postilion',
    'drain',
    '--within',
    '30s',
  ]);
  expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(
    30 + config.mta.drain / 1000 + 15,
  );
  const postfix = documents('sidecar').find(({ metadata }) => metadata.name === 'postfix');
  const { data } = postfix as unknown as { data: Readonly<Record<string, string>> };
  const { address, port } = config.mta.smtp[0]!;
  expect(data['main.cf']).toContain(`relayhost = [${address}]:${port}\n`);
});

test('node-local: probes, address and memory are those of the configuration', () => {
  const { config } = configOf('node-local', 'resolver');
  const pod = podOf('node-local', 'DaemonSet');
  const { admin, listen, cache } = config.resolver;
  const [container] = pod.containers;
  const [startup, readiness, liveness] = probesOf(container!);
  const at = { host: admin.address, port: admin.port };
  expect(readiness).toEqual({ ...at, path: '/readyz' });
  expect([startup, liveness]).toEqual(Array(2).fill({ ...at, path: '/healthz' }));
  expect(octets(container!.resources.limits.memory!)).toBeGreaterThanOrEqual(2 * cache.bytes);
  const example = pick('pod', 'Pod') as unknown as { spec: PodSpec };
  expect(example.spec.dnsConfig!.nameservers[0]).toBe(listen[0]!.address);
  expect(config.resolver.allow.some((network) => network.contains('10.1.2.3'))).toBe(true);
});

test('selectors find what they are for', () => {
  const labels = (kind: string) =>
    (
      pick('sidecar', kind) as unknown as {
        spec: {
          selector?: { matchLabels: object };
          podSelector?: { matchLabels: object };
          template?: { metadata: { labels: object } };
        };
      }
    ).spec;
  const pod = labels('StatefulSet').template!.metadata.labels;
  expect(labels('StatefulSet').selector!.matchLabels).toEqual(pod);
  expect(labels('PodDisruptionBudget').selector!.matchLabels).toEqual(pod);
  expect(labels('NetworkPolicy').podSelector!.matchLabels).toEqual(pod);
});
