import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Lookup } from '../../../mta/plan/dns-answer.ts';
import { StsPolicies } from '../../../mta/plan/sts.ts';
import { createStsClient, type StsFault, type StsFetch } from '../../../mta/plan/sts-fetch.ts';
import type { StsPolicy } from '../../../mta/plan/sts-policy.ts';
import { StsFile } from '../../../mta/plan/sts-store.ts';
import { silentLog } from '../../../runtime/log.ts';
import { type Authority, createAuthority } from '../../support/authorities.ts';
import { ManualClock } from '../../support/clock.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { answer, TableDns, trouble } from './table-dns.ts';

const DAY_MS = 86_400_000;
const ENFORCE: StsPolicy = { mode: 'enforce', mx: ['mx.example.com'], maxAgeSeconds: 604_800 };
const TXT = '_mta-sts.example.com';
const GONE: StsFault = { fault: 'fetch', text: 'gone' };
const announce = (id: string) => answer([[`v=STSv1; id=${id};`]]);

describe('policies', () => {
  let clock: ManualClock;
  let dns: TableDns;
  let folder: Folder;
  let served: StsPolicy | StsFault;
  let fetched: number;
  const fetch: StsFetch = async () => {
    fetched += 1;
    return served;
  };
  beforeEach(async () => {
    clock = new ManualClock();
    dns = new TableDns({ txt: { [TXT]: announce('1') } });
    folder = await scratchFolder('sts');
    served = ENFORCE;
    fetched = 0;
  });
  afterEach(() => folder.remove());

  const open = (): Promise<StsPolicies> => {
    const store = new StsFile(join(folder.path, 'mta-sts.json'), clock, silentLog);
    return StsPolicies.open({ dns, clock, log: silentLog, fetch, store });
  };

  test('a timetable', async () => {
    const policies = await open();
    const serve = (policy: StsPolicy | StsFault, lookup: Lookup<readonly string[]>): void => {
      served = policy;
      dns.setTxt(TXT, lookup);
    };
    const steps: [string, () => void, StsPolicy | null, number][] = [
      ['announced: fetched', () => undefined, ENFORCE, 1],
      ['known: not fetched', () => undefined, ENFORCE, 1],
      ['DNS in trouble: holds', () => serve(ENFORCE, trouble()), ENFORCE, 1],
      ['not announced: holds', () => serve(ENFORCE, answer([['v=spf1 -all']])), ENFORCE, 1],
      ['changed but not to be had: holds', () => serve(GONE, announce('2')), ENFORCE, 2],
      ['and is not asked for at once again', () => undefined, ENFORCE, 2],
      ['but after five minutes', () => clock.advance(300_000), ENFORCE, 3],
      ['until its time is up', () => clock.advance(7 * DAY_MS), null, 4],
      ['gone', () => clock.advance(300_000), null, 5],
      ['back', () => serve(ENFORCE, announce('2')), null, 5],
      ['once it may be asked again', () => clock.advance(300_000), ENFORCE, 6],
      ['withdrawn', () => serve({ ...ENFORCE, mode: 'none' }, announce('3')), null, 7],
    ];
    for (const [what, change, policy, fetches] of steps) {
      change();
      expect([what, await policies.find('example.com'), fetched]).toEqual([what, policy, fetches]);
    }
  });

  test('a policy is refreshed daily, while the old one serves', async () => {
    const policies = await open();
    await policies.find('example.com');
    served = { ...ENFORCE, mx: ['*.example.com'] };
    clock.advance(DAY_MS);
    expect(await policies.find('example.com')).toEqual(ENFORCE);
    await expect.poll(() => policies.find('example.com')).toEqual(served);
    expect(fetched).toBe(2);
  });

  test('a restart is no downgrade, even with DNS and HTTPS silenced', async () => {
    const before = await open();
    await before.find('example.com');
    await before.close();
    dns.outage = trouble();
    served = GONE;
    expect(await (await open()).find('example.com')).toEqual(ENFORCE);
  });

  test('a damaged file costs the policies, not the start; it is replaced', async () => {
    const file = join(folder.path, 'mta-sts.json');
    await writeFile(file, '{"version":1,"policies":[{');
    const policies = await open();
    expect(await policies.find('example.com')).toEqual(ENFORCE);
    await policies.close();
    expect(JSON.parse(await readFile(file, 'utf8')).policies[0]).toMatchObject({
      domain: 'example.com',
      id: '1',
      mx: ['mx.example.com'],
    });
  });
});

describe('fetching, from a real HTTPS host', () => {
  let authority: Authority;
  let server: Server;
  let port: number;
  let reply: { status: number; headers: Record<string, string>; body: string };
  const GOOD = 'version: STSv1\nmode: testing\nmx: mx.example.com\nmax_age: 86400\n';
  beforeAll(async () => {
    authority = await createAuthority();
    server = createServer(authority.issue('mta-sts.example.com'), (request, response) => {
      if (request.url === '/.well-known/mta-sts.txt') {
        response.writeHead(reply.status, reply.headers).end(reply.body);
      } else response.writeHead(200, { 'content-type': 'text/plain' }).end(GOOD);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(async () => {
    server.close();
    await authority.remove();
  });
  const plain = { 'content-type': 'text/plain; charset=utf-8' };

  async function fetchFrom(domain: string, extraCa: readonly string[]): Promise<unknown> {
    const dns = new TableDns({
      a: { 'mta-sts.example.com': '127.0.0.1', 'mta-sts.example.net': '127.0.0.1' },
    });
    const client = createStsClient({ dns, port, extraCa });
    try {
      return await client.fetch(domain);
    } finally {
      await client.close();
    }
  }

  test('a policy', async () => {
    reply = { status: 200, headers: plain, body: GOOD };
    expect(await fetchFrom('example.com', [authority.cert])).toEqual({
      mode: 'testing',
      mx: ['mx.example.com'],
      maxAgeSeconds: 86_400,
    });
  });

  test.each([
    {
      what: 'a redirect',
      status: 301,
      headers: { ...plain, location: '/else' },
      body: '',
      fault: 'fetch',
      says: /^HTTP status 301$/,
    },
    {
      what: 'no such file',
      status: 404,
      headers: plain,
      body: GOOD,
      fault: 'fetch',
      says: /^HTTP status 404$/,
    },
    {
      what: 'HTML',
      status: 200,
      headers: { 'content-type': 'text/html' },
      body: GOOD,
      fault: 'invalid',
      says: /media type/,
    },
    {
      what: 'too much',
      status: 200,
      headers: plain,
      body: GOOD + ' '.repeat(70_000),
      fault: 'invalid',
      says: /larger than 65536/,
    },
    {
      what: 'nonsense',
      status: 200,
      headers: plain,
      body: 'hello',
      fault: 'invalid',
      says: /no "key: value"/,
    },
  ])('$what is no policy', async ({ status, headers, body, fault, says }) => {
    reply = { status, headers, body };
    const fetched = await fetchFrom('example.com', [authority.cert]);
    expect(fetched).toEqual({ fault, text: expect.stringMatching(says) });
  });

  test('nor is what comes from a host without the right certificate, or without an address', async () => {
    reply = { status: 200, headers: plain, body: GOOD };
    expect(await fetchFrom('example.com', [])).toEqual({
      fault: 'webpki',
      text: expect.stringMatching(/UNABLE_TO|SELF_SIGNED|unable to/),
    });
    expect(await fetchFrom('example.net', [authority.cert])).toEqual({
      fault: 'webpki',
      text: expect.stringMatching(/ERR_TLS_CERT_ALTNAME_INVALID/),
    });
    expect(await fetchFrom('example.org', [authority.cert])).toEqual({
      fault: 'fetch',
      text: expect.stringMatching(/ENOTFOUND/),
    });
  });
});
