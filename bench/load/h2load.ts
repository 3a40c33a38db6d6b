/** h2load: HTTP/2 requests as fast as answers come, and what came of them. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProcess } from '../../test/support/process.ts';
import { scratchFolder } from '../../test/support/scratch.ts';
import { type HttpFigures, httpFigures } from './http-load.ts';

const GRACE_MS = 15_000;

export interface Http2Burst {
  /** Of one origin, asked in turn. */
  readonly urls: readonly string[];
  readonly connections: number;
  /** Requests under way on each connection. */
  readonly streams: number;
  readonly seconds: number;
}

export async function runH2load(burst: Http2Burst): Promise<HttpFigures> {
  const { urls, connections, streams, seconds } = burst;
  const folder = await scratchFolder('h2load');
  const [input, log] = [join(folder.path, 'urls'), join(folder.path, 'log')];
  try {
    await writeFile(input, `${urls.join('\n')}\n`);
    const args = `-D ${seconds} -c ${connections} -m ${streams} -i ${input} --log-file=${log}`;
    const timeoutMs = 1000 * seconds + GRACE_MS;
    const { output, code } = await runProcess('h2load', args.split(' '), { timeoutMs });
    if (code !== 0) throw new Error(`h2load exited ${code}: ${output.slice(-500)}`);
    return figuresOf(await readFile(log, 'latin1'), seconds);
  } finally {
    await folder.remove();
  }
}

/** Lines of microseconds since the epoch at the start, status, microseconds taken; -1 is no answer. */
export function figuresOf(log: string, seconds: number): HttpFigures {
  const latenciesMs: number[] = [];
  let failed = 0;
  for (const line of log.split('\n')) {
    const [, status = '', micros] = line.split('\t');
    if (/^2\d\d$/.test(status)) latenciesMs.push(Number(micros) / 1000);
    else if (status !== '') failed += 1;
  }
  return httpFigures(latenciesMs, failed, seconds);
}
