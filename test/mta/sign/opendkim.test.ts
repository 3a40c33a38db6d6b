import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SigningKey, signMessage } from '../../../mta/sign/dkim.ts';
import { PEER_PATH, requirePeer } from '../../support/peers.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ed25519 = generateKeyPairSync('ed25519');
const base64 = (octets: Buffer): string => octets.toString('base64');
const spki = { type: 'spki', format: 'der' } as const;

/** One space behind each colon: in its test mode opendkim makes one of many before it verifies. */
const MESSAGE = Buffer.from(
  'From: Ann <ann@example.com>\r\nTo: b@example.net,\r\n\tc@example.net\r\nSubject: two \t lines\r\n' +
    'Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@example.com>\r\n' +
    '\r\nHi.  There\t \r\n\r\n \tindented\r\n\r\n',
);

requirePeer('opendkim')('opendkim verifies', () => {
  let folder: Folder;
  beforeAll(async () => {
    folder = await scratchFolder('opendkim');
    const keys = [
      `r1._domainkey.example.com v=DKIM1; k=rsa; p=${base64(rsa.publicKey.export(spki))}`,
      `e1._domainkey.example.com v=DKIM1; k=ed25519; p=${base64(ed25519.publicKey.export(spki).subarray(-32))}`,
    ];
    const keyFile = join(folder.path, 'keys');
    await writeFile(keyFile, keys.map((line) => `${line}\n`).join(''));
    await writeFile(join(folder.path, 'opendkim.conf'), `Mode v\nTestPublicKeys ${keyFile}\n`);
  });
  afterAll(() => folder.remove());

  async function verify(message: Buffer): Promise<string> {
    const file = join(folder.path, 'message.eml');
    await writeFile(file, message);
    const { stdout, stderr } = spawnSync(
      'opendkim',
      ['-x', join(folder.path, 'opendkim.conf'), '-t', file, '-v'],
      { encoding: 'utf8', env: { ...process.env, PATH: PEER_PATH.join(delimiter) } },
    );
    return stdout + stderr;
  }

  for (const algorithm of ['rsa-sha256', 'ed25519-sha256'] as const) {
    for (const header of ['relaxed', 'simple'] as const) {
      for (const body of ['relaxed', 'simple'] as const) {
        test(`${algorithm}, ${header}/${body}; and not after a change`, async () => {
          const isRsa = algorithm === 'rsa-sha256';
          const key: SigningKey = {
            domain: 'example.com',
            selector: isRsa ? 'r1' : 'e1',
            algorithm,
            key: (isRsa ? rsa : ed25519).privateKey,
            header,
            body,
          };
          const ring = new Map([['example.com', [key]]]);
          const signing = signMessage(
            { content: MESSAGE, reversePathDomain: '' },
            ring,
            1_700_000_000,
          );
          if (signing.fault !== null) throw new Error(signing.text);
          const signed = Buffer.concat([Buffer.from(signing.fields), MESSAGE]);
          expect(await verify(signed)).toMatch(
            /verification \(s=[re]1, d=example\.com, .*\) succeeded/,
          );
          const changed = Buffer.from(signed.toString().replace('indented', 'invented'));
          expect(await verify(changed)).not.toContain('succeeded');
        });
      }
    }
  }
});
