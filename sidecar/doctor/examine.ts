/**
 * What is wrong with a machine that is to run Postilion, and what to do about it. Looks, and changes
 * nothing: see machine.ts for how it looks.
 */
import { isOurselves, parseNameservers } from '../../resolver/resolv-conf.ts';
import { type Endpoint, formatEndpoint } from '../../runtime/settings.ts';
import type { Config } from '../config/schema.ts';
import type { DnsQuestion, Machine } from './machine.ts';

export interface Finding {
  /** Stable, for scripts: 'port', 'resolv-conf', … */
  readonly check: string;
  /** 'wrong' keeps it from working; 'warning' costs speed or safety. */
  readonly level: 'ok' | 'warning' | 'wrong';
  readonly text: string;
  /** What to do; null when all is well. */
  readonly fix: string | null;
}

export interface Patient {
  readonly config: Config;
  readonly machine: Machine;
  /** A Postilion of this configuration answers: its ports are taken by itself. */
  readonly isRunning: boolean;
}

const ok = (check: string, text: string): Finding => ({ check, level: 'ok', text, fix: null });
const warning = (check: string, text: string, fix: string): Finding => ({
  check,
  level: 'warning',
  text,
  fix,
});
const wrong = (check: string, text: string, fix: string): Finding => ({
  check,
  level: 'wrong',
  text,
  fix,
});

export async function examine(patient: Patient): Promise<readonly Finding[]> {
  const { config, machine } = patient;
  const upstreams = await Promise.all(
    upstreamsOf(patient).map((server) => upstreamHonesty(server, machine)),
  );
  return [
    ...(await ports(patient)),
    ...resolvConf(patient),
    openFiles(patient),
    receiveBuffer(machine),
    connectionTracking(machine),
    systemTime(machine),
    entropy(machine),
    ...spool(config, machine),
    ...upstreams.flat(),
    await hostName(config, machine),
  ];
}

async function ports({ config, machine, isRunning }: Patient): Promise<readonly Finding[]> {
  if (isRunning) return [ok('port', 'Postilion is running and has its ports')];
  const { resolver, mta } = config;
  const listeners: readonly {
    readonly key: string;
    readonly at: Endpoint;
    readonly over: 'udp' | 'tcp';
  }[] = [
    ...resolver.listen.flatMap((at) =>
      (['udp', 'tcp'] as const).map((over) => ({ key: 'resolver.listen', at, over })),
    ),
    { key: 'resolver.admin', at: resolver.admin, over: 'tcp' },
    ...mta.smtp.map((at) => ({ key: 'mta.smtp', at, over: 'tcp' as const })),
    { key: 'mta.http', at: mta.http, over: 'tcp' },
  ];
  const findings = await Promise.all(
    listeners.map(async ({ key, at, over }) => {
      const code = await machine.bindTrouble(at, over);
      const text = `${key}: ${formatEndpoint(at)} over ${over}`;
      if (code === null) return [];
      if (code === 'EADDRINUSE')
        return [wrong('port', `${text} is in use`, `stop who has it (ss -lpn), or set ${key}`)];
      if (code === 'EACCES')
        return [
          wrong('port', `${text} is not permitted`, 'start as root or give CAP_NET_BIND_SERVICE'),
        ];
      return [
        wrong(
          'port',
          `${text} cannot be bound: ${code}`,
          `set ${key} to an address of this machine`,
        ),
      ];
    }),
  );
  const troubles = findings.flat();
  return troubles.length > 0 ? troubles : [ok('port', 'every address can be bound')];
}

const nameserversOf = (machine: Machine): readonly Endpoint[] =>
  parseNameservers(machine.readText('/etc/resolv.conf') ?? '');

const isOurs = ({ config, machine }: Patient, server: Endpoint): boolean =>
  isOurselves(server, config.resolver.listen, new Set(['127.0.0.1', ...machine.publicAddresses]));

/** Plain upstreams only; encrypted ones are not asked in clear. */
function upstreamsOf(patient: Patient): readonly Endpoint[] {
  const { upstreams } = patient.config.resolver;
  if (upstreams.length === 0)
    return nameserversOf(patient.machine).filter((server) => !isOurs(patient, server));
  return upstreams.filter(({ transport }) => transport === 'udp');
}

/** resolv.conf has no other. */
const DNS_PORT = 53;

function resolvConf(patient: Patient): readonly Finding[] {
  const { config, machine } = patient;
  const servers = nameserversOf(machine);
  const ours = servers.filter((server) => isOurs(patient, server));
  const hasUpstreams = config.resolver.upstreams.length > 0;
  const check = 'resolv-conf';
  if (!hasUpstreams && servers.length === ours.length) {
    const text =
      ours.length > 0
        ? '/etc/resolv.conf names this resolver, which then has nobody to ask'
        : '/etc/resolv.conf names no server, and resolver.upstreams is empty';
    return [wrong(check, text, 'set resolver.upstreams to the servers of your provider')];
  }
  const onDnsPort = config.resolver.listen.find(({ port }) => port === DNS_PORT);
  if (hasUpstreams && ours.length === 0 && onDnsPort !== undefined) {
    return [
      warning(
        check,
        `the resolver is at port 53, but /etc/resolv.conf names ${namesOf(servers)}: programs here go past it`,
        `nameserver ${onDnsPort.address} in /etc/resolv.conf`,
      ),
    ];
  }
  if (ours.length > 0 && ours.length < servers.length) {
    return [
      warning(
        check,
        `/etc/resolv.conf names this resolver beside ${servers.length - ours.length} other`,
        'name this resolver alone, or programs will go past its cache and budget',
      ),
    ];
  }
  return [ok(check, `/etc/resolv.conf names ${namesOf(servers)}`)];
}

const namesOf = (servers: readonly Endpoint[]): string =>
  servers.map(({ address }) => address).join(', ') || 'nobody';

/** Files, listeners, spool and HTTP clients besides connections to MX hosts and from clients. */
const OTHER_FILES = 512;

function openFiles({ config, machine }: Patient): Finding {
  const limits = machine.readText('/proc/self/limits') ?? '';
  // The hard limit: Node raises the soft one to it by itself.
  const limit = Number(
    /^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY,
  );
  const needed = config.mta.delivery.connections_total + config.mta.smtp_clients + OTHER_FILES;
  const text = `${limit} files may be open, up to ${needed} are needed`;
  if (limit >= needed) return ok('files', text);
  return wrong('files', text, `LimitNOFILE=${2 * needed} in the unit, or ulimit -Hn ${2 * needed}`);
}

/** As the resolver's listeners ask for. */
const RECEIVE_BUFFER_BYTES = 8_388_608;

function receiveBuffer(machine: Machine): Finding {
  const text = machine.readText('/proc/sys/net/core/rmem_max');
  if (text === null) return ok('buffers', 'net.core.rmem_max cannot be read here');
  const bytes = Number(text);
  if (bytes >= RECEIVE_BUFFER_BYTES) return ok('buffers', `net.core.rmem_max is ${bytes}`);
  return warning(
    'buffers',
    `net.core.rmem_max is ${bytes}: bursts of DNS queries beyond that are dropped`,
    `sysctl -w net.core.rmem_max=${RECEIVE_BUFFER_BYTES}`,
  );
}

const CONNTRACK_SHARE_MAX = 0.8;

function connectionTracking(machine: Machine): Finding {
  const read = (name: string): number =>
    Number(machine.readText(`/proc/sys/net/netfilter/nf_conntrack_${name}`) ?? Number.NaN);
  const [count, max] = [read('count'), read('max')];
  if (Number.isNaN(count / max)) return ok('conntrack', 'connections are not tracked');
  const text = `${count} of ${max} connections tracked`;
  if (count < CONNTRACK_SHARE_MAX * max) return ok('conntrack', text);
  return wrong(
    'conntrack',
    `${text}: when it is full, packets are dropped`,
    `sysctl -w net.netfilter.nf_conntrack_max=${2 * max}, or do not track UDP port 53 (NOTRACK)`,
  );
}

/** No Postilion is older. */
const EARLIEST_MS = Date.UTC(2025, 0, 1);
const TIME_KEEPERS = [
  '/run/systemd/timesync/synchronized',
  '/run/chrony/chronyd.pid',
  '/run/chronyd.pid',
  '/run/ntpd.pid',
  '/run/openntpd.sock',
] as const;

function systemTime(machine: Machine): Finding {
  const now = new Date(machine.wallMs).toISOString();
  if (machine.wallMs < EARLIEST_MS)
    return wrong('clock', `the clock says ${now}`, 'set it, and run chrony or systemd-timesyncd');
  if (TIME_KEEPERS.some((path) => machine.exists(path))) return ok('clock', 'the clock is kept');
  return warning(
    'clock',
    'nobody seems to keep the clock: DKIM, TLS and retries go by it',
    'run chrony or systemd-timesyncd; in a container, see to it on the host',
  );
}

const ENTROPY_BITS_MIN = 256;

function entropy(machine: Machine): Finding {
  const text = machine.readText('/proc/sys/kernel/random/entropy_avail');
  const bits = text === null ? ENTROPY_BITS_MIN : Number(text);
  if (bits >= ENTROPY_BITS_MIN) return ok('entropy', 'there is randomness enough');
  return warning('entropy', `only ${bits} bits of entropy`, 'run rng-tools, or give virtio-rng');
}

/** Room for a day's retries of a small host, beside the reserve. */
const SPOOL_BYTES_MIN = 1_073_741_824;

function spool({ mta }: Config, machine: Machine): readonly Finding[] {
  const { writable, freeBytes } = machine.folder(mta.spool);
  const mebibytes = Math.floor(freeBytes / 1_048_576);
  if (!writable)
    return [wrong('spool', `${mta.spool} cannot be written`, `chown it to who runs the mta`)];
  if (freeBytes <= mta.spool_reserve)
    return [
      wrong(
        'spool',
        `${mebibytes} MiB free at ${mta.spool}: less than mta.spool_reserve, so no mail is taken`,
        'free disk space, or set mta.spool to another disk',
      ),
    ];
  if (freeBytes < mta.spool_reserve + SPOOL_BYTES_MIN)
    return [
      warning('spool', `only ${mebibytes} MiB free at ${mta.spool}`, 'give it a GiB or more'),
    ];
  return [ok('spool', `${mebibytes} MiB free at ${mta.spool}`)];
}

const NXDOMAIN = 3;
/** The root's NS have 518,400. */
const TTL_SECONDS_MIN = 3_600;

async function upstreamHonesty(server: Endpoint, machine: Machine): Promise<readonly Finding[]> {
  const who = `upstream ${formatEndpoint(server)}`;
  const ask = (name: string, type: DnsQuestion['type'], over: DnsQuestion['over'] = 'udp') =>
    machine.ask({ server, name, type, over });
  const [root, overTcp, nowhere] = await Promise.all([
    ask('.', 'NS'),
    ask('.', 'SOA', 'tcp'),
    ask(`${machine.randomLabel()}.com`, 'A'),
  ]);
  if (root === null) {
    const fix = 'name one that answers in resolver.upstreams, or open UDP port 53 to it';
    return [wrong('upstream', `${who} does not answer`, fix)];
  }
  const findings: Finding[] = [];
  const add = (finding: Finding): void => void findings.push(finding);
  if (overTcp === null)
    add(wrong('upstream-tcp', `${who} does not answer over TCP`, 'open TCP port 53 to it'));
  if (nowhere !== null && nowhere.rcode !== NXDOMAIN && nowhere.answers > 0)
    add(
      wrong(
        'upstream-nxdomain',
        `${who} invents answers for names that do not exist: mail to them would go astray`,
        'use another, or have the provider switch that off',
      ),
    );
  if (!root.authenticated)
    add(
      warning(
        'upstream-ad',
        `${who} does not validate (no AD): no DANE`,
        'use one that validates DNSSEC, such as an Unbound of your own',
      ),
    );
  if (root.ttlSeconds !== null && root.ttlSeconds < TTL_SECONDS_MIN)
    add(
      warning(
        'upstream-ttl',
        `${who} gives the root ${root.ttlSeconds} s to live: it seems to cut TTLs`,
        'nothing needs doing, but more packets will be asked; another upstream may not cut them',
      ),
    );
  return findings.length > 0 ? findings : [ok('upstream', `${who} is honest`)];
}

async function hostName({ mta }: Config, machine: Machine): Promise<Finding> {
  const { hostname } = mta;
  const check = 'hostname';
  const fix = 'set mta.hostname to the name that your public address resolves to';
  if (!hostname.includes('.'))
    return wrong(check, `"${hostname}" has no domain; many servers refuse such an EHLO`, fix);
  const names = await Promise.all(machine.publicAddresses.map((each) => machine.namesOf(each)));
  const known = names.flatMap((each) => each ?? []);
  if (known.includes(hostname)) return ok(check, `an address of ours is called ${hostname}`);
  const found = known.length === 0 ? 'no PTR' : `PTR ${known.join(', ')}`;
  return warning(
    check,
    `no address of this machine is called ${hostname} (${found}); behind NAT that cannot be seen here`,
    fix,
  );
}
