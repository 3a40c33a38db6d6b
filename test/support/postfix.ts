/**
 * A Postfix of our own beside the machine's: configuration, queue and data in a temporary folder, its
 * master started directly. As root only, as Postfix insists.
 *
 * Its SMTP client runs chrooted into the queue folder and so reads the resolv.conf there; the
 * machine's stays untouched. A nameserver in resolv.conf has no port, so the resolver under test must
 * listen on port 53 of a loopback address of its own (see scratch.ts).
 */
import { chmod, chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { selfSigned } from '../../bench/load/certificate.ts';
import { accepts, runProcess, startProcess, waitFor } from './process.ts';
import { freePort, scratchFolder } from './scratch.ts';

export interface PostfixOptions {
  readonly address?: string;
  /** Port 53 of this address answers its DNS questions; without it nothing is looked up. */
  readonly nameserver?: string;
  /** main.cf settings, over those of {@link SETTINGS}. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface Postfix {
  readonly address: string;
  /** Where its smtpd listens. */
  readonly port: number;
  /** Of its master, parent of all others. */
  readonly pid: number;
  /** Where its main.cf is, for postqueue and its like. */
  readonly configFolder: string;
  /** Its log so far. */
  log(): Promise<string>;
  /** Lines of the log that match. */
  count(pattern: RegExp): Promise<number>;
  stop(): Promise<void>;
}

const DAEMONS = '/usr/lib/postfix/sbin';
/** Folders of the queue and what others may do there (postfix-files). */
const PRIVATE_FOLDERS =
  'active bounce corrupt defer deferred flush hold incoming private saved trace';

const SETTINGS: Readonly<Record<string, string>> = {
  compatibility_level: '3.6',
  daemon_directory: DAEMONS,
  command_directory: '/usr/sbin',
  meta_directory: '/etc/postfix',
  // Also where mail is sent from; smtpd's own address stands in master.cf.
  inet_interfaces: '127.0.0.1',
  inet_protocols: 'ipv4',
  myhostname: 'postfix.example.net',
  mydestination: '',
  mynetworks: '127.0.0.0/8',
  alias_maps: '',
  local_recipient_maps: '',
  smtpd_relay_restrictions: 'permit_mynetworks, reject',
  smtpd_peername_lookup: 'no',
  smtpd_client_connection_count_limit: '0',
  in_flow_delay: '0',
  maillog_file_prefixes: '/',
};

const MASTER = `pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
smtp unix - - y - - smtp
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsproxy unix - - n - 0 tlsproxy
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
`;

async function idOf(database: 'passwd' | 'group', name: string): Promise<number> {
  const { output } = await runProcess('getent', [database, name]);
  const id = Number(output.split(':')[2]);
  if (!Number.isInteger(id)) throw new Error(`no ${database} entry for ${name}: ${output}`);
  return id;
}

async function createFolders(root: string): Promise<void> {
  const postfix = await idOf('passwd', 'postfix');
  const postdrop = await idOf('group', 'postdrop');
  await chmod(root, 0o755);
  const create = async (path: string, mode: number, owner: number, group: number) => {
    await mkdir(join(root, path));
    await chown(join(root, path), owner, group);
    await chmod(join(root, path), mode);
  };
  await create('etc', 0o755, 0, 0);
  await create('data', 0o700, postfix, 0);
  await create('queue', 0o755, 0, 0);
  await create('queue/etc', 0o755, 0, 0);
  await create('queue/pid', 0o755, 0, 0);
  await create('queue/public', 0o710, postfix, postdrop);
  await create('queue/maildrop', 0o730, postfix, postdrop);
  for (const name of PRIVATE_FOLDERS.split(' ')) {
    await create(`queue/${name}`, 0o700, postfix, 0);
  }
}

export async function startPostfix(options: PostfixOptions): Promise<Postfix> {
  const { address = '127.0.0.1', nameserver, settings } = options;
  const folder = await scratchFolder('postfix');
  const port = await freePort(address);
  const at = (path: string): string => join(folder.path, path);
  await createFolders(folder.path);
  const main = {
    ...SETTINGS,
    queue_directory: at('queue'),
    data_directory: at('data'),
    maillog_file: at('log'),
    ...settings,
  };
  await writeFile(
    at('etc/main.cf'),
    Object.entries(main)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join(''),
  );
  await writeFile(at('etc/master.cf'), `${address}:${port} inet n - n - - smtpd\n${MASTER}`);
  await writeFile(at('queue/etc/hosts'), '127.0.0.1 localhost\n');
  await writeFile(at('queue/etc/services'), 'domain 53/tcp\ndomain 53/udp\nsmtp 25/tcp\n');
  // An address nobody answers on, so that a look-up that should not be fails at once.
  await writeFile(at('queue/etc/resolv.conf'), `nameserver ${nameserver ?? '127.255.255.254'}\n`);

  const master = startProcess(`${DAEMONS}/master`, ['-c', at('etc'), '-d']);
  const log = (): Promise<string> => readFile(at('log'), 'utf8').catch(() => '');
  const stop = async (): Promise<void> => {
    await master.stop();
    await folder.remove();
  };
  let ended = false;
  void master.exited.then(() => (ended = true)).catch(() => undefined);
  try {
    await waitFor(() => {
      if (ended) throw new Error('Postfix’s master ended');
      return accepts(port, address);
    }, 'Postfix to listen');
  } catch (error) {
    const text = `${String(error)}\n${master.output()}\n${await log()}`;
    await stop();
    throw new Error(text, { cause: error });
  }
  return {
    address,
    port,
    pid: master.pid,
    configFolder: at('etc'),
    log,
    async count(pattern) {
      const global = new RegExp(pattern.source, 'gm');
      return [...(await log()).matchAll(global)].length;
    },
    stop,
  };
}

/** Delivers what it is given by MX, asking `nameserver`, to `remotePort` of the MX hosts. */
export const startPostfixSender = (options: {
  readonly nameserver: string;
  readonly remotePort: number;
  readonly settings?: Readonly<Record<string, string>>;
}): Promise<Postfix> =>
  startPostfix({
    nameserver: options.nameserver,
    // As Postfix does by default, it also asks for IPv6 addresses.
    settings: {
      inet_protocols: 'all',
      smtp_tcp_port: String(options.remotePort),
      ...options.settings,
    },
  });

/** Takes any mail, with STARTTLS, and throws it away: `count(DISCARDED)` tells how much it took. */
export async function startPostfixReceiver(
  options: { readonly address?: string; readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<Postfix> {
  const folder = await scratchFolder('certificate');
  const { key, cert } = selfSigned(['mx.example.net']);
  const pem = join(folder.path, 'pem');
  await writeFile(pem, key + cert);
  const postfix = await startPostfix({
    ...(options.address === undefined ? {} : { address: options.address }),
    settings: {
      default_transport: 'discard',
      relay_transport: 'discard',
      smtpd_tls_security_level: 'may',
      smtpd_tls_chain_files: pem,
      smtpd_tls_loglevel: '1',
      ...options.settings,
    },
  }).catch(async (error: unknown) => {
    await folder.remove();
    throw error;
  });
  return {
    ...postfix,
    async stop() {
      await postfix.stop();
      await folder.remove();
    },
  };
}

export const DISCARDED = /postfix\/discard\[\d+\]: .* status=sent/;
export const SENT = /postfix\/smtp\[\d+\]: .* status=sent/;
