import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { resolverSchema } from '../../resolver/config.ts';
import { ListenFailed, UpstreamLoop } from '../../resolver/errors.ts';
import { isOurselves, parseNameservers } from '../../resolver/resolv-conf.ts';
import { TYPE } from '../../resolver/wire/constants.ts';
import { frame } from '../../resolver/wire/frame.ts';
import { Cleanup } from '../support/cleanup.ts';
import { answers, FakeUpstream } from '../support/fake-upstream.ts';
import { oracle } from '../support/oracle.ts';
import {
  askUdp,
  brief,
  exchangeTcp,
  question,
  startTestResolver,
  testDefaults,
} from '../support/resolver.ts';
import { scratchFolder } from '../support/scratch.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const IPV6 = { address: '::1', port: 0 };

test('IPv6: clients and upstream, UDP and TCP', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers(), IPV6));
  const resolver = cleanup.stop(
    await startTestResolver([upstream.endpoint], { listen: ['[::1]:0'] }),
  );
  const packet = await askUdp(resolver.endpoint, question('six.example', TYPE.A));
  const [message] = await exchangeTcp(resolver.endpoint, frame(question('six.example', TYPE.A)));
  expect([brief(packet), brief(oracle(message!))]).toEqual(['NOERROR 1', 'NOERROR 1']);
});

test('wildcards of both families share a port', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers()));
  const free = cleanup.stop(await startTestResolver([upstream.endpoint]));
  const { port } = free.endpoint;
  await free.stop();
  const resolver = cleanup.stop(
    await startTestResolver([upstream.endpoint], { listen: [`0.0.0.0:${port}`, `[::]:${port}`] }),
  );
  for (const address of ['127.0.0.1', '::1']) {
    const packet = await askUdp({ address, port }, question('w.example', TYPE.A));
    expect(brief(packet)).toBe('NOERROR 1');
  }
  expect(resolver.endpoints.map(({ address }) => address)).toEqual(['0.0.0.0', '::']);
});

test('a start that finds its address taken leaves the snapshot as it is', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers()));
  const folder = await scratchFolder('snapshot');
  cleanup.add(() => folder.remove());
  const settings = { snapshot: join(folder.path, 'cache.snapshot') };
  const first = cleanup.stop(await startTestResolver([upstream.endpoint], settings));
  await askUdp(first.endpoint, question('kept.example', TYPE.A));
  await first.saveSnapshot();
  const { ino } = statSync(settings.snapshot);
  const listen = [`127.0.0.1:${first.endpoint.port}`];
  const second = startTestResolver([upstream.endpoint], { ...settings, listen });
  await expect(second).rejects.toBeInstanceOf(ListenFailed);
  expect(statSync(settings.snapshot).ino).toBe(ino);
  await first.stop();
  expect(statSync(settings.snapshot).ino).not.toBe(ino);
});

test('an address in use names its holder', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  cleanup.add(async () => void holder.close());
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  const failure = await startTestResolver([], { listen: [`127.0.0.1:${port}`] }).catch(
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(ListenFailed);
  const { code, systemCode, message } = failure as ListenFailed;
  expect([code, systemCode]).toEqual(['RESOLVER_LISTEN_FAILED', 'EADDRINUSE']);
  expect(message).toContain(`127.0.0.1:${port} (tcp): address in use by`);
  expect(message).toContain(`(process ${process.pid})`);
});

test('an upstream that is our own listener is refused', async () => {
  const own = { address: '127.0.0.1', port: 5399 };
  const started = startTestResolver([own], { listen: ['127.0.0.1:5399'] });
  await expect(started).rejects.toBeInstanceOf(UpstreamLoop);
});

test('stop() leaves neither socket nor timer: the process ends by itself', async () => {
  const program = fileURLToPath(new URL('./start-and-stop.ts', import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const [code] = await once(child, 'close');
  expect([code, output]).toEqual([0, 'NOERROR 1\nSERVFAIL\nstopped\n']);
});

test('stop() disarms every timer, and may be called twice', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(() => undefined));
  const resolver = await startTestResolver([upstream.endpoint], { budget: 20 });
  void askUdp(resolver.endpoint, question('a.example', TYPE.A));
  await upstream.arrival(1);
  // The wheel turns; and fronts are looked at now and then by a timer that is not the wheel's.
  expect(resolver.clock.timers).toBe(testDefaults.fronts === 0 ? 1 : 2);
  await Promise.all([resolver.stop(), resolver.stop()]);
  expect(resolver.clock.timers).toBe(0);
});

test('explain, dump and flush', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers(300)));
  const resolver = cleanup.stop(await startTestResolver([upstream.endpoint]));
  for (const name of ['Example.net', 'a.example.net', 'notexample.net']) {
    await askUdp(resolver.endpoint, question(name, TYPE.A));
  }
  resolver.clock.advance(100_000);
  expect(resolver.explain('EXAMPLE.net').cached).toEqual([
    {
      name: 'example.net.',
      type: 'A',
      kind: 'answer',
      dnssecOk: false,
      checkingDisabled: false,
      ageSeconds: 100,
      ttlSeconds: 200,
      octets: 45,
      upstream: `127.0.0.1:${upstream.endpoint.port}`,
      records: ['example.net. A 192.0.2.1'],
    },
  ]);
  expect(resolver.cacheDump(2).map(({ name }) => name)).toEqual([
    'notexample.net.',
    'a.example.net.',
  ]);
  expect(resolver.flush({ name: 'example.net' })).toBe(1);
  expect(resolver.flush({ suffix: 'example.net' })).toBe(1);
  expect(resolver.flush({ name: 'no..name' })).toBe(0);
  expect(resolver.flush({ all: true })).toBe(1);
  expect(resolver.explain('not a name..').cached).toEqual([]);
});

describe('resolv.conf', () => {
  test('name servers in order, repeats and oddities left out', () => {
    const text = [
      '# nameserver 192.0.2.1',
      'nameserver 192.0.2.2 # comment',
      '  nameserver\t2001:db8::53',
      'nameserver fe80::1%eth0',
      'nameserver resolver.example',
      'nameserver',
      'nameserver 192.0.2.2',
      'search example.net',
      'options edns0',
    ].join('\n');
    expect(parseNameservers(text)).toEqual([
      { address: '192.0.2.2', port: 53 },
      { address: '2001:db8::53', port: 53 },
    ]);
    expect(parseNameservers('')).toEqual([]);
  });

  test('our own listeners are recognised, behind wildcards too', () => {
    const own = new Set(['127.0.0.1', '192.0.2.7']);
    const asked = { address: '192.0.2.7', port: 53 };
    expect(isOurselves(asked, [{ address: '192.0.2.7', port: 53 }], own)).toBe(true);
    expect(isOurselves(asked, [{ address: '0.0.0.0', port: 53 }], own)).toBe(true);
    expect(isOurselves(asked, [{ address: '0.0.0.0', port: 5335 }], own)).toBe(false);
    expect(
      isOurselves({ address: '192.0.2.8', port: 53 }, [{ address: '0.0.0.0', port: 53 }], own),
    ).toBe(false);
  });
});

describe('config', () => {
  test('budget takes "auto", none, and what lets one TCP question through', () => {
    expect(resolverSchema.parse({ budget: 'auto' }).budget).toBe('auto');
    expect(resolverSchema.parse({ budget: 0 }).budget).toBe(0);
    const { error } = resolverSchema.safeParse({ budget: 19 });
    expect(error?.issues[0]?.message).toMatch(/^19 is too small/);
  });
});
