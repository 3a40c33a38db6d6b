/**
 * Haraka as a contestant, installed from npm into a folder beside the system's temporary ones, where the
 * next run finds it again. It reads /etc/resolv.conf, so it gets one of its own in a mount namespace.
 */
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { accepts, runProcess, startProcess, waitFor } from '../../test/support/process.ts';
import { freePort, scratchFolder } from '../../test/support/scratch.ts';
import type { Contestant, MailWorld, RunningContestant } from './contestant.ts';

const VERSION = '3.3.4';
const INSTALL_TIMEOUT_MS = 180_000;
const home = join(tmpdir(), `postilion-bench-haraka-${VERSION}`);
const program = join(home, 'node_modules/Haraka/bin/haraka');

async function missing(): Promise<string | null> {
  if (process.getuid?.() !== 0) return 'a resolv.conf of its own needs root (unshare)';
  if (existsSync(program)) return null;
  await mkdir(home, { recursive: true });
  const args = ['install', '--no-audit', '--no-fund', '--omit=optional', '--ignore-scripts'];
  const { code, output } = await runProcess('npm', [...args, `Haraka@${VERSION}`], {
    cwd: home,
    timeoutMs: INSTALL_TIMEOUT_MS,
  });
  return code === 0 ? null : `npm could not install it: ${output.trim().split('\n').at(-1)}`;
}

async function start(world: MailWorld): Promise<RunningContestant> {
  const folder = await scratchFolder('haraka');
  const at = (path: string): string => join(folder.path, path);
  const port = await freePort();
  // Its own defaults, and over them what differs here.
  await cp(join(home, 'node_modules/Haraka/config'), at('config'), { recursive: true });
  await Promise.all(['plugins', 'queue'].map((name) => mkdir(at(name))));
  const files: Readonly<Record<string, string>> = {
    'config/smtp.ini': `listen=127.0.0.1:${port}\nnodes=0\n[headers]\n`,
    'config/plugins': 'bench\n',
    'config/me': 'haraka.bench.example\n',
    'config/loglevel': 'LOGNOTICE\n',
    'config/outbound.ini': 'enable_tls=true\nconcurrency_max=100\nlocal_mx_ok=true\n',
    'config/tls.ini': '[outbound]\nforce_tls_hosts[]=\nrejectUnauthorized=false\n',
    'resolv.conf': `nameserver ${world.nameserver}\n`,
  };
  for (const [path, text] of Object.entries(files)) await writeFile(at(path), text);
  await copyFile(
    fileURLToPath(new URL('./haraka/bench.js', import.meta.url)),
    at('plugins/bench.js'),
  );
  const script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"';
  const haraka = startProcess(
    'unshare',
    [
      '--mount',
      'sh',
      '-c',
      script,
      'sh',
      at('resolv.conf'),
      process.execPath,
      program,
      '-c',
      folder.path,
    ],
    { env: { BENCH_REMOTE_PORT: String(world.remotePort) } },
  );
  const stop = async (): Promise<void> => {
    await haraka.stop();
    await folder.remove();
  };
  try {
    await waitFor(
      () => accepts(port),
      () => `Haraka to listen; it wrote:\n${haraka.output()}`,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    smtp: { address: '127.0.0.1', port },
    pids: [haraka.pid],
    // 503 Bad sequence of commands - pipelined after end of DATA
    oneByOne: true,
    release: async () => undefined,
    stop,
  };
}

export const haraka: Contestant = {
  name: 'haraka',
  about: `${VERSION} as it comes, one process`,
  holds: false,
  chunking: true,
  missing,
  start,
};
