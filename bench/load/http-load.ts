/**
 * Requests as fast as answers come, or so many a second, over connections that stay open: autocannon in a
 * process of its own. It rounds latencies to milliseconds, so they are collected here.
 */
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { percentile } from './dnsperf.ts';
import { startJsonChild } from './json-child.ts';

export interface HttpRequest {
  readonly url: string;
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpBurst extends HttpRequest {
  readonly connections: number;
  readonly seconds: number;
  /** Default: as fast as answers come. */
  readonly perSecond?: number;
}

export interface HttpFigures {
  /** Answers 2xx. */
  readonly completed: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export async function runHttp(burst: HttpBurst): Promise<HttpFigures> {
  const child = await startJsonChild<object, HttpFigures>('load/http-load.ts', {
    burst: JSON.stringify(burst),
  });
  try {
    return await child.ask();
  } finally {
    await child.stop();
  }
}

export function httpFigures(latenciesMs: readonly number[], failed: number, seconds: number) {
  const sorted = Float64Array.from(latenciesMs).sort();
  return {
    completed: sorted.length,
    failed,
    perSecond: sorted.length / seconds,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
  };
}

function fire({ seconds, perSecond, ...request }: HttpBurst): Promise<HttpFigures> {
  const latenciesMs: number[] = [];
  return new Promise((resolve, reject) => {
    const options = {
      ...request,
      duration: seconds,
      ...(perSecond === undefined ? {} : { overallRate: perSecond }),
    };
    const run = autocannon(options, (error, { duration, errors, non2xx }) => {
      if (error === null) resolve(httpFigures(latenciesMs, errors + non2xx, duration));
      else reject(error);
    });
    run.on('response', (_client, status: number, _octets, elapsedMs: number) => {
      if (status >= 200 && status < 300) latenciesMs.push(elapsedMs);
    });
  });
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { burst: { type: 'string', default: '{}' } } });
  const print = (line: object): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);
  print({});
  process.stdin.once('data', async () => print(await fire(JSON.parse(values.burst) as HttpBurst)));
  process.stdin.once('end', () => process.exit(0));
}
