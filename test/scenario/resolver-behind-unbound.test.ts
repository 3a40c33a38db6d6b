/** The resolver as a user starts it, in front of Unbound in front of NSD, asked by dig. */
import { createSocket } from 'node:dgram';
import { decode, encode } from 'dns-packet';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Postilion, startPostilion } from '../../bench/load/postilion.ts';
import { Cleanup } from '../support/cleanup.ts';
import { type DigResponse, dig, type Server } from '../support/dig.ts';
import { type Nsd, startNsd } from '../support/nsd.ts';
import { requirePeer } from '../support/peers.ts';
import { waitFor } from '../support/process.ts';
import { freePort } from '../support/scratch.ts';
import { SIGNED_ORIGIN, SIGNED_TRUST_ANCHOR, signedZone } from '../support/signed-zone.ts';
import { startUnbound, type Unbound } from '../support/unbound.ts';

const ORIGIN = 'alpha.example';
const RECORDS = [
  '@ 300 IN MX 10 mx1',
  '@ 300 IN MX 20 mx2.other.example.',
  '@ 300 IN TXT "v=spf1 include:_spf.alpha.example -all"',
  'mx1 300 IN A 192.0.2.1',
  'mx1 300 IN A 192.0.2.2',
  'mx1 300 IN AAAA 2001:db8::1',
  'brief 3 IN A 192.0.2.9',
  'one 300 IN CNAME two',
  'two 200 IN CNAME three',
  'three 100 IN A 192.0.2.3',
  'dangling 300 IN CNAME nowhere',
  '_smtp._tcp 300 IN SRV 0 5 25 mx1',
  '@ 300 IN CAA 0 issue "ca.example"',
  'naptr 300 IN NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:a@b.example!" .',
  '_25._tcp.mx1 300 IN TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',
  'host 300 IN SSHFP 4 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',
  'svc 300 IN HTTPS 1 . alpn="h2" port="8443"',
  'info 300 IN HINFO "PDP-11" "UNIX"',
  'loc 300 IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m',
  'odd 300 IN TYPE65534 \\# 6 0102c00c00ff',
  'empty 300 IN TYPE65280 \\# 0',
  'binary\\000\\255 300 IN A 192.0.2.4',
  `large 300 IN TXT ${Array(14)
    .fill(`"${'x'.repeat(250)}"`)
    .join(' ')}`,
  `middle 300 IN TXT ${Array(4)
    .fill(`"${'y'.repeat(250)}"`)
    .join(' ')}`,
  '*.wild 300 IN A 192.0.2.5',
];

const body = ({ status, answer, authority }: DigResponse) => ({
  status,
  // Whole seconds may pass between two questions; the TTLs have tests of their own.
  answer: answer.map(({ name, type, data }) => `${name} ${type} ${data}`),
  authority: authority.map(({ name, type, data }) => `${name} ${type} ${data}`),
});

requirePeer(
  'nsd',
  'unbound',
  'dig',
  'root',
)('resolver behind unbound', () => {
  const cleanup = new Cleanup();
  let nsd: Nsd;
  let unbound: Unbound;
  let resolver: Postilion;
  let ipv6: Server;
  beforeAll(async () => {
    const zones = [{ origin: ORIGIN, records: RECORDS }, signedZone];
    nsd = cleanup.stop(await startNsd(zones));
    unbound = cleanup.stop(
      await startUnbound({
        zones: [ORIGIN, SIGNED_ORIGIN],
        authority: nsd,
        trustAnchor: SIGNED_TRUST_ANCHOR,
      }),
    );
    const dns = { address: '127.0.0.1', port: await freePort() };
    ipv6 = { address: '::1', port: await freePort('::1') };
    resolver = cleanup.stop(
      await startPostilion({
        program: 'resolver',
        upstream: unbound,
        dns,
        resolver: { listen: [`${dns.address}:${dns.port}`, `[::1]:${ipv6.port}`] },
      }),
    );
  });
  afterAll(() => cleanup.run());

  const upstreamPackets = async (): Promise<number> =>
    (await resolver.resolverMetrics()).sum('postilion_dns_upstream_packets_total', {
      direction: 'sent',
    });

  test.each([
    ['alpha.example', 'MX'],
    ['alpha.example', 'TXT'],
    ['alpha.example', 'SOA'],
    ['alpha.example', 'NS'],
    ['alpha.example', 'CAA'],
    ['mx1.alpha.example', 'A'],
    ['mx1.alpha.example', 'AAAA'],
    ['one.alpha.example', 'A'],
    ['one.alpha.example', 'CNAME'],
    ['dangling.alpha.example', 'A'],
    ['_smtp._tcp.alpha.example', 'SRV'],
    ['naptr.alpha.example', 'NAPTR'],
    ['_25._tcp.mx1.alpha.example', 'TLSA'],
    ['host.alpha.example', 'SSHFP'],
    ['svc.alpha.example', 'HTTPS'],
    ['info.alpha.example', 'HINFO'],
    ['loc.alpha.example', 'LOC'],
    ['odd.alpha.example', 'TYPE65534'],
    ['empty.alpha.example', 'TYPE65280'],
    ['binary\\000\\255.alpha.example', 'A'],
    ['middle.alpha.example', 'TXT'],
    ['a.b.wild.alpha.example', 'A'],
    ['missing.alpha.example', 'A'],
    ['alpha.example', 'AAAA'],
    ['mx.signed.example', 'A'],
  ])('passes %s %s through as Unbound gave it, fresh and from cache', async (name, type) => {
    const expected = body(await dig(unbound, name, type));
    expect(body(await dig(resolver.dns, name, type))).toEqual(expected);
    const before = await upstreamPackets();
    expect(body(await dig(resolver.dns, name, type))).toEqual(expected);
    expect(await upstreamPackets()).toBe(before);
  });

  test('a long response is truncated over UDP and whole over TCP', async () => {
    const cut = await dig(resolver.dns, 'large.alpha.example', 'TXT', '+ignore');
    expect(cut.flags).toContain('tc');
    expect(cut.octets).toBeLessThanOrEqual(1232);
    const whole = await dig(resolver.dns, 'large.alpha.example', 'TXT');
    expect(whole.transport).toBe('TCP');
    expect(body(whole)).toEqual(body(await dig(unbound, 'large.alpha.example', 'TXT')));
  });

  test('a client without EDNS gets at most 512 octets and no OPT', async () => {
    const response = await dig(resolver.dns, 'middle.alpha.example', 'TXT', '+noedns', '+ignore');
    expect(response.flags).toContain('tc');
    expect(response.octets).toBeLessThanOrEqual(512);
    expect(response.edns).toBe('');
  });

  test('DO, AD and CD pass', async () => {
    const plain = await dig(resolver.dns, 'mx.signed.example', 'A', '+noadflag');
    expect(plain.answer.map(({ type }) => type)).toEqual(['A']);
    const signed = await dig(resolver.dns, 'mx.signed.example', 'A', '+dnssec');
    expect(signed.answer.map(({ type }) => type)).toEqual(['A', 'RRSIG']);
    expect(signed.flags).toContain('ad');
    expect(signed.edns).toContain('flags: do');
    expect((await dig(resolver.dns, 'bogus.signed.example', 'A')).status).toBe('SERVFAIL');
    const unchecked = await dig(resolver.dns, 'bogus.signed.example', 'A', '+cd');
    expect([unchecked.status, unchecked.answer[0]?.data]).toEqual(['NOERROR', '192.0.2.66']);
    expect(unchecked.flags).toContain('cd');
    expect((await dig(resolver.dns, 'bogus.signed.example', 'A')).status).toBe('SERVFAIL');
  });

  test('answers over IPv6, UDP and TCP', async () => {
    const expected = body(await dig(unbound, 'mx1.alpha.example', 'AAAA'));
    expect(body(await dig(ipv6, 'mx1.alpha.example', 'AAAA'))).toEqual(expected);
    expect(body(await dig(ipv6, 'mx1.alpha.example', 'AAAA', '+tcp'))).toEqual(expected);
  });

  test('TTLs count down, and at zero upstream is asked again', async () => {
    const ttl = async (): Promise<number> =>
      (await dig(resolver.dns, 'brief.alpha.example', 'A')).answer[0]!.ttlSeconds;
    const first = await ttl();
    expect(first).toBeLessThanOrEqual(3);
    const before = await upstreamPackets();
    let last = first;
    await waitFor(async () => {
      const now = await ttl();
      expect(now).toBeLessThanOrEqual(3);
      if (now < last) last = now;
      return last < first;
    }, 'the TTL to fall');
    await waitFor(async () => {
      await ttl();
      return (await upstreamPackets()) > before;
    }, 'upstream to be asked again');
    expect(await upstreamPackets()).toBe(before + 1);
  });

  test('a negative answer keeps its SOA, with its TTL counted down', async () => {
    const response = await dig(resolver.dns, 'absent.alpha.example', 'MX');
    expect(response.status).toBe('NXDOMAIN');
    expect(response.authority.map(({ name, type }) => [name, type])).toEqual([
      ['alpha.example.', 'SOA'],
    ]);
    expect(response.authority[0]!.ttlSeconds).toBeLessThanOrEqual(60);
  });

  test('1,000 clients with one uncached question send one packet upstream', async () => {
    const before = { packets: await upstreamPackets(), unbound: await unbound.queries() };
    const answers = await askAtOnce(resolver.dns, 'crowd.wild.alpha.example', 1000);
    expect(answers.get('192.0.2.5')).toBe(1000);
    expect((await upstreamPackets()) - before.packets).toBe(1);
    expect((await unbound.queries()) - before.unbound).toBe(1);
  });

  test('survives garbage', async () => {
    const socket = createSocket('udp4');
    const send = (octets: Uint8Array) =>
      new Promise((resolve) => {
        socket.send(octets, resolver.dns.port, resolver.dns.address, resolve);
      });
    for (let length = 0; length < 40; length += 1) await send(new Uint8Array(length).fill(0xc0));
    socket.close();
    expect((await dig(resolver.dns, 'mx1.alpha.example', 'A')).status).toBe('NOERROR');
  });

  test('without upstream: SERVFAIL within the deadline, and why; cached names still answer', async () => {
    await dig(resolver.dns, 'three.alpha.example', 'A');
    await unbound.stop();
    expect((await dig(resolver.dns, 'three.alpha.example', 'A')).status).toBe('NOERROR');
    const response = await dig(resolver.dns, 'unasked.alpha.example', 'A');
    expect(response.status).toBe('SERVFAIL');
    expect(response.edns).toContain('EDE');
  });
});

/** One socket per client, all asking before any reads. @returns address in the answer → clients that got it */
async function askAtOnce(
  server: Server,
  name: string,
  clients: number,
): Promise<Map<string, number>> {
  const answers = new Map<string, number>();
  const sockets = Array.from({ length: clients }, () => createSocket('udp4'));
  const received = sockets.map(
    (socket, id) =>
      new Promise<void>((resolve) => {
        socket.once('message', (octets) => {
          const response = decode(octets);
          const [answer] = response.answers ?? [];
          const text = answer?.type === 'A' && response.id === id ? String(answer.data) : 'wrong';
          answers.set(text, (answers.get(text) ?? 0) + 1);
          resolve();
        });
      }),
  );
  const question = { type: 'A', name } as const;
  for (const [id, socket] of sockets.entries()) {
    socket.send(
      encode({ type: 'query', id, flags: 0x100, questions: [question] }),
      server.port,
      server.address,
    );
  }
  await Promise.all(received);
  for (const socket of sockets) socket.close();
  return answers;
}
