import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameReader, frame } from '../../../resolver/wire/frame.ts';

const read = (reader: FrameReader, chunk: Uint8Array): Uint8Array[] => {
  const messages: Uint8Array[] = [];
  reader.feed(chunk);
  for (let message = reader.next(); message !== null; message = reader.next()) {
    messages.push(message.slice());
  }
  // What is kept must not depend on the chunk.
  chunk.fill(0xee);
  return messages;
};

const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });

test('however the stream is cut, the messages are the same', () => {
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 0, max: 2500 })), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(frame));
      const reader = new FrameReader();
      const received: Uint8Array[] = [];
      let from = 0;
      for (const to of [...cuts.toSorted((a, b) => a - b), stream.length]) {
        received.push(...read(reader, Uint8Array.from(stream.subarray(from, to))));
        from = Math.max(from, Math.min(to, stream.length));
      }
      expect(received.map((it) => Buffer.from(it))).toEqual(sent.map((it) => Buffer.from(it)));
      expect(reader.idle).toBe(true);
    }),
  );
});

test('octet by octet, and every truncation waits', () => {
  const message = Uint8Array.from({ length: 40 }, (_, n) => n);
  const stream = frame(message);
  const reader = new FrameReader();
  for (const octet of stream.subarray(0, -1)) {
    expect(read(reader, Uint8Array.of(octet))).toEqual([]);
    expect(reader.idle).toBe(false);
  }
  expect(read(reader, stream.slice(-1))).toEqual([message]);
});

test('the largest message, and one more octet', () => {
  const largest = new Uint8Array(65_535).fill(7);
  expect(read(new FrameReader(), frame(largest))).toEqual([largest]);
  expect(() => frame(new Uint8Array(65_536))).toThrow(RangeError);
});
