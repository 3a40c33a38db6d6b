/** The stub resolver against a scripted one: what it makes of each response, of silence, and of forgeries. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DnsClient } from '../../../mta/plan/dns.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import type { Endpoint } from '../../../runtime/settings.ts';
import { ManualClock } from '../../support/clock.ts';
import {
  AD,
  type Asked,
  a,
  cname,
  mx,
  type Reply,
  reply,
  ScriptedResolver,
  soa,
  TC,
} from './scripted-resolver.ts';

let clock: ManualClock;
let resolver: ScriptedResolver;
let server: Endpoint;
let dns: DnsClient;

beforeEach(async () => {
  clock = new ManualClock();
  resolver = new ScriptedResolver();
  server = await resolver.listen();
  dns = new DnsClient({ server, clock, random: cryptoRandom() });
});

afterEach(() => {
  dns.close();
  resolver.close();
});

const answering = (response: Reply): void => {
  resolver.script = (asked) => [reply(asked, response)];
};

describe('responses', () => {
  test('an answer: records, least TTL, AD', async () => {
    answering({
      flags: AD,
      answers: [
        mx('example.net', 20, 'MX2.example.net', 60),
        mx('EXAMPLE.net', 10, 'mx1.example.net', 300),
      ],
    });
    expect(await dns.mx('example.net')).toEqual({
      kind: 'answer',
      records: [
        { preference: 20, exchange: 'MX2.example.net.' },
        { preference: 10, exchange: 'mx1.example.net.' },
      ],
      ttlSeconds: 60,
      authenticated: true,
    });
    const [asked] = resolver.asked;
    expect(asked).toMatchObject({ name: 'example.net', type: 'MX', transport: 'udp' });
    // Recursion is wanted, and AD is asked for.
    expect(asked!.flags & 0x0120).toBe(0x0120);
    expect(dns.counters()).toMatchObject({
      queries: new Map([['MX', 1]]),
      sentAgain: 0,
      overTcp: 0,
      stray: 0,
    });
  });

  test('A and AAAA', async () => {
    resolver.script = (asked) => [
      asked.type === 'A'
        ? reply(asked, { answers: [a('mx.example.net', '192.0.2.1')] })
        : reply(asked, {
            answers: [{ type: 'AAAA', name: 'mx.example.net', ttl: 5, data: '2001:db8::1' }],
          }),
    ];
    expect(await dns.addresses('mx.example.net', 4)).toMatchObject({ records: ['192.0.2.1'] });
    expect(await dns.addresses('mx.example.net', 6)).toMatchObject({ records: ['2001:db8::1'] });
  });

  test('a chain of CNAMEs is followed, and the least TTL of it counts', async () => {
    answering({
      answers: [
        a('c.example.net', '192.0.2.3', 300),
        cname('b.example.net', 'C.example.net', 30),
        cname('a.example.net', 'b.example.net', 100),
        a('d.example.net', '192.0.2.66', 1),
      ],
    });
    expect(await dns.addresses('a.example.net', 4)).toEqual({
      kind: 'answer',
      records: ['192.0.2.3'],
      ttlSeconds: 30,
      authenticated: false,
    });
  });

  test.each<[string, Reply, object]>([
    ['NODATA', { authorities: [soa('example.net', 300, 60)] }, { kind: 'nodata', ttlSeconds: 60 }],
    ['NODATA without SOA', {}, { kind: 'nodata', ttlSeconds: 0 }],
    [
      'NXDOMAIN',
      { rcode: 3, authorities: [soa('net', 40, 900)] },
      { kind: 'nxdomain', ttlSeconds: 40 },
    ],
    [
      'a CNAME to what does not exist',
      {
        rcode: 3,
        answers: [cname('x.example.net', 'gone.example.net', 20)],
        authorities: [soa('example.net', 40, 900)],
      },
      { kind: 'nxdomain', ttlSeconds: 20 },
    ],
    [
      'a CNAME to what has no such type',
      {
        answers: [cname('x.example.net', 'y.example.net')],
        authorities: [soa('example.net', 40, 900)],
      },
      { kind: 'nodata', ttlSeconds: 40 },
    ],
    [
      'records of another name',
      { answers: [a('other.example.net', '192.0.2.66')] },
      { kind: 'nodata' },
    ],
    [
      'SERVFAIL',
      { rcode: 2 },
      { kind: 'trouble', cause: 'servfail', text: 'the resolver says SERVFAIL' },
    ],
    [
      'SERVFAIL with an extended error',
      { rcode: 2, extendedError: { code: 22, text: 'all upstreams\r\ntimed out' } },
      {
        kind: 'trouble',
        cause: 'servfail',
        text: 'the resolver says SERVFAIL: all upstreams timed out (extended error 22)',
      },
    ],
    [
      'SERVFAIL with a bare extended error',
      { rcode: 2, extendedError: { code: 6, text: '' } },
      { kind: 'trouble', cause: 'servfail', text: 'the resolver says SERVFAIL: extended error 6' },
    ],
    ['REFUSED', { rcode: 5 }, { kind: 'trouble', cause: 'refused' }],
    ['NOTIMP', { rcode: 4 }, { kind: 'trouble', cause: 'refused' }],
    [
      'NXDOMAIN with an answer',
      { rcode: 3, answers: [a('x.example.net', '192.0.2.1')] },
      { kind: 'trouble', cause: 'malformed' },
    ],
    [
      'a loop of CNAMEs',
      {
        answers: [cname('x.example.net', 'y.example.net'), cname('y.example.net', 'x.example.net')],
      },
      { kind: 'trouble', cause: 'malformed' },
    ],
  ])('%s', async (_, response, expected) => {
    answering(response);
    expect(await dns.addresses('x.example.net', 4)).toMatchObject(expected);
  });

  test('every truncation of a response is trouble, never a no', async () => {
    const whole = (asked: Asked) =>
      reply(asked, {
        answers: [cname('x.example.net', 'y.example.net'), a('y.example.net', '192.0.2.1')],
      });
    let octets = 0;
    resolver.script = (asked) => [whole(asked).subarray(0, octets)];
    const questionEnd = 12 + 15 + 4;
    const fullLength = whole({ name: 'x.example.net', type: 'A', id: 1 } as Asked).length;
    for (octets = questionEnd; octets < fullLength; octets += 1) {
      expect(await dns.addresses('x.example.net', 4)).toMatchObject({
        kind: 'trouble',
        cause: 'malformed',
      });
    }
  });

  test('RDATA of the wrong length is trouble', async () => {
    resolver.script = (asked) => {
      const wire = reply(asked, {
        answers: [{ type: 'NULL', name: 'x.example.net', ttl: 1, data: Buffer.alloc(5) } as never],
      });
      // NULL becomes A, of five octets.
      wire[12 + 15 + 4 + 15 + 1] = 1;
      return [wire];
    };
    expect(await dns.addresses('x.example.net', 4)).toMatchObject({ cause: 'malformed' });
  });

  test.each(['a..example', `${'x'.repeat(64)}.example`, 'münchen.example', ''])(
    'a name that DNS cannot write does not exist: %j',
    async (name) => {
      expect(await dns.mx(name)).toMatchObject({ kind: 'nxdomain' });
      expect(resolver.asked).toEqual([]);
    },
  );
});

describe('what is not our response', () => {
  test.each<[string, Reply]>([
    [
      'a wrong name',
      {
        question: { name: 'evil.example.net', type: 'A' },
        answers: [a('evil.example.net', '192.0.2.66')],
      },
    ],
    ['a wrong type', { question: { name: 'x.example.net', type: 'AAAA' } }],
  ])('%s is passed over, and the true one still counts', async (_, forged) => {
    resolver.script = (asked) => [
      reply(asked, forged),
      reply(asked, { answers: [a('x.example.net', '192.0.2.1')] }),
    ];
    expect(await dns.addresses('x.example.net', 4)).toMatchObject({ records: ['192.0.2.1'] });
    expect(dns.counters().stray).toBe(1);
  });

  test('a wrong ID, a query, and noise', async () => {
    resolver.script = (asked) => [
      reply(asked, { id: asked.id ^ 1, answers: [a('x.example.net', '192.0.2.66')] }),
      asked.wire,
      new Uint8Array(3),
      reply(asked, { answers: [a('x.example.net', '192.0.2.1')] }),
    ];
    expect(await dns.addresses('x.example.net', 4)).toMatchObject({ records: ['192.0.2.1'] });
    expect(dns.counters().stray).toBe(3);
  });

  test('a response from another port never arrives', async () => {
    const forger = createSocket('udp4');
    const lookup = dns.addresses('x.example.net', 4);
    await resolver.arrived(1);
    const [asked] = resolver.asked;
    const forged = reply(asked!, { answers: [a('x.example.net', '192.0.2.66')] });
    await new Promise((resolve) => forger.send(forged, asked!.port, '127.0.0.1', resolve));
    forger.close();
    resolver.script = (again) => [reply(again, { answers: [a('x.example.net', '192.0.2.1')] })];
    clock.advance(1_510);
    expect(await lookup).toMatchObject({ records: ['192.0.2.1'] });
  });
});

describe('truncation', () => {
  const answers = [a('x.example.net', '192.0.2.1')];

  test('is repeated over TCP', async () => {
    resolver.script = (asked) => [
      reply(asked, asked.transport === 'udp' ? { flags: TC } : { answers }),
    ];
    expect(await dns.addresses('x.example.net', 4)).toMatchObject({ records: ['192.0.2.1'] });
    expect(resolver.asked.map(({ transport }) => transport)).toEqual(['udp', 'tcp']);
    expect(dns.counters()).toMatchObject({ overTcp: 1, queries: new Map([['A', 1]]) });
  });

  test.each<[string, (asked: Asked) => Uint8Array[]]>([
    ['that closes', () => []],
    ['with a wrong ID', (asked) => [reply(asked, { id: asked.id ^ 1, answers })]],
    [
      'with a wrong name',
      (asked) => [reply(asked, { question: { name: 'y.example.net', type: 'A' }, answers })],
    ],
  ])('over a TCP %s is trouble', async (_, overTcp) => {
    resolver.script = (asked) =>
      asked.transport === 'udp' ? [reply(asked, { flags: TC })] : overTcp(asked);
    expect(await dns.addresses('x.example.net', 4)).toMatchObject({
      kind: 'trouble',
      cause: 'timeout',
    });
  });
});

describe('silence', () => {
  test('is asked again after 1.5 and 3 s, and given up after 5', async () => {
    let ended: unknown = null;
    const lookup = dns.mx('example.net').then((result) => {
      ended = result;
    });
    await resolver.arrived(1);
    for (const step of [
      { ms: 1_490, asked: 1 },
      { ms: 20, asked: 2 },
      { ms: 1_480, asked: 2 },
      { ms: 20, asked: 3 },
      { ms: 1_980, asked: 3 },
    ]) {
      clock.advance(step.ms);
      await resolver.arrived(step.asked);
      expect(resolver.asked).toHaveLength(step.asked);
      expect(ended).toBeNull();
    }
    clock.advance(20);
    await lookup;
    expect(ended).toEqual({
      kind: 'trouble',
      cause: 'unreachable',
      text: `the resolver at 127.0.0.1:${server.port} is silent`,
    });
    // The same question in the same words: a response to the first serves as well.
    expect(new Set(resolver.asked.map(({ id }) => id)).size).toBe(1);
    expect(dns.counters()).toMatchObject({ sentAgain: 2, queries: new Map([['MX', 1]]) });
    expect(clock.timers).toBe(0);
  });

  test('about one name, while others are answered, is a time-out', async () => {
    resolver.script = (asked) => (asked.name === 'slow.example.net' ? [] : [reply(asked, {})]);
    const lookup = dns.mx('slow.example.net');
    await resolver.arrived(1);
    clock.advance(3_000);
    await dns.mx('quick.example.net');
    clock.advance(2_010);
    expect(await lookup).toMatchObject({ kind: 'trouble', cause: 'timeout' });
  });

  test('a response that comes late, to the second transmission, counts', async () => {
    resolver.script = (asked) =>
      asked.times < 3 ? [] : [reply(asked, { answers: [mx('example.net', 0, 'mx.example.net')] })];
    const lookup = dns.mx('example.net');
    await resolver.arrived(1);
    clock.advance(1_510);
    await resolver.arrived(2);
    clock.advance(1_510);
    expect(await lookup).toMatchObject({ kind: 'answer' });
  });

  test('from a port where nobody listens is called so, and a resolver that comes back is found', async () => {
    const { port } = server;
    resolver.close();
    const lookup = dns.mx('example.net');
    // The kernel's refusal is an event of the socket; give it the turns it needs.
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    clock.advance(5_010);
    expect(await lookup).toEqual({
      kind: 'trouble',
      cause: 'unreachable',
      text: `nobody listens at the resolver's address 127.0.0.1:${port}`,
    });

    resolver = new ScriptedResolver();
    const elsewhere = await resolver.listen();
    const back = createSocket('udp4');
    back.bind(port, '127.0.0.1');
    await once(back, 'listening');
    back.on('message', (wire, from) => {
      const response = Buffer.from(wire);
      response[2] = 0x81;
      response[3] = 0x80;
      response.writeUInt16BE(0, 10);
      back.send(response.subarray(0, 12 + 13 + 4), from.port, from.address);
    });
    expect(elsewhere.port).not.toBe(port);
    expect(await dns.mx('example.net')).toMatchObject({ kind: 'nodata' });
    back.close();
  });
});

describe('bounds', () => {
  test('identical lookups share one question; different ones do not', async () => {
    const held: Asked[] = [];
    resolver.script = (asked) => {
      held.push(asked);
      return [];
    };
    const lookups = [
      dns.mx('example.net'),
      dns.mx('EXAMPLE.net.'),
      dns.addresses('example.net', 4),
    ];
    await resolver.arrived(2);
    resolver.script = (asked) => [reply(asked, {})];
    clock.advance(1_510);
    const results = await Promise.all(lookups);
    expect(results[0]).toBe(results[1]);
    expect(held).toHaveLength(2);
    // Nothing is remembered once it is answered: caches are for others.
    await dns.mx('example.net');
    expect(dns.counters().queries.get('MX')).toBe(2);
  });

  test('256 at a time, the rest in order of arrival', async () => {
    const lookups = Array.from({ length: 300 }, (_, index) => dns.mx(`d${index}.example.net`));
    await resolver.arrived(256);
    expect(new Set(resolver.asked.map(({ name }) => name)).size).toBe(256);
    resolver.script = (asked) => [reply(asked, {})];
    clock.advance(1_510);
    await Promise.all(lookups);
    const order = [...new Set(resolver.asked.map(({ name }) => name))];
    expect(new Set(order.slice(256))).toEqual(
      new Set(Array.from({ length: 44 }, (_, index) => `d${256 + index}.example.net`)),
    );
  });

  test('beyond 32,768 waiting, the next is told so at once', async () => {
    const lookups = Array.from({ length: 256 + 32_768 }, (_, index) =>
      dns.mx(`d${index}.example.net`),
    );
    expect(await dns.mx('one.more.example.net')).toMatchObject({
      kind: 'trouble',
      cause: 'overload',
    });
    dns.close();
    expect(new Set((await Promise.all(lookups)).map(({ kind }) => kind))).toEqual(
      new Set(['trouble']),
    );
  });

  test('close ends what is under way, and leaves no timer', async () => {
    const lookup = dns.mx('example.net');
    await resolver.arrived(1);
    dns.close();
    expect(await lookup).toMatchObject({ kind: 'trouble' });
    expect(clock.timers).toBe(0);
  });
});
