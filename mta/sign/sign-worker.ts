/** A signing thread: takes batches from its parent and posts what they yield. */
import { parentPort } from 'node:worker_threads';
import { type KeyRing, signMessage } from './dkim.ts';
import type { Job, Order, Results } from './protocol.ts';

const port = parentPort!;
let ring: KeyRing = new Map();

port.on('message', (order: Order) => {
  if (order.kind === 'keys') {
    ring = new Map(order.keys);
    return;
  }
  const results: Results = order.jobs.map((job) =>
    signMessage(asMessage(job), ring, order.seconds),
  );
  port.postMessage(results);
});

const asMessage = ({ content, reversePathDomain }: Job) => ({
  content: Buffer.from(content.buffer, content.byteOffset, content.byteLength),
  reversePathDomain,
});
