/** TLS reports with everything real: hosts whose TLS holds or does not, policies, DNS, DKIM, HTTPS, a restart. */
import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { dkimVerify } from 'mailauth/lib/dkim/verify.js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type AuthorityRecord, startAuthority } from '../../../../bench/load/authority.ts';
import { selfSigned } from '../../../../bench/load/certificate.ts';
import { inject } from '../../../../bench/load/injector.ts';
import { type Sink, type SinkOptions, startSink } from '../../../../bench/load/sink.ts';
import { mtaSchema } from '../../../../mta/config.ts';
import { startMta } from '../../../../mta/main.ts';
import { silentLog } from '../../../../runtime/log.ts';
import { cryptoRandom } from '../../../../runtime/random.ts';
import { type Authority, createAuthority } from '../../../support/authorities.ts';
import { Cleanup } from '../../../support/cleanup.ts';
import { LeapClock } from '../../../support/leap-clock.ts';
import { waitFor } from '../../../support/process.ts';
import { freePort, loopbackAddress, scratchFolder } from '../../../support/scratch.ts';

const HOUR_MS = 3_600_000;
const DAY = { first: '2026-11-24T00:00:00Z', last: '2026-11-24T23:59:59Z' };
let cleanup: Cleanup;
let authorities: Authority;
let port: number;
const addresses = new Map<string, string>();

beforeEach(async () => {
  cleanup = new Cleanup();
  authorities = await createAuthority();
  cleanup.add(() => authorities.remove());
  port = await freePort();
  addresses.clear();
});
afterEach(() => cleanup.run());

async function sink(host: string, options: SinkOptions): Promise<Sink> {
  const address = loopbackAddress();
  addresses.set(host, address);
  const started = await startSink({ ...options, listen: [{ address, port }] });
  cleanup.add(() => started.close());
  return started;
}

async function https(names: readonly string[], answer: RequestListener): Promise<number> {
  const server = createServer(authorities.issue(...names), answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup.add(async () => server.close());
  for (const name of names) addresses.set(name, '127.0.0.1');
  return (server.address() as AddressInfo).port;
}

const txt = (name: string, text: string): AuthorityRecord => ({
  name,
  ttlSeconds: 300,
  type: 'TXT',
  strings: [text],
});

/** The zone of a domain with one MX host, and where its reports go. */
const zone = (domain: string, rua: string, ...others: AuthorityRecord[]): AuthorityRecord[] => [
  { name: domain, ttlSeconds: 300, type: 'MX', preference: 1, exchange: `mx.${domain}` },
  ...(rua === '' ? [] : [txt(`_smtp._tls.${domain}`, `v=TLSRPTv1; rua=${rua}`)]),
  ...others,
];

const pair = generateKeyPairSync('ed25519');
const KEY = `v=DKIM1; k=ed25519; p=${pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64')}`;

interface Report {
  readonly 'date-range': object;
  readonly policies: readonly { readonly policy: Record<string, unknown> }[];
}

test('every kind of session is in the report of its day, mailed or posted, once', async () => {
  const good = await sink('mx.good.example', { certificate: authorities.issue('mx.good.example') });
  const tested = await sink('mx.tested.example', {
    certificate: selfSigned(['mx.tested.example']),
  });
  await sink('mx.strict.example', {
    certificate: selfSigned(['mx.strict.example']),
  });
  const clear = await sink('mx.clear.example', { startTls: false });
  const heads: Buffer[] = [];
  // The host for reports fails its own policy, and gets them all the same.
  await sink('mx.reports.example', {
    certificate: selfSigned(['mx.other.example']),
    header: 'subject',
    onMessage({ head }) {
      heads.push(head);
      return null;
    },
  });
  const posted: { type: unknown; body: Buffer }[] = [];
  const postPort = await https(['collect.example'], async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    posted.push({ type: request.headers['content-type'], body: Buffer.concat(chunks) });
    response.writeHead(201).end();
  });
  const policies: Record<string, string> = {
    'mta-sts.good.example': 'enforce\nmx: *.good.example',
    'mta-sts.tested.example': 'testing\nmx: mx.tested.example',
    'mta-sts.strict.example': 'enforce\nmx: mx.strict.example',
    'mta-sts.reports.example': 'enforce\nmx: mx.reports.example',
  };
  const stsPort = await https(Object.keys(policies), (request, response) => {
    const mode = policies[String(request.headers.host).split(':')[0]!];
    const text = `version: STSv1\nmode: ${mode}\nmax_age: 86400\n`;
    response.writeHead(200, { 'content-type': 'text/plain' }).end(text);
  });
  const sts = (domain: string) => txt(`_mta-sts.${domain}`, 'v=STSv1; id=1;');
  const mailto = 'mailto:tls@reports.example';
  const zones = new Map<string, AuthorityRecord[]>([
    ['good.example', zone('good.example', mailto, sts('good.example'))],
    ['tested.example', zone('tested.example', mailto, sts('tested.example'))],
    [
      'strict.example',
      zone('strict.example', `https://collect.example:${postPort}/r`, sts('strict.example')),
    ],
    ['clear.example', zone('clear.example', mailto)],
    ['reports.example', zone('reports.example', mailto, sts('reports.example'))],
  ]);
  for (const [name, address] of addresses)
    zones.set(name, [{ name, ttlSeconds: 300, type: 'A', address }]);
  const dns = cleanup.stop(await startAuthority({ zones }));
  const folder = await scratchFolder('tls-reports');
  cleanup.add(() => folder.remove());
  await writeFile(join(folder.path, 'ca.pem'), authorities.cert);
  await writeFile(
    join(folder.path, 'key.pem'),
    pair.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  );
  const config = mtaSchema.parse({
    smtp: ['127.0.0.1:0'],
    spool: join(folder.path, 'spool'),
    spool_reserve: 0,
    dns: `${dns.address}:${dns.port}`,
    hostname: 'mta.sender.example',
    delivery: { port, mta_sts: true, mta_sts_port: stsPort, tls_ca: join(folder.path, 'ca.pem') },
    dkim: [{ domain: 'sender.example', selector: 's1', key: join(folder.path, 'key.pem') }],
    tlsrpt: { enabled: true, organization: 'Sender', from: 'tls@sender.example' },
  });
  const clock = new LeapClock(Date.parse('2026-11-24T22:00:00Z'));
  const start = async () =>
    cleanup.stop(await startMta(config, { clock, random: cryptoRandom(), log: silentLog }));
  let mta = await start();
  const send = async (...domains: string[]): Promise<void> => {
    const letters = domains.map((domain, index) => ({
      id: String(index),
      reversePath: 'a@sender.example',
      recipients: [`b@${domain}`],
      content: [Buffer.from('From: a@sender.example\r\nSubject: x\r\n\r\nx\r\n')],
    }));
    await inject({ ...mta.endpoints[0]!, sessions: 1, letters: letters.values() });
  };
  await send('good.example', 'tested.example', 'strict.example', 'clear.example');
  await waitFor(() => [good, tested, clear].every(({ counts }) => counts.messages === 1), 'mail');
  await waitFor(
    async () => (await mta.status()).sites.some(({ hold }) => hold !== null),
    'a refusal',
  );
  await mta.stop();
  mta = await start();
  await send('good.example');
  await waitFor(() => good.counts.messages === 2, 'more mail');
  clock.leap(8 * HOUR_MS);
  await waitFor(() => heads.length === 3 && posted.length === 1, 'the reports');

  const byDomain = new Map<string, Report>();
  const keep = (gzip: Buffer): void => {
    const report = JSON.parse(gunzipSync(gzip).toString()) as Report;
    byDomain.set(String(report.policies[0]!.policy['policy-domain']), report);
  };
  for (const head of heads) {
    const text = head.toString('latin1');
    const base64 = /tlsrpt\+gzip[\s\S]*?\r\n\r\n([A-Za-z0-9+/=\r\n]+)\r\n--/.exec(text)![1]!;
    keep(Buffer.from(base64, 'base64'));
    const { results } = await dkimVerify(head, { resolver: async () => [[KEY]] });
    expect(results.map(({ status, signingDomain }) => [status.result, signingDomain])).toEqual([
      ['pass', 'sender.example'],
    ]);
  }
  expect(posted[0]!.type).toBe('application/tlsrpt+gzip');
  keep(posted[0]!.body);
  expect([...byDomain.keys()].sort()).toEqual([
    'clear.example',
    'good.example',
    'strict.example',
    'tested.example',
  ]);
  expect(byDomain.get('good.example')).toMatchObject({
    'organization-name': 'Sender',
    'contact-info': 'tls@sender.example',
    'date-range': { 'start-datetime': DAY.first, 'end-datetime': DAY.last },
  });
  const policyOf = (domain: string) => byDomain.get(domain)!.policies;
  const sessions = (successes: number, failures: number) => ({
    'total-successful-session-count': successes,
    'total-failure-session-count': failures,
  });
  const detail = (host: string, more: object) => ({
    'sending-mta-ip': expect.stringMatching(/^127\./),
    'receiving-mx-hostname': host,
    'receiving-ip': addresses.get(host),
    ...more,
  });
  expect(policyOf('good.example')).toEqual([
    {
      policy: {
        'policy-type': 'sts',
        'policy-domain': 'good.example',
        'policy-string': [
          'version: STSv1',
          'mode: enforce',
          'mx: *.good.example',
          'max_age: 86400',
        ],
        'mx-host': ['*.good.example'],
      },
      summary: sessions(2, 0),
    },
  ]);
  const untrusted = {
    'result-type': 'certificate-not-trusted',
    'failure-reason-code': 'DEPTH_ZERO_SELF_SIGNED_CERT',
  };
  expect(policyOf('tested.example')).toMatchObject([
    {
      policy: { 'policy-type': 'sts', 'mx-host': ['mx.tested.example'] },
      summary: sessions(0, 1),
      'failure-details': [detail('mx.tested.example', { ...untrusted, 'failed-session-count': 1 })],
    },
  ]);
  expect(policyOf('strict.example')).toMatchObject([
    {
      policy: { 'policy-type': 'sts' },
      'failure-details': [detail('mx.strict.example', untrusted)],
    },
  ]);
  expect(policyOf('clear.example')).toEqual([
    {
      policy: { 'policy-type': 'no-policy-found', 'policy-domain': 'clear.example' },
      summary: sessions(0, 1),
      'failure-details': [
        detail('mx.clear.example', {
          'result-type': 'starttls-not-supported',
          'failed-session-count': 1,
        }),
      ],
    },
  ]);
  // The host that still fails is reported again the next day; sessions that carried reports never are.
  const refusedAnew = async () =>
    (await mta.status()).sites.some(({ hold }) => (hold?.untilMs ?? 0) > clock.wallMs());
  await waitFor(refusedAnew, 'another attempt');
  clock.leap(26 * HOUR_MS);
  await waitFor(() => posted.length === 2, 'the next report');
  await waitFor(async () => (await mta.status()).messages === 1, 'only what is held');
  expect(heads.length).toBe(3);
}, 90_000);
