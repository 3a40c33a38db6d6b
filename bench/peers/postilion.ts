/** Our own mta as a contestant: one process, started as a user starts it, asking the authority directly. */
import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scratchFolder } from '../../test/support/scratch.ts';
import { REVERSE_PATH_DOMAIN } from '../load/mail-workload.ts';
import { startPostilion } from '../load/postilion.ts';
import type { Contestant, ContestantOptions, MailWorld, RunningContestant } from './contestant.ts';

const DNS_PORT = 53;
const RSA_BITS = 2048;

interface Setup {
  readonly signs: boolean;
  /** up: with its resolver in front of the authority. */
  readonly program: 'mta' | 'up';
  readonly tls: 'require' | 'opportunistic';
}

async function start(
  world: MailWorld,
  { held, connections, inspectPort }: ContestantOptions,
  { signs, program, tls }: Setup,
): Promise<RunningContestant> {
  const folder = await scratchFolder('postilion-events');
  const key = join(folder.path, 'key.pem');
  if (signs) await writeFile(key, rsaKey());
  const postilion = await startPostilion({
    program,
    ...(inspectPort === undefined
      ? {}
      : { startedBy: ['env', `NODE_OPTIONS=--inspect=127.0.0.1:${inspectPort}`] }),
    upstream: { address: world.nameserver, port: DNS_PORT },
    mta: {
      // Postfix logs each delivery; so do we.
      events: join(folder.path, 'events.jsonl'),
      ...(signs ? { dkim: [{ domain: REVERSE_PATH_DOMAIN, selector: 'bench', key }] } : {}),
      delivery: {
        port: world.remotePort,
        tls,
        suspended: held,
        ...(connections === undefined ? {} : { connections }),
      },
    },
  });
  return {
    smtp: postilion.smtp,
    pids: [postilion.process().pid],
    async release() {
      const response = await fetch(`${postilion.mtaHttp}/v1/delivery/resume`, { method: 'POST' });
      if (!response.ok) throw new Error(`resume answered ${response.status}`);
    },
    async stop() {
      await postilion.stop();
      await folder.remove();
    },
  };
}

function rsaKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: RSA_BITS });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

const ALONE: Setup = { signs: false, program: 'mta', tls: 'require' };

const contestant = (
  name: string,
  about: string,
  { chunking = true, ...setup }: Partial<Setup> & { readonly chunking?: boolean },
): Contestant => ({
  name,
  about,
  holds: true,
  chunking,
  missing: async () => null,
  start: (world, options) => start(world, options, { ...ALONE, ...setup }),
});

export const postilion = contestant('postilion', 'hosts offer CHUNKING', {});
export const postilionData = contestant('postilion-data', 'hosts without CHUNKING', {
  chunking: false,
});
export const postilionDkim = contestant('postilion-dkim', 'hosts offer CHUNKING, RSA-2048', {
  signs: true,
});
/** As it is run, its resolver and the supervisor included. */
export const postilionUp = contestant('postilion-up', 'with its resolver', { program: 'up' });
/** For mixes: TLS where it is offered, and signatures where there is a key. */
export const postilionMix = contestant('postilion-mix', 'with its resolver, signing', {
  signs: true,
  program: 'up',
  tls: 'opportunistic',
});
