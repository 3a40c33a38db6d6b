/**
 * A thread of another process that is made to run something, by the debugger that any Node opens on
 * SIGUSR1: how a test brings about a mistake in a program that has none to offer.
 */
import { EventEmitter, once } from 'node:events';
import type { RunningProcess } from './process.ts';
import { waitFor } from './process.ts';

/** To start a program with, so that its debugger has a port of its own. */
export const ANY_DEBUGGER_PORT = 'NODE_OPTIONS=--inspect-port=127.0.0.1:0';

interface WorkerAttached {
  readonly sessionId: string;
  readonly workerInfo: { readonly url: string };
}

/**
 * @param program whose output shows what `pid`, itself or a child, writes
 * @param script how the URL of the thread's module ends
 */
export async function runInThread(
  { program, pid }: { readonly program: RunningProcess; readonly pid: number },
  script: string,
  expression: string,
): Promise<void> {
  process.kill(pid, 'SIGUSR1');
  const [, url] = await program.waitForOutput(/Debugger listening on (ws:\S+)/);
  const socket = new WebSocket(url!);
  const heard = new EventEmitter();
  socket.onmessage = ({ data }) => {
    const { method, params } = JSON.parse(String(data));
    if (method !== undefined) heard.emit(method, params);
  };
  await once(socket, 'open');
  const workers: WorkerAttached[] = [];
  heard.on('NodeWorker.attachedToWorker', (worker: WorkerAttached) => void workers.push(worker));
  const send = (id: number, method: string, params: object): void =>
    socket.send(JSON.stringify({ id, method, params }));
  send(1, 'NodeWorker.enable', { waitForDebuggerOnStart: false });
  const thread = () => workers.find(({ workerInfo }) => workerInfo.url.endsWith(script));
  await waitFor(
    () => thread() !== undefined,
    () => `a thread of ${script} among ${JSON.stringify(workers)}`,
  );
  const message = { id: 1, method: 'Runtime.evaluate', params: { expression } };
  const { sessionId } = thread()!;
  send(2, 'NodeWorker.sendMessageToWorker', { sessionId, message: JSON.stringify(message) });
  await once(heard, 'NodeWorker.receivedMessageFromWorker');
  socket.close();
}
