/** Our own mta as a contestant: one process, started as a user starts it, asking the authority directly. */
import { join } from 'node:path';
import { scratchFolder } from '../../test/support/scratch.ts';
import { startPostilion } from '../load/postilion.ts';
import type { Contestant, ContestantOptions, MailWorld, RunningContestant } from './contestant.ts';

const DNS_PORT = 53;

async function start(
  world: MailWorld,
  { held, connections }: ContestantOptions,
  mta: Readonly<Record<string, unknown>>,
): Promise<RunningContestant> {
  const folder = await scratchFolder('postilion-events');
  const postilion = await startPostilion({
    program: 'mta',
    upstream: { address: world.nameserver, port: DNS_PORT },
    mta: {
      // Postfix logs each delivery; so do we.
      events: join(folder.path, 'events.jsonl'),
      ...mta,
      delivery: {
        port: world.remotePort,
        tls: 'require',
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

const contestant = (name: string, about: string, chunking: boolean): Contestant => ({
  name,
  about,
  holds: true,
  chunking,
  missing: async () => null,
  start: (world, options) => start(world, options, {}),
});

export const postilion = contestant('postilion', 'hosts offer CHUNKING', true);
export const postilionData = contestant('postilion-data', 'hosts without CHUNKING', false);
