#!/usr/bin/env node
/**
 * The `postilion` command. The pinned Node runs the program whatever `node` is on the PATH:
 * older ones cannot run TypeScript, and resume TLS sessions unsafely (docs/decisions).
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';

const NODE_MAJOR_MIN = 24;

function pinnedNode() {
  try {
    return createRequire(import.meta.url).resolve(
      `node-${process.platform}-${process.arch}/bin/node`,
    );
  } catch {
    console.error(
      `postilion: Node ${process.version} is too old and no pinned Node is installed.\n` +
        'Run "npm ci" without --omit=optional, or install Node 24 or later.',
    );
    process.exit(1);
  }
}

if (Number.parseInt(process.versions.node, 10) >= NODE_MAJOR_MIN) {
  await import('./cli.ts');
} else {
  // Under the name by which it was called: an upgrade follows it anew.
  const child = spawn(pinnedNode(), process.argv.slice(1), { stdio: 'inherit' });
  // A terminal signals the whole group; a supervisor signals only us. Pass it on, and outlive the child.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}
