/**
 * An Exim of our own. Debian's package excludes Postfix's, so it is unpacked into a cache folder
 * (.cache/exim of this repository) and runs from there, in a mount namespace in which its user exists.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';
import { selfSigned } from '../../bench/load/certificate.ts';
import { requirePeer } from './peers.ts';
import { accepts, startProcess, waitFor } from './process.ts';
import { freePort, scratchFolder } from './scratch.ts';

const CACHE = fileURLToPath(new URL('../../.cache/exim', import.meta.url));
const PACKAGES = ['exim4-daemon-light', 'libidn12', 'libgnutls-dane0'];
const LIBRARIES = `${CACHE}/usr/lib/x86_64-linux-gnu:${CACHE}/usr/lib/aarch64-linux-gnu`;
/** The user's name is compiled in; its number is ours. */
const EXIM_ID = 9_925;

/** The `describe` for tests that need Exim; see requirePeer() for what happens where it cannot be had. */
export function requireExim(): typeof describe {
  const suite = requirePeer('root', 'tmpfs');
  if (suite !== describe || existsSync(join(CACHE, 'usr/sbin/exim4')) || unpack()) return suite;
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

const configuration = (folder: string, port: number): string => `
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

/** Takes any mail but that to no@ and later@, with STARTTLS, and keeps it in its queue. */
export async function startExim(): Promise<Exim> {
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
  const script = [
    `mount --bind ${at('passwd')} /etc/passwd`,
    `mount --bind ${at('group')} /etc/group`,
    `exec env LD_LIBRARY_PATH=${LIBRARIES} ${CACHE}/usr/sbin/exim4 -C ${at('conf')} -bdf`,
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
