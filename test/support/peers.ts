/**
 * Which real servers and clients a test needs, and what happens where they are missing: the test is
 * skipped and the apt line printed; with CI=true the file fails, so that nothing is skipped unseen.
 *
 * What the machine is to give (root, Linux) is no different, since .ci/run runs as root on Debian. One
 * right alone may be missing there without a word: that to mount, which containers withhold by default.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe } from 'vitest';
import { canBoot } from './machine.ts';

/** Program that proves the peer is there → Debian package that brings it. */
const PACKAGE_OF = {
  chromium: 'chromium fonts-inter',
  curl: 'curl',
  dig: 'bind9-dnsutils',
  dnsdist: 'dnsdist',
  dnsperf: 'dnsperf',
  fish: 'fish',
  gcc: 'gcc libc6-dev',
  nft: 'nftables',
  nsd: 'nsd',
  opendkim: 'opendkim',
  postfix: 'postfix',
  prometheus: 'prometheus',
  promtool: 'prometheus',
  python3: 'python3',
  rspamadm: 'rspamd',
  'smtp-sink': 'postfix',
  'smtp-source': 'postfix',
  swaks: 'swaks',
  'systemd-analyze': 'systemd',
  unbound: 'unbound',
  zsh: 'zsh',
  'swaks-tls': 'libnet-ssleay-perl',
} as const;

/** What is proved by running something rather than by a program's name. */
const PROOF: Readonly<Partial<Record<keyof typeof PACKAGE_OF, readonly [string, ...string[]]>>> = {
  gcc: ['gcc', '-E', '-include', 'stdlib.h', '-x', 'c', '/dev/null'],
  'swaks-tls': ['perl', '-MNet::SSLeay', '-e', '1'],
};

/** CAP_SYS_ADMIN, by its number in linux/capability.h. */
const SYS_ADMIN = 21n;

/** No process here can come by it, root or not: so it is in a container that was not given more. */
function containerWithholds(capability: bigint): boolean {
  if (process.platform !== 'linux') return false;
  const [, bounding = '0'] =
    /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return ((BigInt(`0x${bounding}`) >> capability) & 1n) === 0n;
}

interface Ability {
  readonly why: string;
  has(): boolean;
  /** It is not to be had in the container that we run in, so that CI too goes without. */
  readonly withheld?: () => boolean;
}

/** What is no package: the right to do something on this machine. */
const ABILITIES = {
  root: { has: () => process.getuid?.() === 0, why: 'run as root' },
  /** Linux alone answers on all of 127.0.0.0/8 without being told to. */
  'loopback-network': { has: () => process.platform === 'linux', why: 'run on Linux' },
  'private-network': {
    has: () => spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']).status === 0,
    why: 'run as root with CAP_SYS_ADMIN and iproute2',
  },
  tmpfs: {
    has: () => spawnSync('unshare', ['--mount', 'true']).status === 0,
    why: 'run as root with CAP_SYS_ADMIN',
    withheld: () => containerWithholds(SYS_ADMIN),
  },
  machine: {
    has: canBoot,
    why: 'run as root with CAP_SYS_ADMIN and overlayfs',
    withheld: () => containerWithholds(SYS_ADMIN),
  },
} as const satisfies Readonly<Record<string, Ability>>;

export type Peer = keyof typeof PACKAGE_OF;
export type AbilityName = keyof typeof ABILITIES;

const isAbility = (need: Peer | AbilityName): need is AbilityName => Object.hasOwn(ABILITIES, need);

const hasPeer = (need: Peer): boolean => {
  const [program, ...args] = PROOF[need] ?? [];
  return program === undefined ? hasProgram(need) : spawnSync(program, args).status === 0;
};

/** Debian keeps servers in sbin, which the PATH of an ordinary user lacks. */
export const PEER_PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];

export function hasProgram(name: string): boolean {
  return PEER_PATH.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * The `describe` for tests that need `needs`:
 *
 *     requirePeer('nsd', 'unbound')('resolver behind unbound', () => { … });
 *
 * @throws Error that says what to do, when CI=true and something is missing that CI is to have
 */
export function requirePeer(...needs: readonly (Peer | AbilityName)[]): typeof describe {
  const packages = new Set<string>();
  const unable: Ability[] = [];
  for (const need of needs) {
    if (!isAbility(need)) {
      if (!hasPeer(need)) packages.add(PACKAGE_OF[need]);
    } else if (!ABILITIES[need].has()) unable.push(ABILITIES[need]);
  }
  if (packages.size === 0 && unable.length === 0) return describe;
  const advice = [
    ...(packages.size === 0 ? [] : [`apt-get install ${[...packages].join(' ')}`]),
    ...unable.map(({ why }) => why),
  ].join('; ');
  const excused = packages.size === 0 && unable.every(({ withheld }) => withheld?.() === true);
  if (!excused && process.env.CI === 'true') throw new Error(`missing peers: ${advice}`);
  console.warn(`skipped: to run these tests, ${advice}`);
  return describe.skip as typeof describe;
}
