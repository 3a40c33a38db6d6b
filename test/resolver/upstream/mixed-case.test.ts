/** 0x20: questions in random case, and servers that do not repeat it. */

import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { mixCase } from '../../../resolver/upstream/mixed-case.ts';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { writeQuery } from '../../../resolver/wire/write.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { Cleanup } from '../../support/cleanup.ts';
import {
  type Asked,
  answers,
  type Behaviour,
  FakeUpstream,
  record,
  response,
} from '../../support/fake-upstream.ts';
import {
  askUdp,
  brief,
  question,
  startTestResolver,
  type TestResolver,
} from '../../support/resolver.ts';
import { wireName } from '../../support/wire.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const NAME = 'a-name-with-many-letters.example';
const nameOf = ({ message, view }: Asked): string =>
  Buffer.from(message.subarray(13, view.nameEnd)).toString('latin1');
const lowered = (asked: Asked): Asked => {
  const message = Uint8Array.from(asked.message);
  for (let at = 12; at < asked.view.nameEnd; at += 1) {
    if (message[at]! >= 0x41 && message[at]! <= 0x5a) message[at]! += 0x20;
  }
  return { ...asked, message };
};
/** Answers in lower case, as some servers do. */
const mangles: Behaviour = (asked) => answers(300, 3)(lowered(asked));

const start = async (behaviour: Behaviour, settings: object = {}) => {
  const upstream = cleanup.stop(await FakeUpstream.start(behaviour));
  const resolver = cleanup.stop(await startTestResolver([upstream.endpoint], settings));
  return { upstream, resolver };
};
const ask = async (resolver: TestResolver, name: string) =>
  brief(await askUdp(resolver.endpoint, question(name, TYPE.A)));

test('only letters change, and each of them may', () => {
  const random = cryptoRandom();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 63 }), (label) => {
      const name = Uint8Array.from([label.length, ...label, 0]);
      const before = writeQuery({ id: 1, name, type: TYPE.A });
      const after = before.slice();
      mixCase(after, 12 + name.length + 4, random);
      const folded = (octets: Uint8Array) => Buffer.from(octets).toString('latin1');
      const letters = /[a-z]/gi;
      expect(folded(after).replaceAll(letters, (it) => it.toLowerCase())).toBe(
        folded(before).replaceAll(letters, (it) => it.toLowerCase()),
      );
      expect(after.subarray(12 + name.length)).toEqual(before.subarray(12 + name.length));
      expect(after.subarray(0, 13)).toEqual(before.subarray(0, 13));
    }),
  );
});

test('the same name is asked in another case each time, and the client gets its own back', async () => {
  const { upstream, resolver } = await start(answers(1));
  for (let n = 0; n < 20; n += 1) {
    const packet = await askUdp(resolver.endpoint, question(NAME, TYPE.A));
    expect(packet.questions[0]?.name).toBe(NAME);
    resolver.clock.advance(2_000);
  }
  const asked = upstream.asked.map(nameOf);
  expect(new Set(asked).size).toBe(20);
  expect(new Set(asked.map((name) => name.toLowerCase())).size).toBe(1);
});

test('mix_case = false: as the client wrote it', async () => {
  const { upstream, resolver } = await start(answers(), { mix_case: false });
  await ask(resolver, 'MiXed.Example');
  expect(Buffer.from(upstream.asked[0]!.message).includes('MiXed')).toBe(true);
});

test('a server that mangles: TCP shows it, which is remembered for an hour', async () => {
  const { upstream, resolver } = await start(mangles);
  const transports = () => upstream.asked.map(({ transport }) => transport).join(' ');
  expect(await ask(resolver, `one.${NAME}`)).toBe('NOERROR 3');
  expect(transports()).toBe('udp tcp');
  expect(await ask(resolver, `Two.${NAME}`)).toBe('NOERROR 3');
  expect(transports()).toBe('udp tcp udp');
  // The client's case, as there is nothing to gain.
  expect(nameOf(upstream.asked[2]!)).toMatch(/^Two/);
  resolver.clock.advance(3_601_000);
  expect(await ask(resolver, `three.${NAME}`)).toBe('NOERROR 3');
  expect(transports()).toBe('udp tcp udp udp tcp');
});

test('a forger that gets the case wrong: TCP has the truth, and the server is not suspected', async () => {
  const { upstream, resolver } = await start((asked) => {
    if (asked.transport === 'tcp') answers(300, 1)(asked);
    else answers(300, 66)(lowered(asked));
  });
  expect(await ask(resolver, `one.${NAME}`)).toBe('NOERROR 1');
  expect(await ask(resolver, `two.${NAME}`)).toBe('NOERROR 1');
  expect(upstream.asked.map(({ transport }) => transport)).toEqual(['udp', 'tcp', 'udp', 'tcp']);
});

test('a server that mangles and has no TCP: believed at the third doubt, each from another port', async () => {
  const { upstream, resolver } = await start((asked) => {
    if (asked.transport === 'tcp') asked.hangUp();
    else mangles(asked);
  });
  expect(await ask(resolver, `one.${NAME}`)).toBe('NOERROR 3');
  const datagrams = upstream.asked.filter(({ transport }) => transport === 'udp');
  expect(datagrams.length).toBe(4);
  expect(new Set(datagrams.slice(0, 3).map(({ port }) => port)).size).toBe(3);
  const before = upstream.asked.length;
  expect(await ask(resolver, `two.${NAME}`)).toBe('NOERROR 3');
  expect(upstream.asked.length).toBe(before + 1);
});

test('answers of other owners than the question keep their names', async () => {
  const { resolver } = await start((asked) => {
    const cname = {
      ...record(asked),
      type: TYPE.CNAME,
      rdata: wireName('target.example'),
    };
    const target = { ...record(asked, 300, 9), name: wireName('target.example') };
    asked.send(response(asked, { answers: [cname, target] }));
  });
  const packet = await askUdp(resolver.endpoint, question(NAME, TYPE.A));
  expect(packet.answers.map(({ name }) => name)).toEqual([NAME, 'target.example']);
});
