/** A real Prometheus scrapes a running Postilion, takes our rules, and has data for every panel of the dashboard. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAuthority } from '../../bench/load/authority.ts';
import { inject, type Letter } from '../../bench/load/injector.ts';
import { type Postilion, startPostilion } from '../../bench/load/postilion.ts';
import { startSink } from '../../bench/load/sink.ts';
import { oneHostZones } from '../../bench/load/world.ts';
import { Cleanup } from '../support/cleanup.ts';
import { requirePeer } from '../support/peers.ts';
import { runProcess, startProcess, waitFor } from '../support/process.ts';
import { freePort, loopbackAddress, scratchFolder } from '../support/scratch.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url));
const DATA_TIMEOUT_MS = 20_000;

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}
const { panels } = JSON.parse(readFileSync(join(DEPLOY, 'grafana/postilion.json'), 'utf8')) as {
  readonly panels: readonly Panel[];
};
const QUERIES = panels.flatMap(({ title, targets }) =>
  targets.map(({ expr }): [title: string, expr: string] => [title, expr]),
);

/** As Grafana fills in its variables, for scrapes four times a second. */
const filledIn = (expr: string): string =>
  expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '5s');

requirePeer('prometheus')('Prometheus', () => {
  const cleanup = new Cleanup();
  let base = '';
  let postilion: Postilion;

  beforeAll(async () => {
    const [address, port] = [loopbackAddress(), await freePort()];
    const sink = await startSink({
      listen: [{ address, port }],
      onRecipient: (recipient) => {
        if (recipient.startsWith('nobody')) return '550 5.1.1 no such user';
        return recipient.startsWith('later') ? '451 4.7.1 later' : null;
      },
    });
    cleanup.add(() => sink.close());
    const zones = oneHostZones(['a.example', 'b.example'], address);
    const authority = cleanup.stop(await startAuthority({ zones }));
    postilion = cleanup.stop(
      await startPostilion({
        program: 'up',
        upstream: authority,
        resolver: { budget: 100 },
        mta: { message_bytes: 10_000, delivery: { port }, drain: '1s' },
      }),
    );
    base = await startPrometheus(cleanup, postilion);
    // Mail and questions go on until everything has been seen at least twice.
    const ending = new AbortController();
    const traffic = keepBusy(postilion, ending.signal);
    cleanup.add(async () => {
      ending.abort();
      await traffic;
    });
  }, 60_000);
  afterAll(() => cleanup.run());

  const ask = async (path: string): Promise<unknown> => {
    const response = await fetch(`${base}/api/v1/${path}`);
    return ((await response.json()) as { readonly data: unknown }).data;
  };
  const samples = async (expr: string): Promise<number> => {
    const data = await ask(`query?query=${encodeURIComponent(filledIn(expr))}`);
    const { result } = data as { readonly result: readonly { readonly value: [number, string] }[] };
    return result.filter(({ value }) => value[1] !== 'NaN').length;
  };

  test.each(QUERIES)('panel "%s" has data: %s', async (_title, expr) => {
    await waitFor(async () => (await samples(expr)) > 0, `data of ${expr}`, DATA_TIMEOUT_MS, 200);
  });

  test('both programs are scraped', async () => {
    const { activeTargets } = (await ask('targets')) as {
      readonly activeTargets: readonly { readonly health: string; readonly lastError: string }[];
    };
    expect(activeTargets.map(({ health, lastError }) => [health, lastError])).toEqual([
      ['up', ''],
      ['up', ''],
    ]);
  });

  test('every rule is evaluated, and nothing fires that should not', async () => {
    await waitFor(
      async () => (await rules()).every(({ health }) => health !== 'unknown'),
      'rules to be evaluated',
      DATA_TIMEOUT_MS,
      200,
    );
    const all = await rules();
    expect(all.length).toBeGreaterThan(10);
    expect(all.filter(({ health }) => health !== 'ok')).toEqual([]);
    expect(all.filter(({ state }) => state === 'firing').map(({ name }) => name)).toEqual([]);
  });

  interface Rule {
    readonly name: string;
    readonly health: string;
    readonly state: string;
  }
  async function rules(): Promise<readonly Rule[]> {
    const { groups } = (await ask('rules')) as {
      readonly groups: readonly { readonly rules: readonly Rule[] }[];
    };
    return groups.flatMap((group) => group.rules);
  }

  test('promtool has nothing to say of the exposition', async () => {
    for (const http of [postilion.resolverHttp, postilion.mtaHttp]) {
      const input = await (await fetch(`${http}/metrics`)).text();
      const done = spawnSync('promtool', ['check', 'metrics'], { encoding: 'utf8', input });
      expect([done.status, done.stdout, done.stderr]).toEqual([0, '', '']);
      // A HELP line for each, and values of their own for each set of labels.
      const names = new Set([...input.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
      const helped = new Set([...input.matchAll(/^# HELP (\S+) \S/gm)].map(([, name]) => name));
      expect(helped).toEqual(names);
    }
  });
});

/** With the configuration of deploy/, but for addresses, and four scrapes a second. */
async function startPrometheus(cleanup: Cleanup, postilion: Postilion): Promise<string> {
  const folder = await scratchFolder('prometheus');
  cleanup.add(() => folder.remove());
  const host = (url: string): string => new URL(url).host;
  const config = readFileSync(join(DEPLOY, 'prometheus/prometheus.yml'), 'utf8')
    .replaceAll('15s', '250ms')
    .replace('127.0.0.1:8053', host(postilion.resolverHttp))
    .replace('127.0.0.1:8025', host(postilion.mtaHttp));
  writeFileSync(join(folder.path, 'prometheus.yml'), config);
  copyFileSync(join(DEPLOY, 'prometheus/rules.yml'), join(folder.path, 'rules.yml'));
  const listen = `127.0.0.1:${await freePort()}`;
  const server = cleanup.stop(
    startProcess('prometheus', [
      `--config.file=${join(folder.path, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder.path, 'data')}`,
      `--web.listen-address=${listen}`,
    ]),
  );
  await waitFor(
    async () => (await fetch(`http://${listen}/-/ready`).catch(() => null))?.ok === true,
    () => `Prometheus to be ready; it wrote:\n${server.output()}`,
  );
  return `http://${listen}`;
}

const content = (octets: number): readonly Uint8Array[] => [
  Buffer.from(`Subject: hello\r\n\r\n${`${'x'.repeat(70)}\r\n`.repeat(octets / 72)}`),
];

async function keepBusy(postilion: Postilion, signal: AbortSignal): Promise<void> {
  for (let round = 0; !signal.aborted; round += 1) {
    const letters: readonly Letter[] = [
      ['someone', 'a.example', 100],
      ['someone', 'b.example', 100],
      ['nobody', 'a.example', 100],
      ['later', 'b.example', 100],
      ['someone', `no-such-${round}.example`, 100],
      // Larger than the mta takes.
      ['someone', 'a.example', 20_000],
    ].map(([user, domain, octets]) => ({
      id: `${round}-${user}-${domain}-${octets}`,
      reversePath: 'news@client.example.net',
      recipients: [`${user}@${domain}`],
      content: content(Number(octets)),
    }));
    await inject({
      ...postilion.smtp,
      sessions: 2,
      letters: letters.values(),
      attemptsMax: 1,
      signal,
    }).catch(() => undefined);
    const { address, port } = postilion.dns;
    const question = [
      `@${address}`,
      '-p',
      String(port),
      'a.example',
      'MX',
      `n${round}.example`,
      'A',
    ];
    await runProcess('dig', [...question, '+tries=1', '+time=2']).catch(() => undefined);
  }
}
