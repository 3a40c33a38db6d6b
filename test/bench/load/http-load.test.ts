/** What is made of answers, by autocannon and by h2load. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { figuresOf } from '../../../bench/load/h2load.ts';
import { runHttp } from '../../../bench/load/http-load.ts';
import { injectionRequests } from '../../../bench/load/http-requests.ts';

it('counts 2xx, their latencies, and failures', async () => {
  let requests = 0;
  const bodies = new Set<string>();
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      bodies.add(`${request.method} ${request.headers['content-type']} ${body}`);
      requests += 1;
      response.statusCode = requests % 10 === 0 ? 503 : 200;
      response.end('{}');
    });
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const figures = await runHttp({
    url: `http://127.0.0.1:${port}/x`,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"a":1}',
    connections: 2,
    seconds: 1,
    perSecond: 50,
  });
  expect([...bodies]).toEqual(['POST application/json {"a":1}']);
  expect(figures.failed).toBeGreaterThan(0);
  expect(figures.completed).toBeGreaterThan(figures.failed);
  expect(figures.p50Ms).toBeGreaterThan(0);
  expect(figures.p99Ms).toBeGreaterThanOrEqual(figures.p50Ms);
});

it('reads the log of h2load', () => {
  const log = '1700000000000000\t200\t1500\n1700000000000100\t200\t500\n1700000000000200\t-1\t9\n';
  expect(figuresOf(log, 2)).toEqual({
    completed: 2,
    failed: 1,
    perSecond: 1,
    p50Ms: 0.5,
    p99Ms: 1.5,
  });
});

it('writes the same letter for every API', () => {
  const requests = injectionRequests('http://127.0.0.1:1', 100);
  expect([...requests.values()].map(({ url }) => new URL(url).pathname)).toEqual([
    '/v1/messages',
    '/v1/messages',
    '/api/inject/v1',
    '/api/inject/v1',
    '/api/v1/transmissions',
  ]);
  for (const { body } of requests.values()) expect(body).toContain('The quick brown fox');
});
