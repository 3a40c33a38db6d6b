/** The spool's own thread: takes batches from its parent and posts their replies. */
import { parentPort, workerData } from 'node:worker_threads';
import { Keeper } from './keeper.ts';
import type { Answer, Batch, Operation, Operations, WorkerSetup } from './protocol.ts';
import type { LeasedMessage } from './spool.ts';

const port = parentPort!;
const keeper = new Keeper(workerData as WorkerSetup);

port.on('message', (batch: Batch) => {
  const reply = keeper.run(batch);
  port.postMessage(reply, contentsOf(batch, reply.answers));
  keeper.catchUp();
});

/** What a lease hands out is the caller's, so it is moved rather than copied. */
function contentsOf({ requests }: Batch, answers: readonly Answer[]): ArrayBuffer[] {
  const buffers: ArrayBuffer[] = [];
  for (const [at, answer] of answers.entries()) {
    if (!answer.ok) continue;
    for (const { content } of messagesOf(requests[at]!.op, answer.value)) {
      buffers.push(content.buffer as ArrayBuffer);
    }
  }
  return buffers;
}

function messagesOf(op: Operation, value: unknown): readonly LeasedMessage[] {
  switch (op) {
    case 'lease':
      return (value as Operations['lease']['yields']).messages;
    case 'leaseExpired':
      return value as Operations['leaseExpired']['yields'];
    case 'leaseMessage': {
      const leased = value as Operations['leaseMessage']['yields'];
      return leased === null ? [] : [leased];
    }
    default:
      return [];
  }
}
