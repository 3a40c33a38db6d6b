/** A resolver in a machine of the test's own, which asks nobody: it knows one domain that takes mail. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from './machine.ts';

/** Its MX host is mx.remote.example, at 192.0.2.25, where nobody is. */
const DOMAIN = 'remote.example';

/**
 * Needs the peer 'unbound'.
 *
 * @param addresses where it answers, on port 53
 * @param more lines of the server clause
 */
export function startUpstream(
  machine: Machine,
  addresses: readonly string[],
  more: readonly string[] = [],
): void {
  const lines = [
    ...addresses.map((address) => `interface: ${address}`),
    'access-control: 0.0.0.0/0 allow',
    'chroot: ""',
    'username: ""',
    'directory: "/tmp"',
    'pidfile: "/run/unbound.pid"',
    'use-syslog: no',
    `local-zone: "${DOMAIN}." static`,
    `local-data: "${DOMAIN}. 3600 MX 10 mx.${DOMAIN}."`,
    `local-data: "mx.${DOMAIN}. 3600 A 192.0.2.25"`,
    ...more,
  ];
  const config = `server:\n${lines.map((line) => `  ${line}\n`).join('')}`;
  writeFileSync(join(machine.shared.here, 'unbound.conf'), config);
  machine.start('unbound', ['-d', '-c', `${machine.shared.inside}/unbound.conf`]);
}
