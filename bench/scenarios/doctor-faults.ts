/**
 * `postilion doctor` on a machine of its own, before and after faults are planted there: each is found, by
 * its name, with what to do about it. Ports, limits, files, mounts and the lying upstream are real; readings
 * that belong to the kernel of this machine are files mounted over theirs.
 */
import { realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { columns } from '../../sidecar/commands/print.ts';
import type { Finding } from '../../sidecar/doctor/examine.ts';
import { bootMachine, type Machine } from '../../test/support/machine.ts';
import { waitFor } from '../../test/support/process.ts';
import { benchMain } from '../load/command.ts';

const ROOT = realpathSync(fileURLToPath(new URL('../..', import.meta.url)));
const MODULES = realpathSync(join(ROOT, 'node_modules'));
const CLI = join(ROOT, 'sidecar/cli.ts');
const UPSTREAM = '127.0.0.9';

export interface Planted {
  readonly fault: string;
  /** As `doctor --json` names it. */
  readonly check: string;
  readonly level: 'warning' | 'wrong';
  /** Of the machine, in its shell; "$etc" is where the configuration is. */
  readonly by: string;
  /** In the shell that calls the doctor, for what is inherited. */
  readonly inherited?: string;
}

const reading = (file: string, value: number): string => {
  const name = file.replaceAll('/', '_');
  return `echo ${value} >/run/${name} && mount --bind /run/${name} ${file}`;
};

export const FAULTS: readonly Planted[] = [
  {
    fault: 'somebody else has the SMTP port',
    check: 'port',
    level: 'wrong',
    by: `systemd-run --quiet --unit=squatter ${process.execPath} -e 'require("net").createServer().listen(2525, "127.0.0.1")'`,
  },
  {
    fault: 'resolv.conf names another server',
    check: 'resolv-conf',
    level: 'warning',
    by: `echo nameserver ${UPSTREAM} >/etc/resolv.conf`,
  },
  {
    fault: 'few files may be open',
    check: 'files',
    level: 'wrong',
    by: 'true',
    inherited: 'ulimit -n 1024',
  },
  {
    fault: 'small socket buffers',
    check: 'buffers',
    level: 'warning',
    by: reading('/proc/sys/net/core/rmem_max', 212_992),
  },
  {
    fault: 'connection tracking is nearly full',
    check: 'conntrack',
    level: 'wrong',
    by: `${reading('/proc/sys/net/netfilter/nf_conntrack_count', 65_000)} && ${reading('/proc/sys/net/netfilter/nf_conntrack_max', 65_536)}`,
  },
  {
    fault: 'the clock says 1970',
    check: 'clock',
    level: 'wrong',
    by: 'true',
    inherited: `export NODE_OPTIONS='--import=data:text/javascript,Date.now=()=>0'`,
  },
  {
    fault: 'no entropy',
    check: 'entropy',
    level: 'warning',
    by: reading('/proc/sys/kernel/random/entropy_avail', 12),
  },
  {
    fault: 'the spool is on a read-only file system',
    check: 'spool',
    level: 'wrong',
    by: 'mkdir -p /var/lib/postilion/spool && mount -t tmpfs -o ro tmpfs /var/lib/postilion/spool',
  },
  {
    fault: 'the upstream has no TCP',
    check: 'upstream-tcp',
    level: 'wrong',
    by: "sed -i 's/do-tcp: yes/do-tcp: no/' /etc/upstream.conf",
  },
  {
    fault: 'the upstream rewrites NXDOMAIN',
    check: 'upstream-nxdomain',
    level: 'wrong',
    by: `printf '%s\\n' 'local-zone: "com." redirect' 'local-data: "com. 300 A 192.0.2.1"' >>/etc/upstream.conf`,
  },
  {
    fault: 'the upstream cuts TTLs',
    check: 'upstream-ttl',
    level: 'warning',
    by: "sed -i 's/518400/300/' /etc/upstream.conf",
  },
  {
    fault: 'the hostname has no domain',
    check: 'hostname',
    level: 'wrong',
    by: "sed -i 's/mta.example.net/vm/' /etc/postilion.toml",
  },
];

/** It answers for the root as a resolver would, but for the AD flag: there is no root key to validate by. */
const HONEST_UPSTREAM = `server:
  interface: ${UPSTREAM}
  access-control: 127.0.0.0/8 allow
  chroot: ""
  username: ""
  directory: "/tmp"
  pidfile: "/run/upstream.pid"
  use-syslog: no
  do-tcp: yes
  local-zone: "." static
  local-data: ". 518400 NS a.root-servers.net."
  local-data: ". 518400 SOA a.root-servers.net. nstld.verisign-grs.com. 1 1800 900 604800 86400"
`;
/** Not well on any such machine: that AD flag, and an address beyond loopback, whose name could be looked up. */
export const UNAVOIDABLE = ['upstream-ad', 'hostname'];

const CONFIG = `
[resolver]
listen    = ["127.0.0.2:53"]
upstreams = ["${UPSTREAM}"]
[mta]
hostname  = "mta.example.net"
spool     = "/var/lib/postilion/spool"
`;
const HEALTHY = [
  'echo nameserver 127.0.0.2 >/etc/resolv.conf',
  'mkdir -p /run/systemd/timesync && touch /run/systemd/timesync/synchronized',
  reading('/proc/sys/net/core/rmem_max', 8_388_608),
];

export interface DoctorFaults {
  /** Checks that were not well before anything was planted. */
  readonly before: readonly string[];
  /** Of the planted faults, those found. */
  readonly found: readonly Planted[];
  readonly missed: readonly string[];
  /** Checks that are not well, though nothing was planted there. */
  readonly unplanted: readonly string[];
  readonly exitCodes: readonly (number | null)[];
  readonly findings: readonly Finding[];
}

export async function runDoctorFaults(): Promise<DoctorFaults> {
  const machine = await bootMachine([ROOT, MODULES]);
  try {
    const share = (name: string, text: string): void => {
      writeFileSync(join(machine.shared.here, name), text);
      machine.must(`cp ${machine.shared.inside}/${name} /etc/${name}`);
    };
    share('upstream.conf', HONEST_UPSTREAM);
    share('postilion.toml', CONFIG);
    for (const line of HEALTHY) machine.must(line);
    await startUpstream(machine);
    const before = doctor(machine, []);

    for (const { by } of FAULTS) machine.must(by);
    machine.must('kill $(cat /run/upstream.pid)');
    await startUpstream(machine);
    await waitFor(
      () => machine.run('ss -Hltn "sport = :2525"').output !== '',
      'the port to be taken',
    );
    const after = doctor(
      machine,
      FAULTS.flatMap(({ inherited }) => inherited ?? []),
    );
    return judge(before, after);
  } finally {
    await machine.stop();
  }
}

interface Examination {
  readonly exitCode: number | null;
  readonly findings: readonly Finding[];
}

function doctor(machine: Machine, inherited: readonly string[]): Examination {
  const command = `${process.execPath} ${CLI} doctor --config /etc/postilion.toml --json`;
  const { status, output } = machine.run([...inherited, command].join('; '));
  return { exitCode: status, findings: (JSON.parse(output) as Examination).findings };
}

async function startUpstream(machine: Machine): Promise<void> {
  machine.must('until ! ss -Hlun "sport = :53" | grep -q .; do sleep 0.1; done');
  machine.start('unbound', ['-d', '-c', '/etc/upstream.conf']);
  await waitFor(
    () => machine.run(`dig +short +tries=1 +time=1 @${UPSTREAM} . NS`).output.includes('root'),
    'the upstream to answer',
  );
}

function judge(before: Examination, after: Examination): DoctorFaults {
  const unwell = ({ findings }: Examination) => findings.filter(({ level }) => level !== 'ok');
  const isFound = ({ check, level }: Planted): boolean =>
    after.findings.some(
      (finding) => finding.check === check && finding.level === level && finding.fix !== null,
    );
  const planted = FAULTS.map(({ check }) => check);
  return {
    before: unwell(before).map(({ check }) => check),
    found: FAULTS.filter(isFound),
    missed: FAULTS.filter((fault) => !isFound(fault)).map(({ fault }) => fault),
    unplanted: unwell(after)
      .map(({ check }) => check)
      .filter((check) => !planted.includes(check)),
    exitCodes: [before.exitCode, after.exitCode],
    findings: after.findings,
  };
}

if (import.meta.main) {
  await benchMain({
    defaults: {},
    run: async () => {
      const outcome = await runDoctorFaults();
      if (process.argv.includes('--json')) return outcome;
      const rows = FAULTS.flatMap(({ fault, check }) => {
        const finding = outcome.findings.find((each) => each.check === check);
        const isFound = outcome.found.some((found) => found.fault === fault);
        return [
          [isFound ? 'found' : 'MISSED', fault, finding?.text ?? ''],
          ['', '', `→ ${finding?.fix ?? ''}`],
        ];
      });
      process.stdout.write(columns(rows));
      return outcome;
    },
    failed: (outcome) => (outcome as DoctorFaults).missed.length > 0,
  });
}
