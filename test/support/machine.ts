/**
 * A whole machine of a test's own: Debian's systemd as the first process of new namespaces, over a copy of
 * this machine's files that takes changes and forgets them. Packages can be installed there, units
 * started, limits set; nothing of it reaches this machine.
 *
 * Invariants
 * - Its network is a loopback and nothing else; every port is free at first.
 * - It starts with no units of this machine but what systemd itself needs.
 * - It ends with stop(), and with this process.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RunningProcess, startProcess, waitFor } from './process.ts';
import { scratchFolder } from './scratch.ts';

const SYSTEMD = '/lib/systemd/systemd';
const BOOT_TIMEOUT_MS = 20_000;
const RUN_TIMEOUT_MS = 120_000;
/** Where {@link Machine.shared} is inside. */
const SHARED = '/mnt';
/** Units that would reach through to the kernel or the devices of this machine. */
const MASKED = [
  'systemd-sysctl.service',
  'systemd-modules-load.service',
  'systemd-binfmt.service',
  'proc-sys-fs-binfmt_misc.automount',
  'systemd-tmpfiles-setup-dev.service',
  'systemd-remount-fs.service',
  'dev-hugepages.mount',
  'dev-mqueue.mount',
  'sys-kernel-debug.mount',
  'sys-kernel-tracing.mount',
  'sys-fs-fuse-connections.mount',
].join(' ');

/**
 * $1: an empty folder, for a tmpfs of changes; $2: the folder to share; the rest: folders to see as they are.
 * /tmp of this machine is hidden; its units and their links are too, so that only ours are started.
 */
const BOOT = `
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
root=$1/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --bind "$2" "$root${SHARED}"
rm -rf "$root"/etc/systemd/system/* "$root/usr/sbin/policy-rc.d"
shift 2
for folder in "$@"; do
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
done
for unit in ${MASKED}; do ln -s /dev/null "$root/etc/systemd/system/$unit"; done
ip link set lo up
cat >"$root/etc/systemd/system/trial.target" <<UNIT
[Unit]
AllowIsolate=yes
Wants=systemd-journald.service dbus.socket dbus.service
UNIT
cd "$root"
mkdir -p .below
# Not chroot: a process in one may make no user namespace.
pivot_root . .below
umount -l /.below
exec env -i container=other PATH="$PATH" ${SYSTEMD} --system --unit=trial.target --show-status=no
`;

export interface MachineRun {
  /** null when a signal ended it. */
  readonly status: number | null;
  /** Standard output and error, one after the other. */
  readonly output: string;
}

export interface Machine {
  /** A folder of this machine, and what it is called inside. */
  readonly shared: { readonly here: string; readonly inside: string };
  /** Runs a shell line inside, to its end. */
  run(line: string): MachineRun;
  /** The same. @throws Error with the output, when it fails */
  must(line: string): string;
  /** Starts a program inside, which stop() ends. */
  start(program: string, args: readonly string[]): RunningProcess;
  stop(): Promise<void>;
}

const NAMESPACES = ['--mount', '--pid', '--net', '--uts', '--ipc', '--cgroup'] as const;

/** @returns whether one can be booted here: root, and the right to mount */
export const canBoot = (): boolean =>
  existsSync(SYSTEMD) &&
  readFileSync('/proc/filesystems', 'utf8').includes('\toverlay') &&
  spawnSync('unshare', [...NAMESPACES, '--fork', 'true']).status === 0;

/** @param visible folders of this machine that are the same inside, wherever they are mounted */
export async function bootMachine(visible: readonly string[] = []): Promise<Machine> {
  const folder = await scratchFolder('machine');
  const here = join(folder.path, 'shared');
  const changes = join(folder.path, 'changes');
  mkdirSync(here);
  mkdirSync(changes);
  const boot = startProcess(
    'unshare',
    [...NAMESPACES, '--fork', '--kill-child', 'sh', '-c', BOOT, 'boot', changes, here, ...visible],
    { stopSignal: 'SIGKILL' },
  );
  const first = await firstProcess(boot);
  const enter = ['--target', String(first), '--all', '--root', 'env', '-C', '/'];
  const run = (line: string): MachineRun => {
    const { status, stdout, stderr } = spawnSync('nsenter', [...enter, 'sh', '-c', line], {
      encoding: 'utf8',
      timeout: RUN_TIMEOUT_MS,
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' },
    });
    return { status, output: `${stdout}${stderr}` };
  };
  const processes: RunningProcess[] = [];
  const machine: Machine = {
    shared: { here, inside: SHARED },
    run,
    must(line) {
      const { status, output } = run(line);
      if (status !== 0) throw new Error(`${line}: exit code ${status}\n${output}`);
      return output;
    },
    start(program, args) {
      const process = startProcess('nsenter', [...enter, program, ...args]);
      processes.push(process);
      return process;
    },
    async stop() {
      await Promise.all(processes.map((process) => process.stop()));
      await boot.stop();
      await folder.remove();
    },
  };
  try {
    await waitFor(
      () => /running|degraded/.test(run('systemctl is-system-running').output),
      () => `the machine to boot; it wrote:\n${boot.output()}`,
      BOOT_TIMEOUT_MS,
    );
  } catch (error) {
    await machine.stop();
    throw error;
  }
  return machine;
}

/** unshare's child: systemd, by its id here. */
async function firstProcess(boot: RunningProcess): Promise<number> {
  const children = `/proc/${boot.pid}/task/${boot.pid}/children`;
  let first = 0;
  await waitFor(
    () => {
      if (!existsSync(children)) throw new Error(`not booted:\n${boot.output()}`);
      first = Number(readFileSync(children, 'utf8').trim().split(' ')[0]);
      return first > 0 && readFileSync(`/proc/${first}/comm`, 'utf8') === 'systemd\n';
    },
    () => `systemd to start:\n${boot.output()}`,
    BOOT_TIMEOUT_MS,
  );
  return first;
}
