/** What a newcomer does first: npm start, dig, Ctrl-C. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'smol-toml';
import { expect, onTestFinished, test } from 'vitest';
import { startAuthority } from '../../bench/load/authority.ts';
import { oneHostZones } from '../../bench/load/world.ts';
import { Cleanup } from '../support/cleanup.ts';
import { dig } from '../support/dig.ts';
import { requirePeer } from '../support/peers.ts';
import { accepts, startProcess } from '../support/process.ts';
import { freePort, scratchFolder } from '../support/scratch.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Three seconds is the promise; another machine's npm may take its time. */
const READY_TIMEOUT_MS = 10_000;

requirePeer('dig')('npm start', () => {
  test('is ready, answers dig, takes SMTP, and ends with 0 on Ctrl-C', async () => {
    const cleanup = new Cleanup();
    onTestFinished(() => cleanup.run());
    const folder = await scratchFolder('npm-start');
    cleanup.add(() => folder.remove());
    const zones = oneHostZones(['remote.example'], '127.0.0.1');
    const authority = cleanup.stop(await startAuthority({ zones }));
    const [dns, admin, smtp, http] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const config = join(folder.path, 'postilion.toml');
    await writeFile(
      config,
      stringify({
        resolver: {
          listen: [`127.0.0.1:${dns}`],
          upstreams: [`127.0.0.1:${authority.port}`],
          admin: `127.0.0.1:${admin}`,
        },
        mta: {
          smtp: [`127.0.0.1:${smtp}`],
          http: `127.0.0.1:${http}`,
          dns: `127.0.0.1:${dns}`,
          spool: join(folder.path, 'spool'),
        },
      }),
    );

    const startedAtMs = performance.now();
    const npm = startProcess('npm', ['start', '--', '--config', config], {
      cwd: ROOT,
      stopSignal: 'SIGINT',
      stopTimeoutMs: 25_000,
    });
    cleanup.stop(npm);
    await npm.waitForOutput(/ready in [\d.]+ s/, READY_TIMEOUT_MS);
    console.log(`npm start: ready after ${Math.round(performance.now() - startedAtMs)} ms`);
    for (const address of [`127.0.0.1:${dns}`, `127.0.0.1:${smtp}`, `http://127.0.0.1:${http}/`]) {
      expect(npm.output()).toContain(address);
    }
    expect(npm.output()).toContain(`http://127.0.0.1:${admin}/metrics`);

    const server = { address: '127.0.0.1', port: dns };
    expect((await dig(server, 'remote.example', 'MX')).answer[0]?.data).toBe(
      '10 mx.remote.example.',
    );
    expect(await accepts(smtp)).toBe(true);
    expect((await fetch(`http://127.0.0.1:${http}/metrics`)).status).toBe(200);

    // A terminal's Ctrl-C reaches the whole foreground group, as stop() does.
    expect(await npm.stop()).toEqual({ code: 0, signal: null });
    expect(await accepts(smtp)).toBe(false);
  }, 60_000);
});
