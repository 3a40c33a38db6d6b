/** Once is a request, twice in quick succession is still one, later it is an order. */
import { afterEach, expect, test, vi } from 'vitest';
import { stopSignal } from '../../sidecar/signals.ts';

afterEach(() => {
  vi.restoreAllMocks();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.removeAllListeners(signal);
});

test('a table of signals', async () => {
  const now = vi.spyOn(performance, 'now');
  const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
  const kill = vi.fn();
  const stopped = stopSignal(kill);
  for (const { atMs, signal, kills } of [
    { atMs: 1000, signal: 'SIGINT', kills: 0 },
    { atMs: 1001, signal: 'SIGINT', kills: 0 },
    { atMs: 1499, signal: 'SIGTERM', kills: 0 },
    { atMs: 1500, signal: 'SIGINT', kills: 1 },
  ] as const) {
    now.mockReturnValue(atMs);
    process.emit(signal, signal);
    expect(kill).toHaveBeenCalledTimes(kills);
  }
  expect(await stopped).toBe('SIGINT');
  expect(exit).toHaveBeenCalledExactlyOnceWith(130);
});
