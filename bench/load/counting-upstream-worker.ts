/** The thread of counting-upstream.ts. */
import { createSocket } from 'node:dgram';
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { FLAG, TYPE } from '../../resolver/wire/constants.ts';
import { parseQuery, QueryView, writeUint16, writeUint32 } from '../../resolver/wire/message.ts';
import type { Order, Report } from './counting-upstream.ts';

/** More than any run asks; beyond it the oldest run's figures would be wrong, so it ends. */
const ARRIVALS_MAX = 4_000_000;
const RECEIVE_BUFFER_OCTETS = 8_388_608;
const PRIORITY = -19;
/** 10 mx.example. */
const MX_RDATA = Uint8Array.from([0, 10, 2, 109, 120, 7, 101, 120, 97, 109, 112, 108, 101, 0]);
const A_RDATA = Uint8Array.of(192, 0, 2, 1);

const { ttlSeconds, port } = workerData as { ttlSeconds: number; port: number };
const view = new QueryView();
const atMs: number[] = [];
let silent = false;

try {
  setPriority(PRIORITY);
} catch {
  // Not root: as good as it gets.
}

const tell = (report: Report): void => parentPort!.postMessage(report);

/** The query's header and question with one record, whatever was asked. */
function answerTo(query: Uint8Array): Uint8Array {
  const rdata = view.qtype === TYPE.MX ? MX_RDATA : A_RDATA;
  const out = new Uint8Array(view.questionEnd + 12 + rdata.length);
  out.set(query.subarray(0, view.questionEnd));
  writeUint16(out, 2, FLAG.QR | FLAG.RD | FLAG.RA);
  for (const [offset, count] of [
    [4, 1],
    [6, 1],
    [8, 0],
    [10, 0],
  ] as const) {
    writeUint16(out, offset, count);
  }
  const at = view.questionEnd;
  writeUint16(out, at, 0xc00c);
  writeUint16(out, at + 2, view.qtype);
  writeUint16(out, at + 4, 1);
  writeUint32(out, at + 6, ttlSeconds);
  writeUint16(out, at + 10, rdata.length);
  out.set(rdata, at + 12);
  return out;
}

const socket = createSocket({
  type: 'udp4',
  lookup: (host, _options, found) => found(null, host, 4),
});
socket.on('message', (query, peer) => {
  if (atMs.length === ARRIVALS_MAX) throw new Error('too many questions to count');
  atMs.push(performance.timeOrigin + performance.now());
  if (!silent && parseQuery(query, view) === 0) {
    socket.send(answerTo(query), peer.port, peer.address);
  }
});
socket.bind(port, '127.0.0.1', () => {
  socket.setRecvBufferSize(RECEIVE_BUFFER_OCTETS);
  tell({ kind: 'ready', port: socket.address().port });
});

parentPort!.on('message', (order: Order) => {
  switch (order.kind) {
    case 'mode':
      silent = order.silent;
      break;
    case 'arrivals':
      tell({ kind: 'arrivals', atMs: Float64Array.from(atMs) });
      atMs.length = 0;
      break;
    case 'stop':
      socket.close();
      parentPort!.close();
  }
});
