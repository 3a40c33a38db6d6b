/**
 * Postilion as a user starts it: a configuration file and the command line, in processes of their own.
 * `up` is both programs under the supervisor; `resolver` and `mta` are one of them alone.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'smol-toml';
import { type Endpoint, formatEndpoint } from '../../runtime/settings.ts';
import type { UpgradeStatus } from '../../sidecar/protocol.ts';
import { type RunningProcess, startProcess, waitFor } from '../../test/support/process.ts';
import { freePort, scratchFolder } from '../../test/support/scratch.ts';
import { type Metrics, readMetrics } from './metrics.ts';

export interface PostilionOptions {
  readonly program: 'up' | 'resolver' | 'mta';
  /** What the resolver forwards to, or, for `mta` alone, the resolver that it asks. */
  readonly upstream: Endpoint;
  /** Keys of the tables, over what is set here. */
  readonly resolver?: Readonly<Record<string, unknown>>;
  readonly mta?: Readonly<Record<string, unknown>>;
  readonly admin?: Readonly<Record<string, unknown>>;
  readonly upgrade?: Readonly<Record<string, unknown>>;
  /** Program and arguments to start it by, such as unshare and its options. */
  readonly startedBy?: readonly string[];
  /** Where the resolver answers; default: a free port of 127.0.0.1. */
  readonly dns?: Endpoint;
  /** The entry of the command line; default: that of this tree. */
  readonly cli?: string;
  /** Where the queue is kept; default: a folder that stop() removes. */
  readonly spool?: string;
}

export interface Postilion {
  /** Where the resolver answers; of no meaning for `mta` alone. */
  readonly dns: Endpoint;
  /** Where the mta takes mail; of no meaning for `resolver` alone. */
  readonly smtp: Endpoint;
  /** "http://127.0.0.1:…" of each program. */
  readonly resolverHttp: string;
  readonly mtaHttp: string;
  readonly configFile: string;
  /** The process now running; another one after restart(). */
  process(): RunningProcess;
  resolverMetrics(): Promise<Metrics>;
  mtaMetrics(): Promise<Metrics>;
  /** Has `up` start what is on the disk, and waits for the outcome. */
  upgrade(): Promise<UpgradeStatus>;
  /** kill -9: nothing is told, nothing is flushed. */
  kill(): Promise<void>;
  /** Starts it again, on the same addresses and spool, and waits until it is ready. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const UPGRADE_TIMEOUT_MS = 90_000;
const UPGRADE_POLL_MS = 100;

async function upgradeAt(base: string): Promise<UpgradeStatus> {
  const url = `${base}/v1/upgrade`;
  const look = async (): Promise<UpgradeStatus | null> => {
    // Nobody answers while one program hands its address to the next.
    const response = await fetch(url).catch(() => null);
    if (response === null) return null;
    return ((await response.json()) as { readonly upgrade: UpgradeStatus | null }).upgrade;
  };
  const before = (await look())?.number ?? 0;
  await fetch(url, { method: 'POST' });
  let now: UpgradeStatus | null = null;
  await waitFor(
    async () => {
      now = await look();
      return now !== null && now.number > before && now.endedAtMs !== null;
    },
    () => `the upgrade to end: ${JSON.stringify(now)}`,
    UPGRADE_TIMEOUT_MS,
    UPGRADE_POLL_MS,
  );
  return now!;
}

const CLI = fileURLToPath(new URL('../../sidecar/cli.ts', import.meta.url));
const READY_TIMEOUT_MS = 20_000;
/** The mta may take its `drain` and the supervisor a little more. */
const STOP_TIMEOUT_MS = 30_000;
const PROBE_TIMEOUT_MS = 1_000;

const freeAddress = async (): Promise<Endpoint> => ({
  address: '127.0.0.1',
  port: await freePort(),
});

const isReady = async (base: string): Promise<boolean> => {
  try {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
    return (await fetch(`${base}/readyz`, { signal })).ok;
  } catch {
    return false;
  }
};

export async function startPostilion(options: PostilionOptions): Promise<Postilion> {
  const { program, upstream } = options;
  const folder = await scratchFolder('postilion');
  const [dns, smtp, admin, http] = [
    options.dns ?? (await freeAddress()),
    await freeAddress(),
    await freeAddress(),
    await freeAddress(),
  ];
  const config = {
    resolver: {
      listen: [formatEndpoint(dns)],
      upstreams: [formatEndpoint(upstream)],
      admin: formatEndpoint(admin),
      ...options.resolver,
    },
    mta: {
      smtp: [formatEndpoint(smtp)],
      http: formatEndpoint(http),
      spool: options.spool ?? join(folder.path, 'spool'),
      dns: formatEndpoint(program === 'mta' ? upstream : dns),
      hostname: 'mta.example.net',
      ...options.mta,
    },
    admin: { ...options.admin },
    upgrade: { ...options.upgrade },
  };
  const configFile = join(folder.path, 'postilion.toml');
  await mkdir(config.mta.spool, { recursive: true });
  await writeFile(configFile, stringify(config));
  const resolverHttp = `http://${formatEndpoint(admin)}`;
  const mtaHttp = `http://${formatEndpoint(http)}`;
  const probes = [
    ...(program === 'mta' ? [] : [resolverHttp]),
    ...(program === 'resolver' ? [] : [mtaHttp]),
  ];

  let running: RunningProcess;
  const start = async (): Promise<void> => {
    const command = [process.execPath, options.cli ?? CLI, program, '--config', configFile];
    const [first, ...rest] = [...(options.startedBy ?? []), ...command];
    const child = startProcess(first!, rest, { stopTimeoutMs: STOP_TIMEOUT_MS });
    running = child;
    let ended = false;
    void child.exited.then(() => (ended = true)).catch(() => undefined);
    for (const base of probes) {
      await waitFor(
        () => {
          if (ended) throw new Error(`postilion ${program} ended:\n${child.output()}`);
          return isReady(base);
        },
        () => `postilion ${program} to be ready; it wrote:\n${child.output()}`,
        READY_TIMEOUT_MS,
      );
    }
  };
  const stop = async (): Promise<void> => {
    await running.stop();
    await folder.remove();
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    dns,
    smtp,
    resolverHttp,
    mtaHttp,
    configFile,
    process: () => running,
    upgrade: () => upgradeAt(resolverHttp),
    resolverMetrics: () => readMetrics(resolverHttp),
    mtaMetrics: () => readMetrics(mtaHttp),
    async kill() {
      await running.kill();
    },
    restart: start,
    stop,
  };
}
