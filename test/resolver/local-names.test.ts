/** What is answered here and never asked upstream. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolverSchema } from '../../resolver/config.ts';
import { TYPE } from '../../resolver/wire/constants.ts';
import { formatEndpoint } from '../../runtime/settings.ts';
import { Cleanup } from '../support/cleanup.ts';
import { answers, FakeUpstream } from '../support/fake-upstream.ts';
import {
  askUdp,
  extendedErrors,
  question,
  startTestResolver,
  type TestResolver,
} from '../support/resolver.ts';
import { scratchFolder } from '../support/scratch.ts';

let cleanup: Cleanup;
let upstream: FakeUpstream;
let resolver: TestResolver;
beforeEach(async () => {
  cleanup = new Cleanup();
  upstream = cleanup.stop(await FakeUpstream.start(answers(300)));
});
afterEach(() => cleanup.run());
const start = async (settings: object = {}): Promise<void> => {
  resolver = cleanup.stop(await startTestResolver([upstream.endpoint], settings));
};
/** "RCODE", then data of the answers; with " up" when it was asked upstream. */
async function ask(name: string, type: number = TYPE.A): Promise<string> {
  const before = upstream.asked.length;
  const { rcode, answers: records } = await askUdp(resolver.endpoint, question(name, type));
  const data = records.map((it) =>
    typeof it.data === 'string' ? it.data : JSON.stringify(it.data),
  );
  return [rcode, ...data, ...(upstream.asked.length > before ? ['up'] : [])].join(' ');
}

describe('special-use names', () => {
  test.each([
    ['localhost', TYPE.A, 'NOERROR 127.0.0.1'],
    ['a.localhost', TYPE.AAAA, 'NOERROR ::1'],
    ['localhost', TYPE.MX, 'NOERROR'],
    ['1.0.0.127.in-addr.arpa', TYPE.PTR, 'NOERROR localhost'],
    ['2.0.0.127.in-addr.arpa', TYPE.PTR, 'NXDOMAIN'],
    ['mail.invalid', TYPE.MX, 'NXDOMAIN'],
    ['mail.test', TYPE.MX, 'NXDOMAIN'],
    ['abc.onion', TYPE.A, 'NXDOMAIN'],
    ['abc.alt', TYPE.A, 'NXDOMAIN'],
    ['printer.home.arpa', TYPE.A, 'NXDOMAIN'],
    ['home.arpa', TYPE.A, 'NOERROR'],
    ['_dns.resolver.arpa', TYPE.SVCB, 'NXDOMAIN'],
    ['x.service.arpa', TYPE.SRV, 'NXDOMAIN'],
    ['1.2.0.192.in-addr.arpa', TYPE.PTR, 'NXDOMAIN'],
    ['1.2.254.169.in-addr.arpa', TYPE.PTR, 'NXDOMAIN'],
    ['255.255.255.255.in-addr.arpa', TYPE.PTR, 'NOERROR'],
    [`1.${'0.'.repeat(28)}a.e.f.ip6.arpa`, TYPE.PTR, 'NXDOMAIN'],
    ['10.10.10.10.in-addr.arpa', TYPE.A, 'NOERROR 192.0.2.1 up'],
    ['mail.corp.local', TYPE.A, 'NOERROR 192.0.2.1 up'],
    ['notlocalhost', TYPE.A, 'NOERROR 192.0.2.1 up'],
    ['xtest', TYPE.A, 'NOERROR 192.0.2.1 up'],
  ])('%s %s', async (name, type, expected) => {
    await start();
    expect(await ask(name, type)).toBe(expected);
  });

  test('private reverse zones are empty when they are ours, 172.16 to 172.31 alone', async () => {
    await start({ private_reverse: 'local' });
    const found: string[] = [];
    for (const net of [
      '1.10',
      '1.168.192',
      '1.16.172',
      '1.31.172',
      '1.64.100',
      '1.15.172',
      '1.32.172',
      '1.63.100',
    ]) {
      found.push(await ask(`${net}.in-addr.arpa`));
    }
    expect(found).toEqual([
      ...Array.from({ length: 5 }, () => 'NXDOMAIN'),
      ...Array.from({ length: 3 }, () => 'NOERROR 192.0.2.1 up'),
    ]);
  });

  test('a zone that is forwarded is not ours', async () => {
    await start({
      forward: [{ zone: 'lab.test', upstreams: [formatEndpoint(upstream.endpoint)] }],
    });
    expect([await ask('mx.lab.test'), await ask('mx.other.test')]).toEqual([
      'NOERROR 192.0.2.1 up',
      'NXDOMAIN',
    ]);
  });
});

describe('records of our own', () => {
  test('a name has these and no others, whatever its case', async () => {
    await start({
      local_ttl: '1m',
      local: [
        { name: 'relay.corp.example', type: 'A', data: '10.0.0.1' },
        { name: 'relay.corp.example', type: 'A', data: '10.0.0.2' },
        { name: 'corp.example', type: 'MX', data: '10 relay.corp.example' },
        { name: 'corp.example', type: 'TXT', data: 'v=spf1 -all' },
        { name: 'x.corp.example', type: 'TYPE65280', data: '\\# 2 beef' },
      ],
    });
    expect(await ask('RELAY.corp.example')).toBe('NOERROR 10.0.0.1 10.0.0.2');
    expect(await ask('relay.corp.example', TYPE.AAAA)).toBe('NOERROR');
    expect(await ask('corp.example', TYPE.MX)).toBe(
      'NOERROR {"preference":10,"exchange":"relay.corp.example"}',
    );
    expect(await ask('below.corp.example')).toBe('NOERROR 192.0.2.1 up');
    const { answers: records } = await askUdp(
      resolver.endpoint,
      question('x.corp.example', 65_280),
    );
    expect(
      records.map(({ ttl, data }) => [ttl, Buffer.from(data as Buffer).toString('hex')]),
    ).toEqual([[60, 'beef']]);
  });

  test.each([
    [{ type: 'A', data: '::1' }, '"::1" is not an IPv4 address'],
    [{ type: 'MX', data: 'mail' }, 'MX is written "PREFERENCE HOST"'],
    [{ type: 'MX', data: '70000 mail' }, 'MX is written "PREFERENCE HOST"'],
    [{ type: 'CNAME', data: 'b.example' }, 'aliases cannot be local; write the records'],
    [{ type: 'NONE', data: '' }, '"NONE" is not a type'],
    [{ type: 'SRV', data: '0 0 25 a' }, 'write the data of this type as octets'],
    [{ type: 'SRV', data: '\\# 3 beef' }, 'octets are written "\\# LENGTH HEX"'],
  ])('%j is refused with a sentence', (record, sentence) => {
    const { error } = resolverSchema.safeParse({ local: [{ name: 'a.example', ...record }] });
    expect(error?.issues[0]?.message).toContain(sentence);
  });

  test('a hosts file: addresses, aliases, the way back, comments and nonsense', async () => {
    const folder = await scratchFolder('hosts');
    cleanup.add(() => folder.remove());
    const file = join(folder.path, 'hosts');
    writeFileSync(
      file,
      '# ours\n10.1.2.3 mail.corp.example mail # in\nfe80::1%eth0 x\n\n::5 six.example\nnonsense\n',
    );
    await start({ hosts: file });
    expect(await ask('mail.corp.example')).toBe('NOERROR 10.1.2.3');
    expect(await ask('mail')).toBe('NOERROR 10.1.2.3');
    expect(await ask('3.2.1.10.in-addr.arpa', TYPE.PTR)).toBe('NOERROR mail.corp.example');
    expect(await ask('six.example', TYPE.AAAA)).toBe('NOERROR ::5');
    expect(await ask(`5.${'0.'.repeat(31)}ip6.arpa`, TYPE.PTR)).toBe('NOERROR six.example');
  });
});

test('what is blocked does not exist, and says why; a record of our own below it does', async () => {
  await start({
    block: ['ads.example'],
    local: [{ name: 'ok.ads.example', type: 'A', data: '10.0.0.9' }],
  });
  expect([
    await ask('x.ads.example'),
    await ask('ok.ads.example'),
    await ask('bads.example'),
  ]).toEqual(['NXDOMAIN', 'NOERROR 10.0.0.9', 'NOERROR 192.0.2.1 up']);
  const packet = await askUdp(resolver.endpoint, question('ads.example', TYPE.MX));
  expect([packet.rcode, extendedErrors(packet)]).toEqual([
    'NXDOMAIN',
    [{ code: 15, text: 'resolver.block' }],
  ]);
});

test('a reload makes names local, and what was cached of them is gone', async () => {
  await start();
  expect([await ask('a.example'), await ask('b.example')]).toEqual(
    Array.from({ length: 2 }, () => 'NOERROR 192.0.2.1 up'),
  );
  const next = resolverSchema.parse({
    listen: ['127.0.0.1:0'],
    upstreams: [formatEndpoint(upstream.endpoint)],
    fronts: 0,
    local: [{ name: 'a.example', type: 'A', data: '10.0.0.1' }],
  });
  expect(await resolver.reload(next)).toEqual(['resolver.local']);
  expect([await ask('a.example'), await ask('b.example')]).toEqual([
    'NOERROR 10.0.0.1',
    'NOERROR 192.0.2.1',
  ]);
});
