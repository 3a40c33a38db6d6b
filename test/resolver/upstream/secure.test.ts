/** Upstreams over TLS and HTTPS: verified, kept open, resumed, and never asked before they are verified. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { Cleanup } from '../../support/cleanup.ts';
import {
  SERVER_NAME,
  type SecureUpstream,
  startHttpsUpstream,
  startTlsUpstream,
} from '../../support/fake-secure-upstream.ts';
import { answers, type Behaviour, refuses, silent } from '../../support/fake-upstream.ts';
import { oracle } from '../../support/oracle.ts';
import {
  askUdp,
  brief,
  extendedErrors,
  question,
  startTestResolver,
  type TestResolver,
  UdpClient,
} from '../../support/resolver.ts';
import { scratchFolder } from '../../support/scratch.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const KINDS = [
  {
    kind: 'tls',
    start: (behaviour: Behaviour) => startTlsUpstream(behaviour),
    text: (port: number, name: string) => `tls://127.0.0.1:${port}#${name}`,
  },
  {
    kind: 'https',
    start: (behaviour: Behaviour) => startHttpsUpstream(behaviour),
    text: (port: number, name: string) => `https://${name}:${port}/dns-query#127.0.0.1`,
  },
] as const;

async function start(
  upstream: SecureUpstream,
  text: string,
  settings: object = {},
): Promise<TestResolver> {
  const folder = await scratchFolder('authorities');
  cleanup.add(() => folder.remove());
  const file = join(folder.path, 'ca.pem');
  await writeFile(file, upstream.certificate.cert);
  return cleanup.stop(
    await startTestResolver([], { upstreams: [text], tls_ca: file, ...settings }),
  );
}

const ask = (resolver: TestResolver, name: string) =>
  askUdp(resolver.endpoint, question(name, TYPE.A));

describe.each(KINDS)('$kind', ({ kind, start: startUpstream, text }) => {
  test('answers come over one connection, many at once', async () => {
    const upstream = cleanup.stop(await startUpstream(answers(300, 7)));
    const resolver = await start(upstream, text(upstream.port, SERVER_NAME));
    expect(brief(await ask(resolver, 'first.example'))).toBe('NOERROR 7');
    const names = Array.from({ length: 50 }, (_, n) => `n${n}.example`);
    const packets = await Promise.all(names.map((name) => ask(resolver, name)));
    expect(new Set(packets.map(brief))).toEqual(new Set(['NOERROR 7']));
    expect([upstream.asked.length, upstream.connections]).toEqual([51, 1]);
  });

  test('a certificate for another name: nothing is asked, and the error says why', async () => {
    const upstream = cleanup.stop(await startUpstream(answers()));
    const resolver = await start(upstream, text(upstream.port, 'other.example.net'));
    const client = new UdpClient(resolver.endpoint);
    cleanup.add(async () => client.close());
    client.send(question('secret.example', TYPE.A));
    while (resolver.ready() === null) await setImmediate();
    expect(resolver.ready()).toMatch(/ERR_TLS_CERT_ALTNAME_INVALID/);
    resolver.clock.advance(4_010);
    const packet = oracle(await client.answer(1));
    expect(packet.rcode).toBe('SERVFAIL');
    expect(extendedErrors(packet)[0]?.text).toMatch(/^(tls|https):.*(ALTNAME_INVALID|no answer)/);
    expect(upstream.asked).toEqual([]);
  });

  test('an authority that is not trusted: nothing is asked', async () => {
    const upstream = cleanup.stop(await startUpstream(answers()));
    const other = cleanup.stop(await startUpstream(answers()));
    const resolver = await start(other, text(upstream.port, SERVER_NAME));
    const client = new UdpClient(resolver.endpoint);
    cleanup.add(async () => client.close());
    client.send(question('secret.example', TYPE.A));
    while (resolver.ready() === null) await setImmediate();
    expect(resolver.ready()).toMatch(/SELF_SIGNED_CERT|UNABLE_TO_VERIFY/);
    expect(upstream.asked).toEqual([]);
  });

  test('a connection that ends between questions is replaced', async () => {
    const upstream = cleanup.stop(await startUpstream(answers(300, 7)));
    const resolver = await start(upstream, text(upstream.port, SERVER_NAME));
    await ask(resolver, 'one.example');
    upstream.hangUp();
    expect(brief(await ask(resolver, 'two.example'))).toBe('NOERROR 7');
    expect(upstream.connections).toBe(2);
    if (kind === 'tls') expect(upstream.resumed).toBe(1);
  });

  test('SERVFAIL is told at once', async () => {
    const upstream = cleanup.stop(await startUpstream(refuses(2)));
    const resolver = await start(upstream, text(upstream.port, SERVER_NAME));
    expect((await ask(resolver, 'bad.example')).rcode).toBe('SERVFAIL');
  });

  test('a connection on which nothing comes is given up, and the probe opens another', async () => {
    const upstream = cleanup.stop(await startUpstream(silent));
    const resolver = await start(upstream, text(upstream.port, SERVER_NAME));
    const client = new UdpClient(resolver.endpoint);
    cleanup.add(async () => client.close());
    for (let n = 1; n <= 3; n += 1) client.send(question(`n${n}.example`, TYPE.A));
    while (upstream.asked.length < 3) await setImmediate();
    upstream.behaviour = answers(300, 9);
    resolver.clock.advance(1_510);
    expect(resolver.ready()).toMatch(/ETIMEDOUT/);
    resolver.clock.advance(2_010);
    while (resolver.ready() !== null) {
      resolver.clock.advance(10);
      await setImmediate();
    }
    expect(upstream.connections).toBe(2);
    expect(brief(await ask(resolver, 'after.example'))).toBe('NOERROR 9');
  });
});

test('https: another status than 200 is no answer', async () => {
  const upstream = cleanup.stop(await startHttpsUpstream(answers(), 503));
  const resolver = await start(upstream, KINDS[1].text(upstream.port, SERVER_NAME));
  const client = new UdpClient(resolver.endpoint);
  cleanup.add(async () => client.close());
  client.send(question('a.example', TYPE.A));
  while (resolver.ready() === null) await setImmediate();
  expect(resolver.ready()).toMatch(/HTTP 503/);
});

test('a file of authorities that cannot be read is an error at start', async () => {
  const settings = { upstreams: ['tls://127.0.0.1'], tls_ca: '/nonexistent.pem' };
  await expect(startTestResolver([], settings)).rejects.toMatchObject({
    code: 'RESOLVER_TLS_CA_UNREADABLE',
  });
});
