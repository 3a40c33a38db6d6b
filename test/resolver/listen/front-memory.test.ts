import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  BATCH_MAX,
  CONTROL_WORDS,
  DatagramBatch,
  PEER_WORDS,
  QUERY_OCTETS_MAX,
} from '../../../resolver/listen/datagram-batch.ts';
import { createFrontMemory, FrontMemory } from '../../../resolver/listen/front-memory.ts';
import { loadLibc } from '../../../resolver/listen/libc.ts';

const libc = await loadLibc();

/** Both ends of one ring; a query is told by its length and its first octet. */
function createRing() {
  const buffer = createFrontMemory();
  const batch = new DatagramBatch({ libc, fd: -1, family: 6, wantsLocal: true });
  return { front: new FrontMemory(buffer), core: new FrontMemory(buffer), batch };
}

test('queries come out as they went in, or are refused while the ring is full', () => {
  const size = fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constant(QUERY_OCTETS_MAX));
  const run = fc.record({ push: fc.boolean(), times: fc.integer({ min: 1, max: 400 }), size });
  const property = fc.property(fc.array(run, { maxLength: 60 }), (runs) => {
    const { front, core, batch } = createRing();
    const waiting: { octets: number; mark: number; place: number }[] = [];
    const query = new Uint8Array(QUERY_OCTETS_MAX);
    const from = new Int32Array(PEER_WORDS + CONTROL_WORDS);
    let mark = 0;
    for (const { push, times, size: octets } of runs) {
      for (let time = 0; time < times; time += 1) {
        if (push) {
          mark += 1;
          const place = mark % BATCH_MAX;
          batch.octets.fill(mark, batch.at(place), batch.at(place) + octets);
          batch.words.fill(mark, batch.peerWord(place), batch.peerWord(place) + PEER_WORDS);
          batch.words.fill(
            -mark,
            batch.controlWord(place),
            batch.controlWord(place) + CONTROL_WORDS,
          );
          if (front.push(batch, place, octets)) waiting.push({ octets, mark, place });
          else expect(waiting.length).toBeGreaterThan(100);
        } else {
          const expected = waiting.shift();
          expect(core.take(query, from)).toBe(expected?.octets ?? -1);
          if (expected === undefined) continue;
          expect(query[0]).toBe(expected.mark & 255);
          expect(query[expected.octets - 1]).toBe(expected.mark & 255);
          expect([from[0], from.at(-1)]).toEqual([expected.mark, -expected.mark]);
        }
      }
    }
  });
  fc.assert(property, { numRuns: 100, endOnFailure: true });
});

test('the core sleeps only while there is nothing, and is woken by the bell', async () => {
  const { front, core, batch } = createRing();
  const woken = new Promise<void>((resolve) => {
    expect(core.sleep(resolve)).toBe(true);
  });
  expect(front.push(batch, 0, 30)).toBe(true);
  front.ring();
  await woken;
  expect(core.sleep(() => undefined)).toBe(false);
});
