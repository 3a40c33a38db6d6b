/** The spool's own thread: takes batches from its parent and posts their replies. */
import { parentPort, workerData } from 'node:worker_threads';
import { Keeper } from './keeper.ts';
import type { Answer, Batch, Operations, WorkerSetup } from './protocol.ts';

const { folder, reserveBytes } = workerData as WorkerSetup;
const port = parentPort!;
const keeper = new Keeper(folder, reserveBytes);

port.on('message', (batch: Batch) => {
  const reply = keeper.run(batch);
  port.postMessage(reply, contentsOf(batch, reply.answers));
});

/** What a lease hands out is the caller's, so it is moved rather than copied. */
function contentsOf({ requests }: Batch, answers: readonly Answer[]): ArrayBuffer[] {
  const buffers: ArrayBuffer[] = [];
  for (const [at, answer] of answers.entries()) {
    const { op } = requests[at]!;
    if (!answer.ok || (op !== 'lease' && op !== 'leaseExpired')) continue;
    const messages =
      op === 'lease'
        ? (answer.value as Operations['lease']['yields']).messages
        : (answer.value as Operations['leaseExpired']['yields']);
    for (const { content } of messages) buffers.push(content.buffer as ArrayBuffer);
  }
  return buffers;
}
