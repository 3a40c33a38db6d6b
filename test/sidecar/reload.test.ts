/** SIGHUP and POST /v1/reload of running processes: taken whole, or not at all, and said so in the log. */
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Postilion, startPostilion } from '../../bench/load/postilion.ts';
import { TYPE } from '../../resolver/wire/constants.ts';
import { Cleanup } from '../support/cleanup.ts';
import { answers, FakeUpstream } from '../support/fake-upstream.ts';
import { waitFor } from '../support/process.ts';
import { askUdp, brief, question } from '../support/resolver.ts';

let cleanup: Cleanup;
let upstream: FakeUpstream;
beforeEach(async () => {
  cleanup = new Cleanup();
  upstream = cleanup.stop(await FakeUpstream.start(answers()));
});
afterEach(() => cleanup.run());

const start = async (program: 'up' | 'resolver'): Promise<Postilion> =>
  cleanup.stop(
    await startPostilion({
      program,
      upstream: upstream.endpoint,
      mta: { delivery: { suspended: true } },
    }),
  );

/** Adds lines to tables of the configuration. */
function write(postilion: Postilion, lines: Readonly<Record<string, string>>): void {
  let text = readFileSync(postilion.configFile, 'utf8');
  for (const [table, line] of Object.entries(lines)) {
    expect(text).toContain(`[${table}]\n`);
    text = text.replace(`[${table}]\n`, `[${table}]\n${line}\n`);
  }
  writeFileSync(postilion.configFile, text);
}

interface Line {
  readonly program: string;
  readonly msg: string;
  readonly changed?: readonly string[];
  readonly difference?: readonly string[];
  readonly reason?: string;
}

const RELOADED = /^configuration (?:not )?reloaded/;

/** @returns what each program has said of reloads, once there are so many lines */
async function said(postilion: Postilion, count: number): Promise<readonly Line[]> {
  const lines = (): Line[] =>
    postilion
      .process()
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Line)
      .filter(({ msg }) => RELOADED.test(msg));
  await waitFor(
    () => lines().length >= count,
    () => postilion.process().output(),
  );
  return lines().sort((one, other) => (one.program < other.program ? -1 : 1));
}

const ask = async (postilion: Postilion, name: string): Promise<string> =>
  brief(await askUdp(postilion.dns, question(name, TYPE.A)));

/** @returns the last reply */
function converse({ smtp }: Postilion, commands: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: smtp.address, port: smtp.port });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk) => (text += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(text.trim().split('\r\n').at(-2)!));
    socket.write([...commands, 'QUIT', ''].join('\r\n'));
  });
}

const TWO = [
  'EHLO c.example',
  'MAIL FROM:<a@b.example>',
  'RCPT TO:<b@b.example>',
  'RCPT TO:<c@b.example>',
];
const LOCAL = 'local = [{ name = "new.example", type = "A", data = "192.0.2.9" }]';

test('both programs of `up` take over what has changed, and tell the difference', async () => {
  const postilion = await start('up');
  expect(await converse(postilion, TWO)).toMatch(/^250 /);
  write(postilion, {
    resolver: LOCAL,
    mta: 'recipients = 1\nusers = { ann = "a-password-of-hers" }',
  });
  postilion.process().signal('SIGHUP');
  const [mta, resolver] = await said(postilion, 2);
  expect(mta).toMatchObject({
    program: 'mta',
    msg: 'configuration reloaded',
    changed: ['mta.users.ann', 'mta.recipients'],
  });
  expect(mta!.difference).toContain('mta.recipients: 1000 → 1');
  expect(JSON.stringify(mta)).not.toContain('a-password-of-hers');
  expect(resolver).toMatchObject({ changed: ['resolver.local'] });
  expect(await converse(postilion, TWO)).toMatch(/^452 /);
  const before = upstream.asked.length;
  expect(await ask(postilion, 'new.example')).toBe('NOERROR 9');
  expect(upstream.asked.length).toBe(before);
}, 60_000);

test('a configuration with a mistake changes nothing, and says which', async () => {
  const postilion = await start('up');
  write(postilion, { resolver: LOCAL, mta: 'recipients = 1\nrecipeints = 2' });
  postilion.process().signal('SIGHUP');
  for (const line of await said(postilion, 2)) {
    expect(line.msg).toBe('configuration not reloaded; nothing changed');
    expect(line.reason).toMatch(/recipeints/);
  }
  expect(await converse(postilion, TWO)).toMatch(/^250 /);
  expect(upstream.asked.length).toBe(0);
  await ask(postilion, 'new.example');
  expect(upstream.asked.length).toBe(1);
}, 60_000);

test('what cannot change while it runs is named, and nothing else is taken', async () => {
  const postilion = await start('up');
  write(postilion, { mta: 'recipients = 1\nspool_reserve = 0' });
  const reply = await fetch(`${postilion.mtaHttp}/v1/reload`, { method: 'POST' });
  expect([reply.status, await reply.json()]).toEqual([
    409,
    {
      error: {
        code: 'ADMIN_RELOAD',
        message:
          'nothing was changed: mta.spool_reserve cannot change while the mta runs; "postilion upgrade" takes it over',
      },
    },
  ]);
  expect(await converse(postilion, TWO)).toMatch(/^250 /);
  const upgrade = await postilion.upgrade();
  expect(upgrade.state).toBe('done');
  expect(await converse(postilion, TWO)).toMatch(/^452 /);
}, 90_000);

test('POST /v1/reload of the mta answers with what has changed', async () => {
  const postilion = await start('up');
  write(postilion, { mta: 'max_age = "4d"' });
  const reply = await fetch(`${postilion.mtaHttp}/v1/reload`, { method: 'POST' });
  expect([reply.status, await reply.json()]).toEqual([
    200,
    { changed: ['mta.max_age'], difference: ['mta.max_age: "5d" → "4d"'] },
  ]);
}, 60_000);

test('`resolver` alone hears SIGHUP as well, and keeps its cache', async () => {
  const postilion = await start('resolver');
  await ask(postilion, 'kept.example');
  write(postilion, { resolver: LOCAL });
  postilion.process().signal('SIGHUP');
  expect(await said(postilion, 1)).toMatchObject([
    { program: 'resolver', msg: 'configuration reloaded', changed: ['resolver.local'] },
  ]);
  const before = upstream.asked.length;
  expect([await ask(postilion, 'new.example'), await ask(postilion, 'kept.example')]).toEqual([
    'NOERROR 9',
    'NOERROR 1',
  ]);
  expect(upstream.asked.length).toBe(before);
}, 60_000);
