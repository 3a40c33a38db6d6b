/**
 * Everything that speaks HTTP: injection by each of its three APIs, DNS over HTTPS, and what monitors and
 * people ask while DNS and mail go on. Requests a second, latency, and CPU of the server per request.
 *
 *     npm run bench -- http [--seconds 5] [--rounds 3] [--connections 20] [--octets 10240]
 *         [--dns 2000] [--mail 200] [--save] [--json]
 *
 * Injection: delivery is suspended, every answer comes after fsync. Under load: 2,000 questions and 200
 * messages a second; their CPU, measured alone just before each request and scaled by the messages taken,
 * is taken off, which is exact only where the machine keeps up.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { textToName } from '../../resolver/wire/names.ts';
import { writeQuery } from '../../resolver/wire/write.ts';
import { Cleanup } from '../../test/support/cleanup.ts';
import { hasProgram } from '../../test/support/peers.ts';
import { freePort, scratchFolder } from '../../test/support/scratch.ts';
import { selfSigned } from '../load/certificate.ts';
import { askAll } from '../load/dns-client.ts';
import { runH2load } from '../load/h2load.ts';
import { type HttpFigures, type HttpRequest, runHttp } from '../load/http-load.ts';
import { injectionRequests } from '../load/http-requests.ts';
import { surround } from '../load/mail-phase.ts';
import { domainName } from '../load/mail-workload.ts';
import { benchOptions } from '../load/options.ts';
import { barSvg } from '../load/plot.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { cpuSeconds } from '../load/proc.ts';
import { machine, saveResults } from '../load/results.ts';
import { interleave } from '../load/rounds.ts';
import { tableText } from '../load/table.ts';

const DOMAINS = 300;
const DNS_PORT = 53;
const DOH_STREAMS = 10;
const MONITOR_CONNECTIONS = 2;
const MAIL_CONNECTIONS = 4;
const TYPE_MX = 15;
/** Until routes are known and connections stand. */
const SETTLE_MS = 2_000;
/** Before each measurement, for compilation. */
const WARM_UP_SECONDS = 1;

type Row = {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicros: number;
  readonly failed: number;
};

const values = benchOptions({
  seconds: { type: 'string', default: '5' },
  rounds: { type: 'string', default: '3' },
  connections: { type: 'string', default: '20' },
  octets: { type: 'string', default: '10240' },
  dns: { type: 'string', default: '2000' },
  mail: { type: 'string', default: '200' },
  save: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
});
const [seconds, rounds, connections, octets] = [
  Number(values.seconds),
  Number(values.rounds),
  Number(values.connections),
  Number(values.octets),
];

/** So many seconds of requests. */
type Fire = (seconds: number) => Promise<HttpFigures>;

async function measured(pid: number, fire: Fire): Promise<Row> {
  await fire(WARM_UP_SECONDS);
  const before = cpuSeconds([pid]);
  const figures = await fire(seconds);
  return rowOf(figures, cpuSeconds([pid]) - before);
}

/** The same while mail and questions go on, whose part is taken off. */
async function measuredBeside(postilion: Postilion, fire: Fire): Promise<Row> {
  const { pid } = postilion.process();
  const usage = async () => {
    const metrics = await postilion.mtaMetrics();
    const received = metrics.sum('postilion_mta_messages_total', { outcome: 'received' });
    return { received, cpu: cpuSeconds([pid]) };
  };
  await fire(WARM_UP_SECONDS);
  const start = await usage();
  await sleep(seconds * 1000);
  const alone = await usage();
  const figures = await fire(seconds);
  const end = await usage();
  const share = (end.received - alone.received) / (alone.received - start.received);
  return rowOf(figures, end.cpu - alone.cpu - (alone.cpu - start.cpu) * share);
}

const rowOf = (
  { completed, failed, perSecond, p50Ms, p99Ms }: HttpFigures,
  spentSeconds: number,
): Row => ({ perSecond, p50Ms, p99Ms, cpuMicros: (spentSeconds * 1e6) / completed, failed });

/** Each request in turn, round after round. */
async function inTurn(
  requests: ReadonlyMap<string, HttpRequest>,
  measure: (request: HttpRequest) => Promise<Row>,
): Promise<Map<string, Row>> {
  const results = await interleave([...requests.keys()], rounds, async (name) => {
    const row = await measure(requests.get(name)!);
    process.stderr.write(`${name}: ${Math.round(row.perSecond)}/s\n`);
    return row;
  });
  return new Map([...results].map(([name, { medians }]) => [name, medians]));
}

const world = (cleanup: Cleanup) =>
  surround(
    { domains: DOMAINS, messages: 0, octets, recipients: 1, ownHosts: false, sessions: 0 },
    true,
    cleanup,
  );

async function injection(cleanup: Cleanup): Promise<Map<string, Row>> {
  const { world: around } = await world(cleanup);
  const postilion = cleanup.stop(
    await startPostilion({
      program: 'mta',
      upstream: { address: around.nameserver, port: DNS_PORT },
      mta: { delivery: { port: around.remotePort, suspended: true } },
    }),
  );
  const { pid } = postilion.process();
  return inTurn(injectionRequests(postilion.mtaHttp, octets), (request) =>
    measured(pid, (duration) => runHttp({ ...request, connections, seconds: duration })),
  );
}

async function doh(cleanup: Cleanup): Promise<Map<string, Row>> {
  const { world: around } = await world(cleanup);
  const folder = await scratchFolder('doh');
  cleanup.add(() => folder.remove());
  const [certificate, key] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')];
  const identity = selfSigned(['localhost']);
  await writeFile(certificate, identity.cert);
  await writeFile(key, identity.key);
  const port = await freePort();
  const postilion = cleanup.stop(
    await startPostilion({
      program: 'resolver',
      upstream: { address: around.nameserver, port: DNS_PORT },
      resolver: { listen_https: [`127.0.0.1:${port}`], tls_certificate: certificate, tls_key: key },
    }),
  );
  const urls = Array.from({ length: DOMAINS }, (_, index) => {
    const name = textToName(domainName(index)) as Uint8Array;
    const query = writeQuery({ id: 0, name, type: TYPE_MX });
    return `https://127.0.0.1:${port}/dns-query?dns=${Buffer.from(query).toString('base64url')}`;
  });
  const { pid } = postilion.process();
  return inTurn(new Map([['DoH, HTTP/2, cached', { url: urls[0]! }]]), () =>
    measured(pid, (duration) =>
      runH2load({ urls, connections, streams: DOH_STREAMS, seconds: duration }),
    ),
  );
}

async function underLoad(cleanup: Cleanup): Promise<Map<string, Row>> {
  const { world: around } = await world(cleanup);
  const postilion = cleanup.stop(
    await startPostilion({
      program: 'up',
      upstream: { address: around.nameserver, port: DNS_PORT },
      mta: { delivery: { port: around.remotePort } },
    }),
  );
  const { resolverHttp, mtaHttp, dns } = postilion;
  const load = steadyLoad(dns, injectionRequests(mtaHttp, octets).get('own API, JSON')!);
  cleanup.add(() => load.stop());
  await sleep(SETTLE_MS);
  const paths = {
    resolver: [resolverHttp, '/metrics', '/healthz', '/v1/status', '/v1/top', '/v1/cache'],
    mta: [mtaHttp, '/metrics', '/healthz', '/v1/status', '/v1/queue', '/v1/sites', '/'],
  } as const;
  const requests = new Map<string, HttpRequest>();
  for (const [program, [base, ...targets]] of Object.entries(paths)) {
    for (const target of targets) requests.set(`${program} ${target}`, { url: base + target });
  }
  return inTurn(requests, (request) =>
    measuredBeside(postilion, (duration) =>
      runHttp({ ...request, connections: MONITOR_CONNECTIONS, seconds: duration }),
    ),
  );
}

/** Questions and messages, so many a second, until it is stopped. */
function steadyLoad(
  server: { readonly address: string; readonly port: number },
  mail: HttpRequest,
) {
  let stopped = false;
  const asked = askAll({
    server,
    nameOf: (number) => (stopped ? null : domainName(number % DOMAINS)),
    outstandingMax: 1_000,
    perSecond: Number(values.dns),
  });
  const send = async (): Promise<void> => {
    while (!stopped) {
      await runHttp({
        ...mail,
        connections: MAIL_CONNECTIONS,
        perSecond: Number(values.mail),
        seconds,
      });
    }
  };
  const sent = send();
  return {
    async stop() {
      stopped = true;
      await Promise.all([asked, sent]);
    },
  };
}

const skipped: string[] = [];
const parts: [title: string, run: (cleanup: Cleanup) => Promise<Map<string, Row>>][] = [
  [`Injection, ${octets} octets, ${connections} connections`, injection],
  [`DNS over HTTPS, ${connections} connections of ${DOH_STREAMS} streams`, doh],
  [`Under ${values.dns} questions and ${values.mail} messages a second`, underLoad],
];
const tables: { title: string; rows: Record<string, Row> }[] = [];
for (const [title, run] of parts) {
  if (run === doh && !hasProgram('h2load')) {
    skipped.push('DNS over HTTPS: apt-get install nghttp2-client');
    continue;
  }
  const cleanup = new Cleanup();
  try {
    tables.push({ title, rows: Object.fromEntries(await run(cleanup)) });
  } finally {
    await cleanup.run();
  }
}

const whole = { bench: 'http', at: new Date().toISOString(), machine: machine(), tables, skipped };
if (values.json) process.stdout.write(`${JSON.stringify(whole, null, 2)}\n`);
else {
  for (const { title, rows } of tables) {
    const head = [title, 'requests/s', 'p50 ms', 'p99 ms', 'CPU µs', 'failed'];
    const lines = Object.entries(rows).map(([name, row]) => [
      name,
      row.perSecond,
      row.p50Ms,
      row.p99Ms,
      row.cpuMicros,
      row.failed,
    ]);
    process.stdout.write(`${tableText(head, lines)}\n`);
  }
  for (const line of skipped) process.stdout.write(`skipped ${line}\n`);
}
if (values.save) {
  const bars = tables.flatMap(({ rows }) =>
    Object.entries(rows).map(([label, row]) => ({ label, values: [Math.max(0, row.cpuMicros)] })),
  );
  const title = 'CPU of the server per HTTP request';
  await saveResults('http', whole, { '': barSvg({ title, unit: 'µs', series: ['CPU'], bars }) });
}
