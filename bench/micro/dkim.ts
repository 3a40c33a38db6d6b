/**
 * What DKIM costs for a message of 10 KB: each step alone, then the way through the signing threads as
 * the mta's own thread sees it.
 *
 *     node bench/micro/dkim.ts [--octets N] [--threads N] [--json]
 */

import { createHash, generateKeyPairSync, hash, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mtaSchema } from '../../mta/config.ts';
import type { Submission } from '../../mta/envelope.ts';
import { bodyHash, type Form } from '../../mta/sign/canonical.ts';
import { type KeyRing, type SigningKey, signMessage } from '../../mta/sign/dkim.ts';
import { readHeader } from '../../mta/sign/header.ts';
import { Signer } from '../../mta/sign/signer.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { benchOptions } from '../load/options.ts';

const values = benchOptions({
  octets: { type: 'string', default: '10240' },
  threads: { type: 'string', default: '1' },
  json: { type: 'boolean', default: false },
});
const octets = Number(values.octets);
const threads = Number(values.threads);

const HEADER = [
  'Received: from [127.0.0.1] (localhost [127.0.0.1])\r\n\tby mta.example.net with ESMTP id 1;\r\n\tTue, 1 Jul 2025 12:00:00 +0000',
  'From: "Example News" <news@example.com>',
  'To: "Somebody Else" <somebody@example.org>',
  'Subject: =?utf-8?q?A_subject_of_usual_length_with_one_or_two?=\r\n =?utf-8?q?_continuations?=',
  'Date: Tue, 1 Jul 2025 12:00:00 +0000',
  'Message-ID: <0123456789abcdef@example.com>',
  'MIME-Version: 1.0',
  'Content-Type: multipart/alternative; boundary="=_boundary"',
  'List-Unsubscribe: <https://example.com/unsubscribe/0123456789abcdef>',
  'List-Unsubscribe-Post: List-Unsubscribe=One-Click',
  'X-Campaign: 42',
].map((field) => `${field}\r\n`);
const PLAIN = 'The quick brown fox jumps over the lazy dog, as it has always done, again.\r\n';
/** As plain text is that was filled up with spaces, and as the mail bench sends it. */
const PADDED = `${'The quick brown fox jumps over the lazy dog, as it has always done.'.padEnd(76)}\r\n`;
const INDENTED = '      <td class="cell">\tThe quick  brown fox</td><td> jumps over it </td>\r\n';

const messageOf = (line: string): Buffer => {
  const head = `${HEADER.join('')}\r\n`;
  return Buffer.from(head + line.repeat(Math.ceil((octets - head.length) / line.length)));
};

/** As a first attempt would write it. */
function naiveBodyHash(body: Buffer): string {
  const relaxed = body
    .toString('latin1')
    .replaceAll(/[ \t]+/g, ' ')
    .replaceAll(/ \r\n/g, '\r\n')
    .replace(/(\r\n)*$/, '\r\n');
  return createHash('sha256').update(Buffer.from(relaxed, 'latin1')).digest('base64');
}

const key = (algorithm: SigningKey['algorithm'], privateKey: KeyObject): SigningKey => ({
  domain: 'example.com',
  selector: 's1',
  algorithm,
  key: privateKey,
  header: 'relaxed',
  body: 'relaxed',
});
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const ed25519 = generateKeyPairSync('ed25519').privateKey;
const ringOf = (...keys: SigningKey[]): KeyRing => new Map([['example.com', keys]]);

const ROUNDS = 20;
const ROUND_MS = 50;

/** @returns µs of CPU per call, the least of all rounds: neighbours only ever add */
function measure(work: () => unknown): number {
  const rounds: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const startMs = performance.now();
    const cpu = process.threadCpuUsage();
    let calls = 0;
    do {
      for (let call = 0; call < 16; call += 1) work();
      calls += 16;
    } while (performance.now() - startMs < ROUND_MS);
    const { user, system } = process.threadCpuUsage(cpu);
    // The first round warms up.
    if (round > 0) rounds.push((user + system) / calls);
  }
  return Math.min(...rounds);
}

const results: { step: string; µs: number }[] = [];
const report = (step: string, microseconds: number): void => {
  results.push({ step, µs: Math.round(microseconds * 10) / 10 });
};

for (const [name, line] of [
  ['text', PLAIN],
  ['padded text', PADDED],
  ['indented HTML', INDENTED],
] as const) {
  const message = messageOf(line);
  const body = message.subarray(readHeader(message, new Set())!.bodyStart);
  report(
    `SHA-256 alone, ${name}`,
    measure(() => hash('sha256', body, 'base64')),
  );
  report(
    `body hash by regular expressions, ${name}`,
    measure(() => naiveBodyHash(body)),
  );
  for (const form of ['relaxed', 'simple'] satisfies Form[]) {
    report(
      `body hash, ${form}, ${name}`,
      measure(() => bodyHash(body, form)),
    );
  }
}

const message = messageOf(INDENTED);
const unsigned = { content: message, reversePathDomain: '' };
const nobody: KeyRing = new Map([['elsewhere.example', []]]);
report(
  'no key for it',
  measure(() => signMessage(unsigned, nobody, 1)),
);
report(
  'Ed25519, whole',
  measure(() => signMessage(unsigned, ringOf(key('ed25519-sha256', ed25519)), 1)),
);
report(
  'RSA-2048, whole',
  measure(() => signMessage(unsigned, ringOf(key('rsa-sha256', rsa)), 1)),
);

/** CPU of this thread, and the wall, per message, with `ahead` messages on their way at any time. */
async function throughThreads(name: string, privateKey: KeyObject, ahead: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'postilion-dkim-'));
  const file = join(folder, 'key.pem');
  await writeFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const dkim = [{ domain: 'example.com', selector: 's1', key: file }];
  const config = mtaSchema.parse({ dkim, dkim_threads: threads });
  const signer = await Signer.open(config, { clock: systemClock(), log: silentLog });
  const total = 2_000;
  let started = 0;
  const lane = async (): Promise<void> => {
    while (started++ < total) await signer.sign(submission());
  };
  for (const warm of [true, false]) {
    started = 0;
    const cpu = process.threadCpuUsage();
    const startMs = performance.now();
    await Promise.all(Array.from({ length: ahead }, lane));
    const { user, system } = process.threadCpuUsage(cpu);
    if (warm) continue;
    report(`${name}, ${ahead} at a time: CPU of the mta's thread`, (user + system) / total);
    report(`${name}, ${ahead} at a time: wall`, ((performance.now() - startMs) * 1000) / total);
  }
  await signer.close();
  await rm(folder, { recursive: true });
}

/** As intake hands it over: a buffer of 16 KiB or more with headroom. */
function submission(): Submission {
  const headroom = 1536;
  const room = Buffer.allocUnsafeSlow(Math.max(16_384, headroom + message.length));
  message.copy(room, headroom);
  return {
    envelope: { reversePath: '', recipients: [], body: '7bit', smtpUtf8: false },
    content: room.subarray(headroom, headroom + message.length),
    headroom,
    receivedAtMs: 0,
    origin: 'bench',
  };
}

const copyMicroseconds = measure(submission);
report('(the copy into such a buffer, included below)', copyMicroseconds);
for (const ahead of [1, 64]) {
  await throughThreads('Ed25519', ed25519, ahead);
  await throughThreads('RSA-2048', rsa, ahead);
}

if (values.json) console.log(JSON.stringify({ octets, threads, results }));
else console.table(results);
