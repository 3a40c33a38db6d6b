/**
 * docs/tutorial.md as a reader types it: every block in turn, in one shell, on a machine of its own
 * (namespaces of network and mounts) whose Postfix is as Debian installs it.
 */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { Cleanup } from '../support/cleanup.ts';
import { blocksOf } from '../support/markdown.ts';
import { PEER_PATH, requirePeer } from '../support/peers.ts';
import { runProcess } from '../support/process.ts';
import { scratchFolder } from '../support/scratch.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TIMEOUT_MS = 120_000;

/** What `npx` and Debian's systemd unit would do, without a registry and without systemd. */
const NPX = `#!/bin/sh\nshift\nexec ${process.execPath} ${join(ROOT, 'sidecar/postilion.js')} "$@"\n`;
const SYSTEMCTL = `#!/bin/sh
test "$*" = "restart postfix" || exit 1
postfix stop || true
/usr/lib/postfix/configure-instance.sh -
postfix start
`;

/** Postfix's folders, its queue empty, and a resolv.conf to write to; all gone with the namespace. */
const MACHINE = `
ip link set lo up
cp -a /etc/postfix machine/etc
mkdir machine/spool machine/lib
mount --bind machine/etc /etc/postfix
mount --bind machine/spool /var/spool/postfix
mount --bind machine/lib /var/lib/postfix
chown postfix machine/lib
cp --remove-destination -L /etc/resolv.conf machine/resolv.conf
mount --bind machine/resolv.conf /etc/resolv.conf
postconf -e 'mydestination = localhost' 'myhostname = mail.example.net' 'relayhost =' 'queue_minfree = 0'
postfix set-permissions >/dev/null 2>&1 || true
`;

requirePeer(
  'dig',
  'postfix',
  'smtp-sink',
  'curl',
  'root',
  'private-network',
)('tutorial', () => {
  test(
    'every block works as it stands there',
    async () => {
      const cleanup = new Cleanup();
      onTestFinished(() => cleanup.run());
      const folder = await scratchFolder('tutorial');
      cleanup.add(() => folder.remove());
      await chmod(folder.path, 0o755);
      for (const name of ['bin', 'machine', 'work']) await mkdir(join(folder.path, name));
      for (const [name, text] of Object.entries({ npx: NPX, systemctl: SYSTEMCTL })) {
        await writeFile(join(folder.path, 'bin', name), text, { mode: 0o755 });
      }
      const blocks = blocksOf(join(ROOT, 'docs/tutorial.md')).filter(
        ({ language, notRun }) => language === 'sh' && notRun === null,
      );
      const steps = blocks.map(({ text, line }) => `echo "== line ${line}"\n${text}`);
      const script = ['set -e', MACHINE, 'cd work', ...steps, 'postfix stop'].join('\n');
      await writeFile(join(folder.path, 'script'), script);
      const startedAtMs = performance.now();
      const { code, output } = await runProcess(
        'unshare',
        [
          '--net',
          '--mount',
          '--pid',
          '--fork',
          '--kill-child',
          'bash',
          join(folder.path, 'script'),
        ],
        {
          cwd: folder.path,
          env: { ...process.env, PATH: [join(folder.path, 'bin'), ...PEER_PATH].join(':') },
          timeoutMs: TIMEOUT_MS,
        },
      );
      expect([code, code === 0 ? '' : output.slice(-4_000)]).toEqual([0, '']);
      const commands = blocks.flatMap(({ text }) => text.split('\n')).length;
      const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(0);
      console.log(`tutorial: ${blocks.length} blocks, ${commands} lines, ${seconds} s`);
      expect(output).toMatch(/MTA|connect|refused/);
    },
    TIMEOUT_MS,
  );
});
