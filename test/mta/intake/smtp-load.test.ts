import { afterAll, beforeAll, expect, test } from 'vitest';
import { requirePeer } from '../../support/peers.ts';
import { runProcess } from '../../support/process.ts';
import { FIRST_ID, listen, rig } from './harness.ts';

const MESSAGES = 2000;

requirePeer('smtp-source')('smtp-source', () => {
  const made = rig({ smtp_clients: 50 });
  let port = 0;
  /** Resolves in batches, as a group commit does. */
  let waiting: (() => void)[] = [];
  const indexes = new Set<string>();
  beforeAll(async () => {
    port = await listen(made.door);
    made.onAccept = (submission) => {
      const text = Buffer.from(submission.content).toString('latin1');
      indexes.add(/^Message-Id: (.*)\r$/im.exec(text)![1]!);
      const id = FIRST_ID + indexes.size;
      return new Promise((resolve) => {
        waiting.push(() => resolve(id));
        if (waiting.length > 1) return;
        setImmediate(() => {
          const batch = waiting;
          waiting = [];
          for (const settle of batch) settle();
        });
      });
    };
  });
  afterAll(() => made.door.stop(0));

  test.each([
    ['a connection each', []],
    ['connections reused', ['-d']],
  ])(`${MESSAGES} messages of 10 KB, 20 sessions, %s: none is lost`, async (_name, args) => {
    indexes.clear();
    made.accepted.length = 0;
    const { code, output } = await runProcess('smtp-source', [
      '-s',
      '20',
      '-m',
      String(MESSAGES),
      '-l',
      '10240',
      '-f',
      'a@example.com',
      '-t',
      'b@example.net',
      ...args,
      `127.0.0.1:${port}`,
    ]);
    expect(output).toBe('');
    expect(code).toBe(0);
    expect(made.accepted).toHaveLength(MESSAGES);
    expect(indexes.size).toBe(MESSAGES);
    for (const { content } of made.accepted) expect(content.length).toBeGreaterThan(10_240);
    expect(made.intake.held.held).toBe(0);
  });
});
