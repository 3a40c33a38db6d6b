import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dkimVerify } from 'mailauth/lib/dkim/verify.js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Cleanup } from '../../support/cleanup.ts';
import { scratchFolder } from '../../support/scratch.ts';
import { createWorld } from '../world.ts';

let cleanup: Cleanup;
beforeEach(() => {
  cleanup = new Cleanup();
});
afterEach(() => cleanup.run());

const pair = generateKeyPairSync('ed25519');
const RECORD = `v=DKIM1; k=ed25519; p=${pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64')}`;

async function keyFile(content: string): Promise<string> {
  const folder = await scratchFolder('dkim-world');
  cleanup.add(() => folder.remove());
  const file = join(folder.path, 'key.pem');
  await writeFile(file, content);
  return file;
}

const pem = (): string => String(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));

test('what arrives carries the signature made at acceptance, the same at every attempt; bounces too', async () => {
  const key = await keyFile(pem());
  const seen: string[] = [];
  const { send, accepted, drained } = await createWorld(
    {
      mail: { 'remote.example': ['mx.remote.example'], 'home.example': ['mx.home.example'] },
      sinks: {
        'mx.remote.example': {
          header: 'dkim-signature',
          onMessage({ head }) {
            seen.push(head.toString('latin1'));
            if (seen.length === 1) return '451 4.3.0 later';
            return seen.length === 2 ? null : '550 5.7.1 no';
          },
        },
        'mx.home.example': { header: 'dkim-signature' },
      },
      mta: {
        dkim: [
          { domain: 'home.example', selector: 's1', key },
          { domain: 'mta.example', selector: 's1', key },
        ],
      },
    },
    cleanup,
  );
  const letter = {
    from: 'ann@home.example',
    to: ['bob@remote.example'],
    content: 'From: ann@home.example\r\nTo: bob@remote.example\r\nSubject: hello\r\n\r\nhello\r\n',
  };
  await send([letter]);
  await drained();
  await send([letter]);
  await drained();
  expect(seen[1]).toBe(seen[0]);
  expect(seen[0]).toMatch(/^DKIM-Signature: .*d=home\.example;\r\n\ts=s1;/s);
  expect(accepted.map(({ host }) => host)).toEqual(['mx.remote.example', 'mx.home.example']);
  for (const { head } of accepted) {
    const { results } = await dkimVerify(head, { resolver: async () => [[RECORD]] });
    expect(results.map(({ status }) => status.result)).toEqual(['pass']);
  }
});

test('mail that cannot be signed is refused at the door with a reason, and the operator is told', async () => {
  const key = await keyFile('no key');
  const { send, mta } = await createWorld(
    {
      mail: { 'remote.example': ['mx.remote.example'] },
      sinks: {},
      mta: { dkim: [{ domain: 'home.example', selector: 's1', key }] },
    },
    cleanup,
  );
  const content = 'From: ann@home.example\r\n\r\nhello\r\n';
  await expect(send([{ to: ['bob@remote.example'], content }])).rejects.toThrow(
    '451 4.7.5 the message cannot be signed (DKIM), try again later',
  );
  const { troubles, messages } = await mta.status();
  expect(messages).toBe(0);
  expect(troubles[0]).toContain(`DKIM key ${key} of home.example: `);
  expect(await mta.metrics.metrics()).toContain('postilion_mta_dkim_failures_total 1');
});
