/** MTA-STS with everything real: DNS, an HTTPS policy host, and MX hosts with certificates that hold or do not. */
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startAuthority } from '../../../bench/load/authority.ts';
import { selfSigned } from '../../../bench/load/certificate.ts';
import { inject } from '../../../bench/load/injector.ts';
import { startSink } from '../../../bench/load/sink.ts';
import { mtaSchema } from '../../../mta/config.ts';
import { startMta } from '../../../mta/main.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLog } from '../../../runtime/log.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { type Authority, createAuthority } from '../../support/authorities.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { waitFor } from '../../support/process.ts';
import { freePort, loopbackAddress, scratchFolder } from '../../support/scratch.ts';

const DOMAIN = 'guarded.example';
let cleanup: Cleanup;
let authorities: Authority;
beforeEach(async () => {
  cleanup = new Cleanup();
  authorities = await createAuthority();
  cleanup.add(() => authorities.remove());
});
afterEach(() => cleanup.run());

async function policyHost(text: string): Promise<number> {
  const server = createServer(authorities.issue(`mta-sts.${DOMAIN}`), (_, response) =>
    response.writeHead(200, { 'content-type': 'text/plain' }).end(text),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup.add(async () => server.close());
  return (server.address() as AddressInfo).port;
}

/** One message to DOMAIN, whose MX is mx.guarded.example. */
async function world(policy: string, names: readonly string[] | 'self-signed') {
  const host = `mx.${DOMAIN}`;
  const address = loopbackAddress();
  const port = await freePort(address);
  const certificate = names === 'self-signed' ? selfSigned([host]) : authorities.issue(...names);
  const sink = await startSink({ listen: [{ address, port }], certificate });
  cleanup.add(() => sink.close());
  const ttlSeconds = 300;
  const a = (name: string, to: string) => ({ name, ttlSeconds, type: 'A' as const, address: to });
  const records = [
    { name: DOMAIN, ttlSeconds, type: 'MX' as const, preference: 10, exchange: host },
    { name: `_mta-sts.${DOMAIN}`, ttlSeconds, type: 'TXT' as const, strings: ['v=STSv1; id=1;'] },
    a(host, address),
    a(`mta-sts.${DOMAIN}`, '127.0.0.1'),
  ];
  const dns = cleanup.stop(await startAuthority({ zones: new Map([[DOMAIN, records]]) }));
  const folder = await scratchFolder('sts-world');
  cleanup.add(() => folder.remove());
  await writeFile(join(folder.path, 'ca.pem'), authorities.cert);
  const config = mtaSchema.parse({
    smtp: ['127.0.0.1:0'],
    spool: join(folder.path, 'spool'),
    spool_reserve: 0,
    dns: `${dns.address}:${dns.port}`,
    hostname: 'mta.example',
    delivery: {
      port,
      mta_sts: true,
      mta_sts_port: await policyHost(policy),
      tls_ca: join(folder.path, 'ca.pem'),
    },
  });
  const deps = { clock: systemClock(), random: cryptoRandom(), log: silentLog };
  const mta = cleanup.stop(await startMta(config, deps));
  const content = [Buffer.from('Subject: x\r\n\r\nx\r\n')];
  const letter = { id: '1', reversePath: 'a@b.example', recipients: [`c@${DOMAIN}`], content };
  await inject({ ...mta.endpoints[0]!, sessions: 1, letters: [letter].values() });
  return { mta, sink, kept: join(config.spool, 'mta-sts.json') };
}

const policy = (mode: string, mx = `mx.${DOMAIN}`): string =>
  `version: STSv1\nmode: ${mode}\nmx: ${mx}\nmax_age: 86400\n`;

test('a host that is named and proves its name gets the mail; the policy is on disk', async () => {
  const { mta, sink, kept } = await world(policy('enforce', `*.${DOMAIN}`), [`mx.${DOMAIN}`]);
  await waitFor(() => sink.counts.messages === 1, 'the message');
  expect((await mta.status()).sites[0]?.id).toContain(':verify::');
  await mta.stop();
  expect(JSON.parse(await readFile(kept, 'utf8')).policies).toMatchObject([{ domain: DOMAIN }]);
});

test('testing asks for nothing', async () => {
  const { sink } = await world(policy('testing', 'other.example'), 'self-signed');
  await waitFor(() => sink.counts.messages === 1, 'the message');
});

test.each([
  {
    what: 'an unknown authority',
    text: policy('enforce'),
    names: 'self-signed' as const,
    why: /TLS failed \(untrusted\): certificate of mx/,
  },
  {
    what: 'another name',
    text: policy('enforce'),
    names: ['mx.other.example'],
    why: /ERR_TLS_CERT_ALTNAME_INVALID/,
  },
  {
    what: 'a host that is not named',
    text: policy('enforce', 'other.example'),
    names: [`mx.${DOMAIN}`],
    why: /MTA-STS policy of guarded\.example \(RFC 8461\) names none of its MX hosts/,
  },
])('$what: mail waits, and why says so', async ({ text, names, why }) => {
  const { mta, sink } = await world(text, names);
  let said = '';
  await waitFor(
    async () => {
      const [waiting] = await mta.queue({ domain: null, after: null, limit: 1 });
      said = waiting?.wait.text ?? '';
      return why.test(said);
    },
    () => `a reason, but: ${said}`,
  );
  expect(sink.counts.messages).toBe(0);
});
