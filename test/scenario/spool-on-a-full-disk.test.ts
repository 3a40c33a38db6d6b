/** The spool's file system fills up: nothing is acknowledged that is not kept, and room is all it takes. */
import { statfs, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startAuthority } from '../../bench/load/authority.ts';
import { inject, type Letter } from '../../bench/load/injector.ts';
import { startPostilion } from '../../bench/load/postilion.ts';
import { startSink } from '../../bench/load/sink.ts';
import { oneHostZones } from '../../bench/load/world.ts';
import { Cleanup } from '../support/cleanup.ts';
import { requirePeer } from '../support/peers.ts';
import { waitFor } from '../support/process.ts';
import { freePort, loopbackAddress, scratchFolder } from '../support/scratch.ts';

const DISK = '48m';
const RESERVE_OCTETS = 4 * 1024 * 1024;
/** Mounts a small disk over the spool that only this mta sees, then becomes the mta. */
const ON_SMALL_DISK = (folder: string): string[] => [
  ...'unshare --mount --propagation private sh -c'.split(' '),
  `mount -t tmpfs -o size=${DISK} none "$0" && exec "$@"`,
  folder,
];

requirePeer('tmpfs', 'root')('spool on a full disk', () => {
  test('refuses for now, keeps what it has, and recovers without a restart', async () => {
    const cleanup = new Cleanup();
    onTestFinished(() => cleanup.run());
    const arrived = new Set<string>();
    const endpoint = { address: loopbackAddress(), port: await freePort() };
    const sink = await startSink({
      listen: [endpoint],
      onMessage({ recipients }) {
        for (const to of recipients) arrived.add(to);
        return null;
      },
    });
    cleanup.add(() => sink.close());
    const zones = oneHostZones(['remote.example'], endpoint.address);
    const authority = cleanup.stop(await startAuthority({ zones }));
    const spool = await scratchFolder('spool');
    cleanup.add(() => spool.remove());
    const mta = cleanup.stop(
      await startPostilion({
        program: 'mta',
        upstream: authority,
        spool: spool.path,
        startedBy: ON_SMALL_DISK(spool.path),
        mta: { delivery: { port: endpoint.port }, spool_reserve: RESERVE_OCTETS },
      }),
    );
    const send = (name: string, attemptsMax: number) =>
      inject({ ...mta.smtp, sessions: 2, letters: letters(name, 10), attemptsMax });

    expect((await send('before', 1)).acknowledged).toBe(10);
    // unshare and sh have become the mta, so its root shows the disk that only it has mounted.
    const disk = `/proc/${mta.process().pid}/root${spool.path}`;
    const filler = join(disk, 'filler');
    const { bavail, bsize } = await statfs(disk);
    expect(bavail * bsize).toBeLessThan(64 * 1024 * 1024);
    await writeFile(filler, Buffer.alloc(bavail * bsize - RESERVE_OCTETS / 4));

    await waitFor(async () => {
      const { failed, acknowledged } = await send('during', 1);
      const replies = [...failed.values()];
      expect(replies.filter((reply) => !/^4[25][012][ -]4\.3\.1/.test(reply))).toEqual([]);
      return acknowledged === 0;
    }, 'mail to be refused for now');

    await unlink(filler);
    await waitFor(
      async () => (await send('after', 1)).acknowledged === 10,
      'mail to be taken again',
    );
    const names = [...letters('before', 10), ...letters('after', 10)].map(({ id }) => id);
    await waitFor(
      () => names.every((to) => arrived.has(to)),
      () => `all to arrive; arrived: ${[...arrived]}`,
    );
  }, 60_000);
});

function* letters(name: string, count: number): Generator<Letter> {
  const body = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(100));
  for (let number = 0; number < count; number += 1) {
    const to = `${name}${number}@remote.example`;
    const content = [Buffer.from(`Subject: ${to}\r\n\r\n`), body];
    yield { id: to, reversePath: 'sender@client.example.net', recipients: [to], content };
  }
}
