/** Upgrades of a running \`up\` from what is on the disk, that of broken versions among them. */
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { selfSigned } from '../../bench/load/certificate.ts';
import { inject } from '../../bench/load/injector.ts';
import { type Postilion, startPostilion } from '../../bench/load/postilion.ts';
import { runUpgradesUnderLoad } from '../../bench/scenarios/upgrade-under-load.ts';
import { TYPE } from '../../resolver/wire/constants.ts';
import { frame } from '../../resolver/wire/frame.ts';
import { formatEndpoint } from '../../runtime/settings.ts';
import { Cleanup } from '../support/cleanup.ts';
import { answers, FakeUpstream } from '../support/fake-upstream.ts';
import { requirePeer } from '../support/peers.ts';
import { accepts, runProcess } from '../support/process.ts';
import { askUdp, brief, exchangeTcp, question } from '../support/resolver.ts';
import { freePort, scratchFolder } from '../support/scratch.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAM = ['sidecar', 'resolver', 'mta', 'runtime', 'package.json'];

let cleanup: Cleanup;
beforeEach(() => {
  cleanup = new Cleanup();
});
afterEach(() => cleanup.run());

requirePeer('nsd', 'dnsperf')('under load', () => {
  test('two upgrades lose no query, no connection and no message', async () => {
    const result = await runUpgradesUnderLoad({
      upgrades: 2,
      perSecond: 200,
      messages: 20,
      pauseMs: 500,
      controlSeconds: 0,
    });
    console.log(JSON.stringify(result));
    expect(result.rows.map(({ state }) => state)).toEqual(['done', 'done']);
    expect(result.queriesSent).toBeGreaterThan(500);
    expect(result.acknowledged).toBeGreaterThan(50);
    expect([result.queriesLost, result.refusals, result.failed]).toEqual([0, [], 0]);
    expect([result.messagesLost, result.messagesTwice]).toEqual([0, 0]);
  }, 180_000);
});

test('every kind of socket goes along', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers()));
  const folder = await scratchFolder('upgrade');
  cleanup.add(() => folder.remove());
  const identity = selfSigned(['dns.example']);
  const files = { tls_certificate: join(folder.path, 'cert'), tls_key: join(folder.path, 'key') };
  writeFileSync(files.tls_certificate, identity.cert);
  writeFileSync(files.tls_key, identity.key);
  const free = async () => ({ address: '127.0.0.1', port: await freePort() });
  const [tls, https, socketmap] = [await free(), await free(), await free()];
  const postilion = cleanup.stop(
    await startPostilion({
      program: 'up',
      upstream: upstream.endpoint,
      resolver: {
        ...files,
        listen_tls: [formatEndpoint(tls)],
        listen_https: [formatEndpoint(https)],
      },
      mta: { socketmap: formatEndpoint(socketmap) },
      upgrade: { probation: '200ms' },
    }),
  );
  for (const number of [1, 2]) {
    expect(await postilion.upgrade()).toMatchObject({ number, state: 'done' });
    expect(brief(await askUdp(postilion.dns, question('a.example', TYPE.A)))).toBe('NOERROR 1');
    const [answer] = await exchangeTcp(postilion.dns, frame(question('a.example', TYPE.A)));
    expect(answer![3]! & 0x0f).toBe(0);
    for (const { address, port } of [tls, https]) {
      const socket = connect({ host: address, port, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      socket.destroy();
    }
    expect(await accepts(socketmap.port)).toBe(true);
  }
}, 120_000);

/** A tree of its own that "current" leads to, and which can be changed under the running programs. */
async function release(): Promise<{ readonly cli: string; path(file: string): string }> {
  const folder = await scratchFolder('release');
  cleanup.add(() => folder.remove());
  const tree = join(folder.path, 'next');
  mkdirSync(tree);
  for (const part of PROGRAM) cpSync(join(ROOT, part), join(tree, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  const current = join(folder.path, 'current');
  symlinkSync(ROOT, current);
  return { cli: join(current, 'sidecar/cli.ts'), path: (file) => join(tree, file) };
}

/** DNS is answered and mail is taken. */
async function works(postilion: Postilion, name: string): Promise<void> {
  expect(brief(await askUdp(postilion.dns, question(`${name}.example`, TYPE.A)))).toBe('NOERROR 1');
  const { acknowledged, refusals } = await inject({
    ...postilion.smtp,
    sessions: 1,
    letters: [
      {
        id: name,
        reversePath: 'sender@client.example.net',
        recipients: [`${name}@held.example`],
        content: [Buffer.from('Subject: s\r\n\r\n')],
      },
    ].values(),
  });
  expect([acknowledged, refusals]).toEqual([1, []]);
}

test('broken versions are turned away or rolled back, a sound one takes over', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers()));
  const { cli, path } = await release();
  const current = join(path('../current'));
  const postilion = cleanup.stop(
    await startPostilion({
      program: 'up',
      upstream: upstream.endpoint,
      cli,
      mta: { delivery: { suspended: true } },
      upgrade: { probation: '2s', ready_timeout: '60s' },
    }),
  );
  const relink = (target: string) => runProcess('ln', ['-sfn', target, current]);
  const sound = new Map<string, string>();
  /** Changes a file of the next version, for one upgrade. */
  const plant = (file: string, from: string, to: string): void => {
    const text = readFileSync(path(file), 'utf8');
    expect(text).toContain(from);
    sound.set(file, text);
    writeFileSync(path(file), text.replace(from, to));
  };
  const mend = (): void => {
    for (const [file, text] of sound) writeFileSync(path(file), text);
    sound.clear();
  };
  plant('package.json', '"version": "', '"version": "9.');
  const version = /"version": "([^"]+)"/.exec(readFileSync(path('package.json'), 'utf8'))![1]!;
  sound.clear();
  await relink(path('.'));
  await works(postilion, 'before');

  const sick = "await (await import('node:timers/promises')).setTimeout(300); process.exit(3);";
  for (const { file, from, to, state, reason } of [
    {
      file: 'sidecar/child.ts',
      from: 'let stopping',
      to: 'let let stopping',
      state: 'refused',
      reason: /^the new version: ended with exit code 1 before it was ready$/,
    },
    {
      file: 'mta/main.ts',
      from: 'const inspector = new Inspector(',
      to: "throw new Error('planted'); const inspector = new Inspector(",
      state: 'rolled-back',
      reason: /^mta: Error: planted\n/,
    },
    {
      file: 'mta/main.ts',
      from: 'const inspector = new Inspector(',
      to: `void (async () => { ${sick} })(); const inspector = new Inspector(`,
      state: 'rolled-back',
      reason: /^mta: ended with exit code 3 during its probation$/,
    },
    {
      file: 'resolver/main.ts',
      from: 'ready: () =>',
      to: "ready: () => 'planted' ??",
      state: 'rolled-back',
      reason: /^resolver: not ready: planted$/,
    },
  ]) {
    plant(file, from, to);
    const outcome = await postilion.upgrade();
    mend();
    expect(outcome).toMatchObject({ state });
    expect(outcome.reason).toMatch(reason);
    await works(postilion, `after-${outcome.number}`);
  }

  const config = readFileSync(postilion.configFile, 'utf8');
  writeFileSync(postilion.configFile, `${config}\n[mta.dleivery]\n`);
  const admin = ['--admin', postilion.resolverHttp.slice('http://'.length)];
  const upgrade = () =>
    runProcess(process.execPath, [cli, 'upgrade', ...admin], { timeoutMs: 120_000 });
  const refused = await upgrade();
  expect(refused.code).toBe(1);
  expect(refused.output).toMatch(
    /^not upgraded, nothing was changed: the new version: .*dleivery/m,
  );
  writeFileSync(postilion.configFile, config);

  const done = await upgrade();
  expect([done.code, done.output]).toEqual([
    0,
    expect.stringMatching(`upgraded, .* → ${version.replaceAll('.', '\\.')}: the old mta finished`),
  ]);
  await works(postilion, 'afterwards');
  const nobody = await runProcess(process.execPath, [cli, 'upgrade', '--admin', '127.0.0.1:9']);
  expect(nobody.code).toBe(3);
  const status = (await (await fetch(`${postilion.mtaHttp}/v1/status`)).json()) as {
    readonly version: string;
    readonly messages: number;
  };
  expect(status).toMatchObject({ version, messages: 6 });
}, 300_000);
