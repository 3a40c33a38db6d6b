/** The spool's thread dies under load: its process ends, another takes over, and nothing is lost. */
import { readFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { startAuthority } from '../../bench/load/authority.ts';
import { inject, type Letter } from '../../bench/load/injector.ts';
import { startPostilion } from '../../bench/load/postilion.ts';
import { startSink } from '../../bench/load/sink.ts';
import { numberedDomains, oneHostZones } from '../../bench/load/world.ts';
import { Cleanup } from '../support/cleanup.ts';
import { ANY_DEBUGGER_PORT, runInThread } from '../support/inspector.ts';
import { requirePeer } from '../support/peers.ts';
import { childrenOf, waitFor } from '../support/process.ts';
import { freePort, loopbackAddress } from '../support/scratch.ts';

const MESSAGES = 600;
const DIES_AFTER = 100;
const DELAY_MS = 20;

requirePeer('loopback-network')('an exception in the thread of the spool', () => {
  test('ends the mta, whose successor delivers what was acknowledged and takes new mail', async () => {
    const cleanup = new Cleanup();
    onTestFinished(() => cleanup.run());
    const arrived = new Set<string>();
    const endpoint = { address: loopbackAddress(), port: await freePort() };
    const sink = await startSink({
      listen: [endpoint],
      delayMs: DELAY_MS,
      onMessage({ recipients }) {
        for (const to of recipients) arrived.add(to);
        return null;
      },
    });
    cleanup.add(() => sink.close());
    const domains = numberedDomains(5);
    const zones = oneHostZones(domains, endpoint.address);
    const authority = cleanup.stop(await startAuthority({ zones }));
    const postilion = cleanup.stop(
      await startPostilion({
        program: 'up',
        startedBy: ['env', ANY_DEBUGGER_PORT],
        upstream: authority,
        mta: { delivery: { port: endpoint.port, connections: 5 }, retry: ['1s'] },
      }),
    );
    const program = postilion.process();
    const mtaProcess = () => childrenOf(program.pid).find(isMta)!;
    const acknowledged: string[] = [];
    const send = (name: string) =>
      inject({
        ...postilion.smtp,
        sessions: 10,
        letters: letters(name, domains),
        onAcknowledged: ({ id }) => void acknowledged.push(id),
      });
    expect((await send('before')).failed).toEqual(new Map());
    await waitFor(() => arrived.size >= DIES_AFTER, `${DIES_AFTER} messages to arrive`);
    expect(arrived.size).toBeLessThan(MESSAGES);
    // Some of these are under way when the thread dies: what is not acknowledged may be refused.
    const during = send('during');
    const first = mtaProcess();
    await runInThread(
      { program, pid: first },
      '/spool/sqlite-worker.ts',
      'setImmediate(() => { throw new Error("a mistake") })',
    );
    await program.waitForOutput(/"child":"mta".*"msg":"child is up again"/);
    await during;
    expect(mtaProcess()).not.toBe(first);
    expect((await send('after')).failed).toEqual(new Map());
    const missing = (): string[] => acknowledged.filter((to) => !arrived.has(to));
    await waitFor(
      () => missing().length === 0,
      () => `everything to arrive; missing: ${missing().slice(0, 10)}`,
    );
    expect(logLines(program.output(), 'mta')).toEqual([
      'the spool takes no mail: the thread of the spool failed: Error: a mistake; to end this: start the mta again',
      'ends by a mistake: the thread of the spool failed: Error: a mistake',
    ]);
    expect(logLines(program.output(), 'postilion')).toEqual([
      'child ended unexpectedly; it is restarted',
      'child is up again',
    ]);
    // Whoever mends it needs both traces.
    expect(program.output()).toMatch(/"stack":"SpoolLost: .*sqlite-engine.*Error: a mistake\\n/);
  }, 60_000);
});

function* letters(name: string, domains: readonly string[]): Generator<Letter> {
  for (let number = 0; number < MESSAGES; number += 1) {
    const to = `${name}-${number}@${domains[number % domains.length]}`;
    const content = [Buffer.from(`Subject: ${number}\r\n\r\n${'x'.repeat(70)}\r\n`)];
    yield { id: to, reversePath: 'sender@client.example.net', recipients: [to], content };
  }
}

const isMta = (pid: number): boolean =>
  readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('postilion mta');

const logLines = (output: string, program: string): readonly string[] =>
  output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter((line) => line.program === program)
    .map(({ msg }) => msg);
