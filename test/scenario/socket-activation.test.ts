/** Sockets bound by somebody else, as by systemd: LISTEN_PID and LISTEN_FDS (sd_listen_fds(3)). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { socketBinder } from '../../resolver/sockets.ts';
import { TYPE } from '../../resolver/wire/constants.ts';
import { frame } from '../../resolver/wire/frame.ts';
import { formatEndpoint } from '../../runtime/settings.ts';
import { Cleanup } from '../support/cleanup.ts';
import { answers, FakeUpstream } from '../support/fake-upstream.ts';
import { askUdp, brief, exchangeTcp, question } from '../support/resolver.ts';
import { freePort } from '../support/scratch.ts';

const CLI = fileURLToPath(new URL('../../sidecar/cli.ts', import.meta.url));
let cleanup = new Cleanup();
afterEach(async () => {
  await cleanup.run();
  cleanup = new Cleanup();
});

test.skipIf(process.platform !== 'linux').each([[0], [1]])(
  'queries that came before the resolver was there are answered; fronts = %i',
  async (fronts) => {
    const upstream = cleanup.stop(await FakeUpstream.start(answers()));
    const at = { address: '127.0.0.1', port: await freePort() };
    const binder = await socketBinder();
    const sockets = (['udp', 'tcp'] as const).map((protocol) =>
      binder.bind({ protocol, endpoint: at, ipv6Only: false, reusePort: false }),
    );
    cleanup.add(async () => sockets.forEach((fd) => void binder.close(fd)));
    const early = askUdp(at, question('early.example', TYPE.A));
    const settings = ['--listen', formatEndpoint(at)];
    settings.push('--upstream', formatEndpoint(upstream.endpoint));
    settings.push('--admin', `127.0.0.1:${await freePort()}`, '--set', `resolver.fronts=${fronts}`);
    const shell = ['-c', `LISTEN_PID=$$ LISTEN_FDS=${sockets.length} exec "$@"`, 'sh'];
    const child = spawn('sh', [...shell, process.execPath, CLI, 'resolver', ...settings], {
      stdio: ['ignore', 'ignore', 'inherit', ...sockets],
    });
    cleanup.add(async () => {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    });
    expect(brief(await early)).toBe('NOERROR 1');
    const [answer] = await exchangeTcp(at, frame(question('late.example', TYPE.A)));
    expect(answer![3]! & 0x0f).toBe(0);
  },
  30_000,
);
