/** An mta whose mail comes back: its small internet, what its hosts saw, and its events. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Fastify from 'fastify';
import { afterEach, beforeEach } from 'vitest';
import { Cleanup } from '../support/cleanup.ts';
import { waitFor } from '../support/process.ts';
import { type Folder, scratchFolder } from '../support/scratch.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

const SECRET = 'a secret of the tests';
/** Where bounces come back to. */
export const BOUNCES = 'bounces.sender.example';

export interface FeedbackWorlds {
  /** Of the test that runs. */
  readonly cleanup: Cleanup;
  /** Reverse-paths that mx.remote.example has seen in this test. */
  readonly paths: readonly string[];
  world(
    mta: { feedback?: object; suppression?: object } & Record<string, unknown>,
    onRecipient?: (recipient: string) => string | null,
  ): Promise<World>;
  /** Waits for so many events of that name. @returns all of them by then */
  told(name: string, count?: number): Promise<Record<string, unknown>[]>;
}

/** For the tests of one file, each of which begins with nothing. */
export function feedbackWorlds(): FeedbackWorlds {
  const cleanup = new Cleanup();
  const paths: string[] = [];
  let folder: Folder;
  beforeEach(async () => {
    folder = await scratchFolder('feedback');
    cleanup.add(() => folder.remove());
    paths.length = 0;
  });
  afterEach(() => cleanup.run());

  function world(
    mta: { feedback?: object; suppression?: object } & Record<string, unknown>,
    onRecipient?: (recipient: string) => string | null,
  ): Promise<World> {
    const options: WorldOptions = {
      mail: {
        'remote.example': ['mx.remote.example'],
        'desk.example': ['mx.desk.example'],
      },
      sinks: {
        'mx.remote.example': {
          onRecipient: onRecipient ?? (() => null),
          onMessage({ reversePath }) {
            paths.push(reversePath);
            return null;
          },
        },
        'mx.desk.example': { header: 'subject' },
      },
      mta: {
        events: join(folder.path, 'events'),
        feedback: { domains: [BOUNCES], verp: BOUNCES, secrets: [SECRET] },
        ...mta,
      },
    };
    return createWorld(options, cleanup);
  }

  const events = (name: string): Record<string, unknown>[] =>
    readFileSync(join(folder.path, 'events'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ event }) => event === name);

  const told = async (name: string, count = 1): Promise<Record<string, unknown>[]> => {
    await waitFor(() => events(name).length >= count, `${name} in the events`);
    return events(name);
  };

  return { cleanup, paths, world, told };
}

/** By the HTTP API. */
export const inject = (home: World, to: readonly string[], more: object = {}) =>
  post(home, '/v1/messages', { from: 'a@sender.example', text: 'hello', to, ...more });

export async function post(
  { mta }: World,
  url: string,
  payload: object,
): Promise<{ status: number; body: { readonly id: string } }> {
  const server = Fastify();
  await server.register(mta.injection);
  const answer = await server.inject({ method: 'POST', url, payload });
  await server.close();
  return { status: answer.statusCode, body: answer.json() };
}
