/** The spool's own thread: takes batches from its parent and posts their replies. */
import { parentPort, workerData } from 'node:worker_threads';
import { Keeper } from './keeper.ts';
import { packAnswer } from './parcel.ts';
import type { Answer, Batch, BatchReply, WorkerSetup } from './protocol.ts';

const port = parentPort!;
const keeper = new Keeper(workerData as WorkerSetup);

port.on('message', (batch: Batch) => {
  const reply = keeper.run(batch);
  const moved: ArrayBuffer[] = [];
  const answers = reply.answers.map(
    (answer, at): Answer =>
      answer.ok
        ? { ok: true, value: packAnswer(batch.requests[at]!, answer.value, moved) }
        : answer,
  );
  port.postMessage({ ...reply, answers } satisfies BatchReply, moved);
  keeper.catchUp();
});
