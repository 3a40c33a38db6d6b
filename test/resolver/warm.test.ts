import { afterEach, beforeEach, expect, test } from 'vitest';
import { warmKey } from '../../resolver/warm.ts';
import { TYPE } from '../../resolver/wire/constants.ts';
import { FakeUpstream } from '../support/fake-upstream.ts';
import { askUdp, question, startTestResolver, type TestResolver } from '../support/resolver.ts';
import { askedFor, zoneBehaviour } from '../support/zone-upstream.ts';

let upstream: FakeUpstream;
let resolver: TestResolver;

beforeEach(async () => {
  upstream = await FakeUpstream.start(
    zoneBehaviour(['a.example. 300 MX mx.example.', 'mx.example. 300 A 192.0.2.1']),
  );
  resolver = await startTestResolver([upstream.endpoint]);
});

afterEach(async () => {
  await resolver.stop();
  await upstream.stop();
});

test('a list is asked for, each once, and clients then need not wait', async () => {
  expect(
    resolver.warm(['a.example', 'mx.example A', 'a.example MX', '..', 'b.example NOPE']),
  ).toEqual({
    accepted: 3,
    malformed: 2,
    refused: 0,
  });
  await upstream.arrival(2);
  expect(upstream.asked.map(askedFor)).toEqual(['a.example. MX', 'mx.example. A']);
  await askUdp(resolver.endpoint, question('a.example', TYPE.MX));
  expect(upstream.asked.length).toBe(2);
});

test.each([[''], ['a.example MX 10'], ['a..example'], ['a.example ANY'], ['bücher.example']])(
  '%j is not understood',
  (line) => expect(warmKey(line)).toBe(null),
);
