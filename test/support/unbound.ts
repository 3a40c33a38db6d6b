/** Unbound as the upstream resolver, stubbed to a local authority; it never asks the internet. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProcess, startProcess } from './process.ts';
import { freePort, scratchFolder } from './scratch.ts';

export interface UnboundOptions {
  /** Origins without final dot that `authority` serves. */
  readonly zones: readonly string[];
  readonly authority: { readonly address: string; readonly port: number };
  readonly address?: string;
  /** DS in presentation form; with it, responses are validated. */
  readonly trustAnchor?: string;
  /** Default: one that is free. */
  readonly port?: number;
}

export interface Unbound {
  readonly address: string;
  readonly port: number;
  /** Queries that clients asked since the start. */
  queries(): Promise<number>;
  output(): string;
  stop(): Promise<void>;
}

export async function startUnbound(options: UnboundOptions): Promise<Unbound> {
  const { zones, authority, trustAnchor, address = '127.0.0.1' } = options;
  const folder = await scratchFolder('unbound');
  const port = options.port ?? (await freePort(address));
  const at = (name: string): string => join(folder.path, name);
  const stubs = zones.map(
    (zone) => `stub-zone:
  name: "${zone}."
  stub-addr: ${authority.address}@${authority.port}
  stub-no-cache: no
`,
  );
  await writeFile(
    at('unbound.conf'),
    `server:
  interface: ${address}
  port: ${port}
  access-control: 127.0.0.0/8 allow
  access-control: ::1 allow
  username: ""
  chroot: ""
  directory: "${folder.path}"
  pidfile: "${at('unbound.pid')}"
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 1
  log-time-ascii: no
  num-threads: 1
  do-ip6: no
  do-not-query-localhost: no
  module-config: "${trustAnchor === undefined ? 'iterator' : 'validator iterator'}"
  ${trustAnchor === undefined ? '' : `trust-anchor: "${trustAnchor}"`}
  rrset-roundrobin: no
  # Retries within what the tests wait for, also when the authority is stopped.
  infra-host-ttl: 1
remote-control:
  control-enable: yes
  control-interface: "${at('control')}"
  control-use-cert: no
${stubs.join('')}`,
  );
  const unbound = startProcess('unbound', ['-d', '-c', at('unbound.conf')]);
  const stop = async (): Promise<void> => {
    await unbound.stop();
    await folder.remove();
  };
  try {
    await unbound.waitForOutput(/start of service/);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    address,
    port,
    output: unbound.output,
    async queries() {
      const { output } = await runProcess('unbound-control', [
        '-c',
        at('unbound.conf'),
        'stats_noreset',
      ]);
      const [, count] = /^total\.num\.queries=(\d+)$/m.exec(output) ?? [];
      if (count === undefined) throw new Error(`unbound-control answered: ${output}`);
      return Number(count);
    },
    stop,
  };
}
