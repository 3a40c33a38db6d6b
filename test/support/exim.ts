/**
 * An Exim of our own. Debian's package excludes Postfix's, so it is unpacked into a cache folder
 * (.cache/exim of this repository) and runs from there, in a mount namespace in which its user exists.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';
import { selfSigned } from '../../bench/load/certificate.ts';
import { requirePeer } from './peers.ts';
import { accepts, startProcess, waitFor } from './process.ts';
import { freePort, scratchFolder } from './scratch.ts';

/** Where it is unpacked, once {@link hasExim} or {@link requireExim} has seen to that. */
export const EXIM_FOLDER = fileURLToPath(new URL('../../.cache/exim', import.meta.url));
const CACHE = EXIM_FOLDER;
const PACKAGES = ['exim4-daemon-light', 'libidn12', 'libgnutls-dane0'];
/** For LD_LIBRARY_PATH. */
export const EXIM_LIBRARIES = `${CACHE}/usr/lib/x86_64-linux-gnu:${CACHE}/usr/lib/aarch64-linux-gnu`;
/** The user's name is compiled in; its number is ours. */
const EXIM_ID = 9_925;

/** @returns whether Exim can be started here; fetches it the first time */
export const hasExim = (): boolean => existsSync(join(CACHE, 'usr/sbin/exim4')) || unpack();

/** The `describe` for tests that need Exim; see requirePeer() for what happens where it cannot be had. */
export function requireExim(): typeof describe {
  const suite = requirePeer('root', 'tmpfs');
  if (suite !== describe || hasExim()) return suite;
  const advice = `let apt-get download ${PACKAGES.join(' ')}`;
  if (process.env.CI === 'true') throw new Error(`missing peers: ${advice}`);
  console.warn(`skipped: to run these tests, ${advice}`);
  return describe.skip as typeof describe;
}

/** @returns whether it is there now */
function unpack(): boolean {
  // Made beside its place and moved there whole, so that two test files cannot meet half of it.
  const made = `${CACHE}-${process.pid}`;
  mkdirSync(made, { recursive: true });
  const download = spawnSync('apt-get', ['download', ...PACKAGES], { cwd: made });
  for (const name of readdirSync(made)) {
    if (name.endsWith('.deb')) spawnSync('dpkg', ['-x', name, made], { cwd: made });
  }
  if (download.status === 0 && !existsSync(CACHE)) renameSync(made, CACHE);
  rmSync(made, { recursive: true, force: true });
  return existsSync(join(CACHE, 'usr/sbin/exim4'));
}

export interface Exim {
  readonly port: number;
  /** Lines of its main and reject log that match. */
  count(pattern: RegExp): Promise<number>;
  log(): Promise<string>;
  stop(): Promise<void>;
}

type Configuration = (folder: string, port: number) => string;

const common: Configuration = (folder, port) => `
primary_hostname = exim.example.net
spool_directory = ${folder}/spool
log_file_path = ${folder}/spool/%slog
pid_file_path = ${folder}/spool/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = ${port}
tls_advertise_hosts = *
tls_certificate = ${folder}/pem
log_selector = +smtp_protocol_error +smtp_syntax_error
host_lookup =
rfc1413_query_timeout = 0s
`;

const receiver: Configuration = (folder, port) => `${common(folder, port)}
queue_only = true
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny local_parts = no
  defer local_parts = later
  accept
begin routers
hole:
  driver = redirect
  data = :blackhole:
`;

/**
 * Hosts of tests are on this machine, which Exim would take for itself. It starts itself for each
 * delivery: a copy that is not setuid, which the loader lets find our libraries.
 */
const sender =
  (remotePort: number): Configuration =>
  (folder, port) =>
    `${common(folder, port)}
exim_path = ${folder}/exim4
keep_environment = LD_LIBRARY_PATH
deliver_drop_privilege = true
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
remote_max_parallel = 2
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept
begin routers
mx:
  driver = dnslookup
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = ${remotePort}
begin retry
* * F,2h,1s
`;

/** Takes any mail but that to no@ and later@, with STARTTLS, and keeps it in its queue. */
export const startExim = (): Promise<Exim> => runExim(receiver, null);

/** Delivers what it is given by MX, asking `nameserver`, to `remotePort` of the MX hosts. */
export const startEximSender = (options: {
  readonly nameserver: string;
  readonly remotePort: number;
}): Promise<Exim> => runExim(sender(options.remotePort), options.nameserver);

/** @param nameserver null: the machine's own */
async function runExim(configuration: Configuration, nameserver: string | null): Promise<Exim> {
  const folder = await scratchFolder('exim');
  const port = await freePort();
  const at = (path: string): string => join(folder.path, path);
  const { key, cert } = selfSigned(['mx.example.net']);
  await writeFile(at('pem'), key + cert);
  await mkdir(at('spool'));
  for (const path of [folder.path, at('spool'), at('pem')]) await chown(path, EXIM_ID, EXIM_ID);
  await writeFile(at('conf'), configuration(folder.path, port));
  for (const [file, line] of [
    ['passwd', `Debian-exim:x:${EXIM_ID}:${EXIM_ID}::/:/usr/sbin/nologin\n`],
    ['group', `Debian-exim:x:${EXIM_ID}:\n`],
  ] as const) {
    await writeFile(at(file), (await readFile(`/etc/${file}`, 'utf8')) + line);
  }
  await copyFile(join(CACHE, 'usr/sbin/exim4'), at('exim4'));
  await chmod(at('exim4'), 0o755);
  await writeFile(at('resolv.conf'), `nameserver ${nameserver}\n`);
  const script = [
    ...(nameserver === null ? [] : [`mount --bind ${at('resolv.conf')} /etc/resolv.conf`]),
    `mount --bind ${at('passwd')} /etc/passwd`,
    `mount --bind ${at('group')} /etc/group`,
    `exec env LD_LIBRARY_PATH=${EXIM_LIBRARIES} ${at('exim4')} -C ${at('conf')} -bdf${nameserver === null ? '' : ' -q5s'}`,
  ].join(' && ');
  const server = startProcess('unshare', ['--mount', 'sh', '-c', script]);
  const log = async (): Promise<string> => {
    const parts = await Promise.all(
      ['mainlog', 'rejectlog', 'paniclog'].map((name) =>
        readFile(at(`spool/${name}`), 'utf8').catch(() => ''),
      ),
    );
    return parts.join('');
  };
  const stop = async (): Promise<void> => {
    await server.stop();
    await folder.remove();
  };
  try {
    await waitFor(() => accepts(port), 'Exim to listen');
  } catch (error) {
    const text = `${String(error)}\n${server.output()}\n${await log()}`;
    await stop();
    throw new Error(text, { cause: error });
  }
  return {
    port,
    log,
    count: async (pattern) => [...(await log()).matchAll(new RegExp(pattern.source, 'gm'))].length,
    stop,
  };
}
