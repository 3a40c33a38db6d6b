/**
 * A front: a thread that answers from the answer table, a batch at a time, and hands the core what it
 * cannot. It decides nothing. It blocks in the kernel, never for the core, and never sleeps otherwise.
 *
 * At most RECEIVE_TIMEOUT_MS pass from an order to its being followed.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { parseNetwork } from '../../runtime/settings.ts';
import { type ClockHandle, threadClock } from '../../runtime/thread-clock.ts';
import { Acl } from '../acl.ts';
import type { AnswerTableMemory } from '../cache/answer-table-layout.ts';
import { AnswerTableReader, ASK_CORE } from '../cache/answer-table-reader.ts';
import { answerBucketOf, LABEL_BY_TYPE } from '../counters.ts';
import { DatagramBatch, type Family } from './datagram-batch.ts';
import { FrontMemory, ORDER, TALLY } from './front-memory.ts';
import { ERRNO, loadLibc } from './libc.ts';
import { PeerAcl } from './peer.ts';

/** What a front is started with; it arrives as a structured clone. */
export interface FrontOrders {
  readonly fd: number;
  readonly family: Family;
  readonly wantsLocal: boolean;
  readonly allow: readonly string[];
  readonly clock: ClockHandle;
  readonly table: AnswerTableMemory;
  readonly memory: SharedArrayBuffer;
}

/** With fewer queries there is little to wait for together. */
const READ_AHEAD_MIN = 4;

/** Posted once, when the front is about to serve. */
export const READY = 'ready';

const orders: FrontOrders = workerData;
const libc = await loadLibc();
const memory = new FrontMemory(orders.memory);
const batch = new DatagramBatch({ libc, ...orders });
const table = new AnswerTableReader(orders.table, batch.octets);
const acl = new PeerAcl(new Acl(orders.allow.map((text) => parseNetwork(text)!)), orders.family);
const nowMs = threadClock(orders.clock);
const { tallies } = memory;

parentPort!.postMessage(READY);
while (mustServe()) {
  const received = batch.receive();
  if (received > 0) serve(received);
  else if (received < 0 && !isIdle(libc.errno())) throw new Error(`recvmmsg: ${libc.errno()}`);
}

function mustServe(): boolean {
  const { order } = memory;
  if (order === ORDER.serve) return true;
  if (order === ORDER.stop) return false;
  throw new RangeError(`no such order: ${order}`);
}

/** Nothing came for a while, or a debugger or profiler knocked. */
function isIdle(errno: number): boolean {
  return errno === ERRNO.EAGAIN || errno === ERRNO.EINTR;
}

function serve(received: number): void {
  const arrivedAtMs = nowMs();
  let pushed = 0;
  tallies[TALLY.batches] = tallies[TALLY.batches]! + 1;
  if (received >= READ_AHEAD_MIN) readAhead(received);
  for (let place = 0; place < received; place += 1) {
    if (batch.wasCut(place)) {
      tallies[TALLY.long] = tallies[TALLY.long]! + 1;
      continue;
    }
    const octets = batch.receivedOctets(place);
    const mayAsk = acl.allows(batch.words, batch.peerWord(place));
    const answered = mayAsk ? table.answer(batch.at(place), octets, arrivedAtMs) : ASK_CORE;
    if (answered !== ASK_CORE) {
      batch.queue(place, answered);
      countAnswer();
    } else if (memory.push(batch, place, octets)) {
      pushed += 1;
    } else {
      tallies[TALLY.backlog] = tallies[TALLY.backlog]! + 1;
    }
  }
  if (pushed > 0) memory.ring();
  if (batch.sending > 0) send(arrivedAtMs);
}

function readAhead(received: number): void {
  for (let place = 0; place < received; place += 1) {
    table.lookAhead(batch.at(place), batch.receivedOctets(place), place);
  }
  table.readAhead(received);
}

function countAnswer(): void {
  const type = TALLY.types + LABEL_BY_TYPE[table.qtype]!;
  const rcode = TALLY.rcodes + table.rcode;
  tallies[type] = tallies[type]! + 1;
  tallies[rcode] = tallies[rcode]! + 1;
}

function send(arrivedAtMs: number): void {
  const answers = batch.sending;
  const lost = batch.flush();
  const seconds = Math.max(0, nowMs() - arrivedAtMs) / 1000;
  const bucket = TALLY.buckets + answerBucketOf(seconds);
  tallies[bucket] = tallies[bucket]! + answers;
  tallies[TALLY.seconds] = tallies[TALLY.seconds]! + seconds * answers;
  if (lost > 0) tallies[TALLY.backlog] = tallies[TALLY.backlog]! + lost;
}
