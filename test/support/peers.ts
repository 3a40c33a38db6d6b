/**
 * Which real servers and clients a test needs, and what happens where they are missing: the test is
 * skipped and the apt line printed; with CI=true the file fails, so that nothing is skipped unseen.
 * What the machine itself cannot give (root, a private network) only ever skips.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe } from 'vitest';

/** Program that proves the peer is there → Debian package that brings it. */
const PACKAGE_OF = {
  curl: 'curl',
  dig: 'bind9-dnsutils',
  dnsdist: 'dnsdist',
  dnsperf: 'dnsperf',
  nsd: 'nsd',
  opendkim: 'opendkim',
  postfix: 'postfix',
  python3: 'python3',
  'smtp-sink': 'postfix',
  'smtp-source': 'postfix',
  swaks: 'swaks',
  unbound: 'unbound',
  'swaks-tls': 'libnet-ssleay-perl',
} as const;

/** What is proved by running something rather than by a program's name. */
const PROOF: Readonly<Partial<Record<keyof typeof PACKAGE_OF, readonly [string, ...string[]]>>> = {
  'swaks-tls': ['perl', '-MNet::SSLeay', '-e', '1'],
};

/** What is no package: the right to do something on this machine. */
const ABILITIES = {
  root: { has: () => process.getuid?.() === 0, why: 'run as root' },
  /** Linux alone answers on all of 127.0.0.0/8 without being told to. */
  'loopback-network': { has: () => process.platform === 'linux', why: 'run on Linux' },
  tmpfs: {
    has: () => spawnSync('unshare', ['--mount', 'true']).status === 0,
    why: 'run as root with CAP_SYS_ADMIN',
  },
} as const;

export type Peer = keyof typeof PACKAGE_OF;
export type Ability = keyof typeof ABILITIES;

const isAbility = (need: Peer | Ability): need is Ability => Object.hasOwn(ABILITIES, need);

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
 * @throws Error with the apt line when CI=true and a package is missing
 */
export function requirePeer(...needs: readonly (Peer | Ability)[]): typeof describe {
  const missing = new Set<string>();
  const unable: string[] = [];
  for (const need of needs) {
    if (isAbility(need)) {
      if (!ABILITIES[need].has()) unable.push(ABILITIES[need].why);
    } else if (!hasPeer(need)) {
      missing.add(PACKAGE_OF[need]);
    }
  }
  if (missing.size === 0 && unable.length === 0) return describe;
  if (missing.size > 0) unable.unshift(`apt-get install ${[...missing].join(' ')}`);
  const advice = unable.join('; ');
  if (missing.size > 0 && process.env.CI === 'true') throw new Error(`missing peers: ${advice}`);
  console.warn(`skipped: to run these tests, ${advice}`);
  return describe.skip as typeof describe;
}
