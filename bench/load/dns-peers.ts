/** Other forwarding resolvers, configured as a mail host would have them, in front of one upstream. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Endpoint } from '../../runtime/settings.ts';
import { startProcess } from '../../test/support/process.ts';
import { freePort, scratchFolder } from '../../test/support/scratch.ts';

export interface DnsPeer extends Endpoint {
  stop(): Promise<void>;
}

/** @param packetsPerSecond what it is told to keep to, as far as it can be told */
export type StartPeer = (upstream: Endpoint, packetsPerSecond: number) => Promise<DnsPeer>;

interface Launch {
  readonly program: string;
  readonly args: (file: string) => readonly string[];
  readonly config: (at: Endpoint, upstream: Endpoint, packetsPerSecond: number) => string;
  readonly ready: RegExp;
}

const launch =
  ({ program, args, config, ready }: Launch): StartPeer =>
  async (upstream, packetsPerSecond) => {
    const folder = await scratchFolder(program);
    const at = { address: '127.0.0.1', port: await freePort() };
    const file = join(folder.path, 'peer.conf');
    await writeFile(file, config(at, upstream, packetsPerSecond));
    const peer = startProcess(program, args(file));
    const stop = async (): Promise<void> => {
      await peer.stop();
      await folder.remove();
    };
    try {
      await peer.waitForOutput(ready);
    } catch (error) {
      await stop();
      throw error;
    }
    return { ...at, stop };
  };

/** It has no limit on what it sends, only on what clients ask (ip-ratelimit drops). */
export const startUnboundForwarder = launch({
  program: 'unbound',
  args: (file) => ['-d', '-c', file],
  ready: /start of service/,
  config: ({ address, port }, upstream) => `server:
  interface: ${address}
  port: ${port}
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  do-not-query-localhost: no
  do-ip6: no
  module-config: "iterator"
  num-threads: 1
  outgoing-range: 8192
  num-queries-per-thread: 4096
  so-rcvbuf: 8m
forward-zone:
  name: "."
  forward-addr: ${upstream.address}@${upstream.port}
`,
});

const dnsdist = (limit: (packetsPerSecond: number) => string): StartPeer =>
  launch({
    program: 'dnsdist',
    args: (file) => ['--supervised', '--disable-syslog', '-C', file],
    ready: /Polled security status|Marking downstream|ready/i,
    config: ({ address, port }, upstream, packetsPerSecond) => `
setSecurityPollSuffix("")
setLocal("${address}:${port}")
setACL("127.0.0.0/8")
setMaxUDPOutstanding(65535)
newServer({address="${upstream.address}:${upstream.port}", sockets=8})
getPool(""):setCache(newPacketCache(100000))
${limit(packetsPerSecond)}
`,
  });

export const startDnsdist = dnsdist(() => '');

/** Its way to keep to a rate: what is over it is dropped, or refused. */
export const startDnsdistWithRule = dnsdist(
  (packetsPerSecond) => `addAction(MaxQPSRule(${packetsPerSecond}), DropAction())`,
);
