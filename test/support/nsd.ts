/** NSD as an authority: zones from a description, on a loopback port of its own. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProcess, startProcess } from './process.ts';
import { freePort, scratchFolder } from './scratch.ts';

/** Zone of authority. SOA and NS are added unless it is bare; names without a final dot are relative to `origin`. */
export interface Zone {
  /** Without final dot; not under "test", which resolvers answer themselves (RFC 6761 §6.2). */
  readonly origin: string;
  /** Lines of a master file (RFC 1035 §5), such as "www 60 IN A 192.0.2.1". */
  readonly records: readonly string[];
  /** SOA MINIMUM, the lifetime of negative answers; default 60. */
  readonly negativeTtlSeconds?: number;
  /** The records are the whole zone. */
  readonly bare?: boolean;
}

export interface Nsd {
  readonly address: string;
  readonly port: number;
  /** Queries received since the start, over UDP and TCP. */
  queries(): Promise<number>;
  output(): string;
  stop(): Promise<void>;
}

function zoneFile({ origin, records, negativeTtlSeconds = 60, bare = false }: Zone): string {
  const apex = [
    `@ IN SOA ns hostmaster 1 3600 600 86400 ${negativeTtlSeconds}`,
    '@ IN NS ns',
    'ns IN A 127.0.0.1',
  ];
  return [`$ORIGIN ${origin}.`, '$TTL 300', ...(bare ? [] : apex), ...records, ''].join('\n');
}

export async function startNsd(zones: readonly Zone[], address = '127.0.0.1'): Promise<Nsd> {
  const folder = await scratchFolder('nsd');
  const port = await freePort(address);
  const at = (name: string): string => join(folder.path, name);
  await mkdir(at('zones'));
  const declarations: string[] = [];
  for (const [index, zone] of zones.entries()) {
    await writeFile(at(`zones/${index}`), zoneFile(zone));
    declarations.push(`zone:\n  name: ${zone.origin}\n  zonefile: ${at(`zones/${index}`)}`);
  }
  await writeFile(
    at('nsd.conf'),
    `server:
  ip-address: ${address}@${port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "${folder.path}"
  zonelistfile: "${at('zone.list')}"
  pidfile: "${at('nsd.pid')}"
  xfrdfile: "${at('xfrd.state')}"
  xfrdir: "${folder.path}"
  database: ""
  minimal-responses: yes
  rrl-ratelimit: 0
remote-control:
  control-enable: yes
  control-interface: "${at('control')}"
${declarations.join('\n')}
`,
  );
  const nsd = startProcess('nsd', ['-d', '-c', at('nsd.conf')]);
  const stop = async (): Promise<void> => {
    await nsd.stop();
    await folder.remove();
  };
  try {
    await nsd.waitForOutput(/nsd started/);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    address,
    port,
    output: nsd.output,
    async queries() {
      const { output } = await runProcess('nsd-control', ['-c', at('nsd.conf'), 'stats_noreset']);
      const [, count] = /^num\.queries=(\d+)$/m.exec(output) ?? [];
      if (count === undefined) throw new Error(`nsd-control answered: ${output}`);
      return Number(count);
    },
    stop,
  };
}
