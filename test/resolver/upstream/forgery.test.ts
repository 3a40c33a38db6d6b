/** Datagrams that are not the answer: dropped, counted, and we keep waiting for the one that is. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FLAG, TYPE } from '../../../resolver/wire/constants.ts';
import { setId } from '../../../resolver/wire/message.ts';
import {
  type Asked,
  answers,
  FakeUpstream,
  record,
  response,
  silent,
} from '../../support/fake-upstream.ts';
import {
  askUdp,
  brief,
  metric,
  question,
  startTestResolver,
  type TestResolver,
} from '../../support/resolver.ts';
import { wireName } from '../../support/wire.ts';

let upstream: FakeUpstream;
let resolver: TestResolver;

beforeEach(async () => {
  upstream = await FakeUpstream.start(silent);
  resolver = await startTestResolver([upstream.endpoint]);
});

afterEach(async () => {
  await resolver.stop();
  await upstream.stop();
});

const ask = () => askUdp(resolver.endpoint, question('Target.example', TYPE.A));
const mismatches = () =>
  metric(
    resolver,
    `postilion_dns_upstream_mismatches_total{upstream="127.0.0.1:${upstream.endpoint.port}"}`,
  );
const forged = (asked: Asked): Uint8Array => response(asked, { answers: [record(asked, 300, 66)] });

const otherQuestion = (name: string, type: number) => (asked: Asked) =>
  response(asked, { question: { name: wireName(name), type }, answers: [record(asked, 300, 66)] });

/** What arrives on the right port, and whether it is near enough to ask again over TCP. */
const FORGERIES: readonly [what: string, make: (asked: Asked) => Uint8Array, nearMiss: boolean][] =
  [
    [
      'wrong ID',
      (asked) => {
        const message = forged(asked);
        setId(message, asked.view.id ^ 1);
        return message;
      },
      true,
    ],
    ['wrong name', otherQuestion('other.example', TYPE.A), true],
    ['wrong type', otherQuestion('Target.example', TYPE.AAAA), true],
    ['wrong case', otherQuestion('target.example', TYPE.A), true],
    [
      'wrong class',
      (asked) => {
        const message = forged(asked);
        message[asked.view.questionEnd - 1] = 3;
        return message;
      },
      true,
    ],
    [
      'QR not set',
      (asked) => {
        const message = forged(asked);
        message[2]! &= 0x7f;
        return message;
      },
      false,
    ],
    [
      'wrong opcode',
      (asked) => {
        const message = forged(asked);
        message[2]! |= 4 << 3;
        return message;
      },
      true,
    ],
    ['less than a header', (asked) => forged(asked).subarray(0, 11), false],
    ['records cut short', (asked) => forged(asked).subarray(0, asked.view.questionEnd + 5), true],
  ];

test.each(FORGERIES)('%s, then the right answer', async (_what, forge, nearMiss) => {
  upstream.behaviour = (asked) => {
    if (asked.transport === 'tcp') return;
    asked.send(forge(asked));
    answers(300, 1)(asked);
  };
  expect(brief(await ask())).toBe('NOERROR 1');
  expect(await mismatches()).toBe(1);
  // After a near miss TCP may have been begun, but UDP was faster.
  expect([upstream.udpQueries, nearMiss ? 0 : upstream.tcpQueries]).toEqual([1, 0]);
});

test.each(FORGERIES.filter(([, , nearMiss]) => nearMiss))(
  '%s alone: asked again over TCP',
  async (_what, forge) => {
    upstream.behaviour = (asked) => {
      if (asked.transport === 'tcp') answers(300, 2)(asked);
      else asked.send(forge(asked));
    };
    expect(brief(await ask())).toBe('NOERROR 2');
    expect([upstream.udpQueries, upstream.tcpQueries]).toEqual([1, 1]);
  },
);

test('from another port or address: the kernel drops it, and TCP is not bothered', async () => {
  const stranger = createSocket('udp4').bind(0, '127.0.0.1');
  const elsewhere = createSocket('udp4').bind(upstream.endpoint.port, '127.0.0.2');
  await Promise.all([once(stranger, 'listening'), once(elsewhere, 'listening')]);
  upstream.behaviour = (asked) => {
    for (const socket of [stranger, elsewhere]) socket.send(forged(asked), asked.port, '127.0.0.1');
    elsewhere.send(forged(asked), asked.port, '127.0.0.1', () => answers(300, 1)(asked));
  };
  expect(brief(await ask())).toBe('NOERROR 1');
  expect([await mismatches(), upstream.tcpQueries]).toEqual([0, 0]);
  stranger.close();
  elsewhere.close();
});

test('a thousand bad guesses, then the right answer', async () => {
  upstream.behaviour = (asked) => {
    if (asked.transport === 'tcp') return;
    const message = forged(asked);
    for (let guess = 1; guess <= 100; guess += 1) {
      setId(message, (asked.view.id + guess) & 0xffff);
      asked.send(message.slice());
    }
    answers(300, 1)(asked);
  };
  expect(brief(await ask())).toBe('NOERROR 1');
  expect([await mismatches(), upstream.udpQueries]).toEqual([100, 1]);
  expect(upstream.tcpQueries).toBeLessThanOrEqual(1);
});

test('records that were not asked for answer no other question', async () => {
  upstream.behaviour = (asked) => {
    const bait = { ...record(asked, 300, 66), name: wireName('victim.example') };
    asked.send(response(asked, { answers: [record(asked)], additionals: [bait] }));
  };
  await ask();
  upstream.behaviour = answers(300, 7);
  const packet = await askUdp(resolver.endpoint, question('victim.example', TYPE.A));
  expect(brief(packet)).toBe('NOERROR 7');
});

test('ports and IDs are spread over their whole ranges', async () => {
  upstream.behaviour = answers();
  for (let round = 0; round < 60; round += 1) {
    // Old sockets are not used again, so each of these comes from a port of its own.
    resolver.clock.advance(2_100);
    await askUdp(resolver.endpoint, question(`r${round}.example`, TYPE.A));
  }
  const ports = upstream.asked.map(({ port }) => port);
  const ids = upstream.asked.map(({ view }) => view.id);
  for (const [values, low, high] of [
    [ports, 1024, 65_535],
    [ids, 0, 65_535],
  ] as const) {
    expect(new Set(values).size).toBeGreaterThan(57);
    const spread = (Math.max(...values) - Math.min(...values)) / (high - low);
    expect(spread).toBeGreaterThan(0.8);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(low);
  }
});

test('questions to the upstream carry RD, AD, EDNS of 1232 octets, DO and CD as asked', async () => {
  upstream.behaviour = answers();
  await askUdp(resolver.endpoint, question('q.example', TYPE.A, { edns: false }));
  await askUdp(resolver.endpoint, question('q.example', TYPE.A, { dnssecOk: true, cd: true }));
  expect(upstream.asked.map(({ view }) => [view.flags, view.udpOctets, view.dnssecOk])).toEqual([
    [FLAG.RD | FLAG.AD, 1232, false],
    [FLAG.RD | FLAG.AD | FLAG.CD, 1232, true],
  ]);
});
