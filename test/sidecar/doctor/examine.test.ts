/** Planted faults: each is found, by its name, and nothing else is. */
import { expect, test } from 'vitest';
import { type Config, configSchema } from '../../../sidecar/config/schema.ts';
import { examine } from '../../../sidecar/doctor/examine.ts';
import type { DnsQuestion, DnsReply, Machine } from '../../../sidecar/doctor/machine.ts';

const FILES: Readonly<Record<string, string>> = {
  '/etc/resolv.conf': 'search example.net\nnameserver 192.0.2.53\n',
  '/proc/self/limits':
    'Max open files            1024                 524288               files\n',
  '/proc/sys/net/core/rmem_max': '8388608\n',
  '/proc/sys/net/netfilter/nf_conntrack_count': '10\n',
  '/proc/sys/net/netfilter/nf_conntrack_max': '1000\n',
  '/proc/sys/kernel/random/entropy_avail': '256\n',
};

const honest = ({ name }: DnsQuestion): DnsReply =>
  name === '.'
    ? { rcode: 0, answers: 13, authenticated: true, ttlSeconds: 518_400 }
    : { rcode: 3, answers: 0, authenticated: true, ttlSeconds: null };

interface Fault {
  readonly files?: Readonly<Record<string, string>>;
  readonly machine?: Partial<Machine>;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly answers?: (question: DnsQuestion) => Partial<DnsReply> | null;
}

function patientOf({ files, machine, config, answers }: Fault) {
  const all = { ...FILES, ...files };
  const healthy: Machine = {
    readText: (path) => all[path] ?? null,
    exists: (path) => path === '/run/systemd/timesync/synchronized',
    bindTrouble: async () => null,
    folder: () => ({ writable: true, freeBytes: 10 * 2 ** 30 }),
    async ask(question) {
      const changed = answers?.(question);
      return changed === null ? null : { ...honest(question), ...changed };
    },
    namesOf: async () => ['mta.example.net'],
    publicAddresses: ['203.0.113.25'],
    wallMs: Date.UTC(2026, 5, 1),
    randomLabel: () => 'qqqq',
  };
  const parsed: Config = configSchema.parse({
    resolver: { listen: ['127.0.0.2:53'], ...config },
    mta: { hostname: 'mta.example.net' },
    log: {},
  });
  return { config: parsed, machine: { ...healthy, ...machine }, isRunning: false };
}

const found = async (fault: Fault): Promise<readonly string[]> =>
  (await examine(patientOf(fault)))
    .filter(({ level }) => level !== 'ok')
    .map(({ check, level, fix }) => `${level} ${check}${fix === null ? ' without a fix' : ''}`);

test('a healthy machine', async () => expect(await found({})).toEqual([]));

const bindFails = (code: string): Partial<Machine> => ({
  bindTrouble: async ({ port }, over) => (port === 53 && over === 'udp' ? code : null),
});

test.each<[string, Fault, string]>([
  ['a port is taken', { machine: bindFails('EADDRINUSE') }, 'wrong port'],
  ['a port is privileged', { machine: bindFails('EACCES') }, 'wrong port'],
  [
    'resolv.conf loops',
    { files: { '/etc/resolv.conf': 'nameserver 127.0.0.2\n' } },
    'wrong resolv-conf',
  ],
  ['resolv.conf is empty', { files: { '/etc/resolv.conf': '' } }, 'wrong resolv-conf'],
  [
    'resolv.conf goes past us',
    { files: { '/etc/resolv.conf': 'nameserver 127.0.0.2\nnameserver 192.0.2.53\n' } },
    'warning resolv-conf',
  ],
  [
    'resolv.conf names only others',
    { config: { upstreams: ['192.0.2.53'] } },
    'warning resolv-conf',
  ],
  [
    'few files',
    { files: { '/proc/self/limits': 'Max open files            1024     1024     files\n' } },
    'wrong files',
  ],
  ['small buffers', { files: { '/proc/sys/net/core/rmem_max': '212992\n' } }, 'warning buffers'],
  [
    'conntrack nearly full',
    { files: { '/proc/sys/net/netfilter/nf_conntrack_count': '990\n' } },
    'wrong conntrack',
  ],
  ['the clock is of 1970', { machine: { wallMs: 0 } }, 'wrong clock'],
  ['nobody keeps the clock', { machine: { exists: () => false } }, 'warning clock'],
  ['no entropy', { files: { '/proc/sys/kernel/random/entropy_avail': '12\n' } }, 'warning entropy'],
  [
    'a spool that cannot be written',
    { machine: { folder: () => ({ writable: false, freeBytes: 2 ** 40 }) } },
    'wrong spool',
  ],
  [
    'a full disk',
    { machine: { folder: () => ({ writable: true, freeBytes: 1_000 }) } },
    'wrong spool',
  ],
  ['a silent upstream', { answers: () => null }, 'wrong upstream'],
  [
    'an upstream without TCP',
    { answers: ({ over }) => (over === 'tcp' ? null : {}) },
    'wrong upstream-tcp',
  ],
  [
    'an upstream that rewrites NXDOMAIN',
    { answers: ({ name }) => (name === '.' ? {} : { rcode: 0, answers: 1 }) },
    'wrong upstream-nxdomain',
  ],
  [
    'an upstream that does not validate',
    { answers: () => ({ authenticated: false }) },
    'warning upstream-ad',
  ],
  [
    'an upstream that cuts TTLs',
    { answers: ({ name }) => (name === '.' ? { ttlSeconds: 300 } : {}) },
    'warning upstream-ttl',
  ],
  ['another PTR', { machine: { namesOf: async () => ['ip-203.example'] } }, 'warning hostname'],
])('%s', async (_name, fault, finding) => expect(await found(fault)).toEqual([finding]));

test('a running Postilion has its own ports', async () => {
  const patient = { ...patientOf({ machine: bindFails('EADDRINUSE') }), isRunning: true };
  expect((await examine(patient)).filter(({ level }) => level !== 'ok')).toEqual([]);
});
