/**
 * Resolvers that are compared, each on one thread and in its best sane configuration (bench/peers/),
 * in front of the same upstream; and the ceiling, a server that only echoes.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Endpoint } from '../../runtime/settings.ts';
import { hasProgram } from '../../test/support/peers.ts';
import { runProcess, startProcess, waitFor } from '../../test/support/process.ts';
import { freePort, scratchFolder } from '../../test/support/scratch.ts';
import { startPostilion } from './postilion.ts';

const PEERS = fileURLToPath(new URL('../peers/', import.meta.url));
const COMPILE_TIMEOUT_MS = 30_000;
const READY_TIMEOUT_MS = 10_000;
const CACHE_BYTES = 2_147_483_648;

export interface Running {
  readonly server: Endpoint;
  readonly pid: number;
  stop(): Promise<unknown>;
}

export interface Contestant {
  readonly name: string;
  /** Program, and the Debian package that brings it; null for what is our own. */
  readonly needs: { readonly program: string; readonly package: string } | null;
  start(upstream: Endpoint): Promise<Running>;
}

const postilion = (name: string, fronts: number): Contestant => ({
  name,
  needs: null,
  async start(upstream) {
    const resolver = { fronts, cache: { bytes: CACHE_BYTES } };
    const running = await startPostilion({ program: 'resolver', upstream, resolver });
    return { server: running.dns, pid: running.process().pid, stop: () => running.stop() };
  },
});

interface PeerLaunch {
  readonly name: string;
  readonly program: string;
  readonly package: string;
  /** In bench/peers/, without .conf; default: the name. */
  readonly template?: string;
  /** What else the template asks for. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Name of its configuration in its folder, where that matters. */
  readonly file?: string;
  args(file: string, folder: string): readonly string[];
}

const peer = (launch: PeerLaunch): Contestant => ({
  name: launch.name,
  needs: { program: launch.program, package: launch.package },
  async start(upstream) {
    const folder = await scratchFolder(launch.name);
    const server = { address: '127.0.0.1', port: await freePort() };
    const file = join(folder.path, launch.file ?? `${launch.name}.conf`);
    const { template: peerFile = launch.name } = launch;
    const template = await readFile(join(PEERS, `${peerFile}.conf`), 'utf8');
    const values: Readonly<Record<string, string>> = {
      ...launch.settings,
      address: server.address,
      port: String(server.port),
      folder: folder.path,
      upstream: upstream.address,
      upstreamPort: String(upstream.port),
    };
    await writeFile(
      file,
      template.replaceAll(/\{\{(\w+)\}\}/g, (whole, key: string) => values[key] ?? whole),
    );
    const child = startProcess(launch.program, launch.args(file, folder.path), {
      cwd: folder.path,
    });
    const stop = async (): Promise<void> => {
      await child.stop();
      await folder.remove();
    };
    try {
      await waitFor(
        () => answersAt(server),
        () => `${launch.name} to answer; it wrote:\n${child.output()}`,
        READY_TIMEOUT_MS,
      );
    } catch (error) {
      await stop();
      throw error;
    }
    return { server, pid: child.pid, stop };
  },
});

async function answersAt(server: Endpoint): Promise<boolean> {
  const args = [`@${server.address}`, '-p', String(server.port), '+time=1', '+tries=1'];
  return (await runProcess('dig', [...args, 'ready.hot.example', 'A'])).code === 0;
}

const dnsmasq = (name: string, cacheEntries: number): Contestant =>
  peer({
    name,
    program: 'dnsmasq',
    package: 'dnsmasq-base',
    template: 'dnsmasq',
    settings: { cacheSize: String(cacheEntries) },
    args: (file) => ['--keep-in-foreground', '--pid-file=', '-C', file],
  });

const echo: Contestant = {
  name: 'echo',
  needs: { program: 'cc', package: 'gcc' },
  async start() {
    const folder = await scratchFolder('echo');
    const program = join(folder.path, 'echo');
    const compiled = await runProcess('cc', ['-O2', '-o', program, join(PEERS, 'echo.c')], {
      timeoutMs: COMPILE_TIMEOUT_MS,
    });
    if (compiled.code !== 0) throw new Error(`cc: ${compiled.output}`);
    const server = { address: '127.0.0.1', port: await freePort() };
    const child = startProcess(program, [String(server.port)]);
    const stop = async (): Promise<void> => {
      await child.stop();
      await folder.remove();
    };
    await child.waitForOutput(/ready/);
    return { server, pid: child.pid, stop };
  },
};

/** By name; in the order of tables. */
export const CONTESTANTS = new Map(
  [
    postilion('postilion', 1),
    postilion('postilion-2-fronts', 2),
    postilion('postilion-portable', 0),
    peer({
      name: 'unbound',
      program: 'unbound',
      package: 'unbound',
      args: (file) => ['-d', '-c', file],
    }),
    peer({
      name: 'knot-resolver',
      program: 'kresd',
      package: 'knot-resolver',
      args: (file, folder) => ['-n', '-q', '-c', file, folder],
    }),
    peer({
      name: 'pdns-recursor',
      program: 'pdns_recursor',
      package: 'pdns-recursor',
      file: 'recursor.conf',
      args: (_file, folder) => [`--config-dir=${folder}`],
    }),
    peer({
      name: 'dnsdist',
      program: 'dnsdist',
      package: 'dnsdist',
      args: (file) => ['--supervised', '--disable-syslog', '-C', file],
    }),
    dnsmasq('dnsmasq', 100_000),
    dnsmasq('dnsmasq-small-cache', 1_000),
    echo,
  ].map((contestant) => [contestant.name, contestant]),
);

/** Those that are here; says what to install for the others. */
export function present(contestants: readonly Contestant[]): Contestant[] {
  const missing = contestants.filter(({ needs }) => needs !== null && !hasProgram(needs.program));
  for (const { name, needs } of missing) {
    process.stderr.write(`without ${name}: apt-get install ${needs!.package}\n`);
  }
  return contestants.filter((contestant) => !missing.includes(contestant));
}
