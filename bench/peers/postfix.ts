/** Postfix as a contestant: as it comes, tuned, and tuned with opendkim as a milter. */
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Cleanup } from '../../test/support/cleanup.ts';
import { hasProgram } from '../../test/support/peers.ts';
import { type Postfix, startPostfixSender } from '../../test/support/postfix.ts';
import { accepts, runProcess, startProcess, waitFor } from '../../test/support/process.ts';
import { freePort, scratchFolder } from '../../test/support/scratch.ts';
import type { Contestant, ContestantOptions, MailWorld, RunningContestant } from './contestant.ts';

const FOLDER = new URL('./postfix/', import.meta.url);
const RSA_BITS = 2048;
const FLUSH_TIMEOUT_MS = 120_000;

/** "name = value" lines of a committed main.cf fragment. */
function settingsOf(file: string): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const line of readFileSync(new URL(file, FOLDER), 'utf8').split('\n')) {
    const match = /^(\w+) = (.*)$/.exec(line);
    if (match !== null) settings[match[1]!] = match[2]!;
  }
  return settings;
}

interface Milter {
  readonly pid: number;
  readonly port: number;
}

async function startOpendkim(cleanup: Cleanup): Promise<Milter> {
  const folder = await scratchFolder('opendkim');
  cleanup.add(() => folder.remove());
  const port = await freePort();
  const keyFile = join(folder.path, 'key.pem');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: RSA_BITS });
  await writeFile(keyFile, privateKey.export({ type: 'pkcs1', format: 'pem' }));
  await chmod(keyFile, 0o600);
  const configFile = join(folder.path, 'opendkim.conf');
  const config = await readFile(new URL('opendkim.conf', FOLDER), 'utf8');
  await writeFile(configFile, `${config}KeyFile ${keyFile}\nSocket inet:${port}@127.0.0.1\n`);
  const opendkim = cleanup.stop(startProcess('opendkim', ['-f', '-x', configFile]));
  await waitFor(() => accepts(port), 'opendkim to listen');
  return { pid: opendkim.pid, port };
}

async function start(
  file: string,
  signs: boolean,
  world: MailWorld,
  { held, connections }: ContestantOptions,
): Promise<RunningContestant> {
  const cleanup = new Cleanup();
  try {
    const milter = signs ? await startOpendkim(cleanup) : null;
    const postfix = cleanup.stop(
      await startPostfixSender({
        nameserver: world.nameserver,
        remotePort: world.remotePort,
        settings: {
          ...settingsOf(file),
          ...(milter === null ? {} : { smtpd_milters: `inet:127.0.0.1:${milter.port}` }),
          ...(connections === undefined
            ? {}
            : {
                default_destination_concurrency_limit: String(connections),
                initial_destination_concurrency: String(connections),
                smtp_destination_concurrency_limit: String(connections),
              }),
          // Straight to the hold queue, which the queue manager does not look at.
          ...(held ? { smtpd_client_restrictions: 'check_client_access static:HOLD' } : {}),
        },
      }),
    );
    return {
      smtp: postfix,
      pids: [postfix.pid, ...(milter === null ? [] : [milter.pid])],
      release: () => release(postfix),
      stop: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}

async function release({ configFolder }: Postfix): Promise<void> {
  for (const [program, args] of [
    ['postsuper', ['-c', configFolder, '-H', 'ALL']],
    ['postqueue', ['-c', configFolder, '-f']],
  ] as const) {
    const { code, output } = await runProcess(program, args, { timeoutMs: FLUSH_TIMEOUT_MS });
    if (code !== 0) throw new Error(`${program} exited ${code}: ${output}`);
  }
}

const contestant = (name: string, about: string, file: string, signs: boolean): Contestant => ({
  name,
  about,
  holds: true,
  chunking: true,
  async missing() {
    if (!hasProgram('postfix')) return 'apt-get install postfix';
    if (signs && !hasProgram('opendkim')) return 'apt-get install opendkim';
    return process.getuid?.() === 0 ? null : 'Postfix wants root';
  },
  start: (world, options) => start(file, signs, world, options),
});

export const postfixDefault = contestant('postfix', 'as it comes', 'default.cf', false);
export const postfixTuned = contestant(
  'postfix-tuned',
  'connections and TLS reused',
  'tuned.cf',
  false,
);
export const postfixDkim = contestant(
  'postfix-dkim',
  'tuned, RSA-2048 by opendkim',
  'tuned.cf',
  true,
);
