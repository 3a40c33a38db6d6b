/** Samples the main thread of a Node process that was started with --inspect, over the inspector's WebSocket. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CpuProfile } from './flame.ts';

const INTERVAL_MICROS = 200;
const ATTEMPTS_MAX = 100;
const RETRY_MS = 50;

export interface Profiler {
  start(): Promise<void>;
  /** @returns what was sampled since start() */
  stop(): Promise<CpuProfile>;
  close(): void;
}

export async function attachProfiler(port: number): Promise<Profiler> {
  const socket = new WebSocket(await socketUrl(port));
  await once(socket, 'open');
  const waiting = new Map<number, (result: unknown) => void>();
  let last = 0;
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
    if (id === undefined) return;
    waiting.get(id)?.(result);
    waiting.delete(id);
  });
  const ask = (method: string, params: object = {}): Promise<unknown> => {
    last += 1;
    socket.send(JSON.stringify({ id: last, method, params }));
    return new Promise((resolve) => waiting.set(last, resolve));
  };
  await ask('Profiler.enable');
  await ask('Profiler.setSamplingInterval', { interval: INTERVAL_MICROS });
  return {
    async start() {
      await ask('Profiler.start');
    },
    async stop() {
      const { profile } = (await ask('Profiler.stop')) as { profile: CpuProfile };
      return profile;
    },
    close: () => socket.close(),
  };
}

async function socketUrl(port: number): Promise<string> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/json`);
      const [target] = (await response.json()) as { webSocketDebuggerUrl: string }[];
      return target!.webSocketDebuggerUrl;
    } catch {
      await sleep(RETRY_MS);
    }
  }
  throw new Error(`no inspector answers on port ${port}`);
}
