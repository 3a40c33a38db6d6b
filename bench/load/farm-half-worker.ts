/**
 * One half of a farm of MX hosts, in a thread of its own so that it takes no time of the other half: each
 * address misbehaves in its way, or all are healthy.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { MISBEHAVIOURS, startHostilePeer } from './hostile-peer.ts';
import { startSink } from './sink.ts';

export interface FarmHalfSetup {
  readonly addresses: readonly string[];
  readonly port: number;
  readonly hostile: boolean;
}

const { addresses, port, hostile } = workerData as FarmHalfSetup;
const listen = addresses.map((address) => ({ address, port }));
if (hostile) {
  for (const [at, endpoint] of listen.entries()) {
    await startHostilePeer(endpoint, MISBEHAVIOURS[at % MISBEHAVIOURS.length]!);
  }
} else await startSink({ listen });
parentPort!.postMessage('ready');
