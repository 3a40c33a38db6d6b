/** REQUIRETLS from a client under TLS to real STARTTLS hosts: one that offers it, and others that do not do. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { selfSigned } from '../../bench/load/certificate.ts';
import { type Authority, createAuthority } from '../support/authorities.ts';
import { Cleanup } from '../support/cleanup.ts';
import { scratchFolder } from '../support/scratch.ts';
import { RawClient } from './intake/harness.ts';
import { createWorld, type World } from './world.ts';

let cleanup: Cleanup;
let authorities: Authority;
beforeEach(async () => {
  cleanup = new Cleanup();
  authorities = await createAuthority();
  cleanup.add(() => authorities.remove());
});
afterEach(() => cleanup.run());

async function world(): Promise<World> {
  const folder = await scratchFolder('requiretls');
  cleanup.add(() => folder.remove());
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder.path, name), text);
    return join(folder.path, name);
  };
  const own = authorities.issue('mta.example');
  const proven = (host: string) => ({ certificate: authorities.issue(host), header: 'subject' });
  return createWorld(
    {
      mail: {
        'able.example': ['mx.able.example'],
        'unable.example': ['mx.unable.example'],
        'unproven.example': ['mx.unproven.example'],
        'clear.example': ['mx.clear.example'],
        'sender.example': ['mx.sender.example'],
        'strict.example': ['mx.strict.example'],
      },
      sinks: {
        'mx.able.example': { ...proven('mx.able.example'), requireTls: true },
        'mx.unable.example': proven('mx.unable.example'),
        'mx.unproven.example': {
          certificate: selfSigned(['mx.unproven.example']),
          requireTls: true,
        },
        'mx.clear.example': { startTls: false },
        // Where notices go: one host knows the extension, the other does not.
        'mx.strict.example': { ...proven('mx.strict.example'), requireTls: true },
        'mx.sender.example': { header: 'subject' },
      },
      delivery: { tls_ca: await file('ca.pem', authorities.cert) },
      mta: {
        tls_certificate: await file('own.pem', own.cert),
        tls_key: await file('own.key', own.key),
      },
    },
    cleanup,
  );
}

/** STARTTLS, then one message. @returns the replies */
async function send({ mta }: World, from: string, to: string, parameters: string): Promise<string> {
  const client = new RawClient(mta.endpoints[0]!.port);
  await client.until(/^220 /);
  client.send('EHLO client.example\r\nSTARTTLS\r\n');
  await client.until(/220 2\.0\.0 ready to start TLS\r\n$/);
  client.socket.removeAllListeners('data');
  const secured: TLSSocket = connect({
    socket: client.socket,
    ca: authorities.cert,
    servername: 'mta.example',
  });
  let replies = '';
  secured.on('data', (chunk: Buffer) => {
    replies += chunk.toString('latin1');
  });
  secured.write(
    `EHLO client.example\r\nMAIL FROM:<${from}> ${parameters}\r\nRCPT TO:<${to}>\r\nDATA\r\n` +
      'Subject: confidential\r\n\r\nthe body\r\n.\r\nQUIT\r\n',
  );
  await new Promise((resolve) => secured.once('close', resolve));
  return replies;
}

test('a host that offers it and proves its name gets the message, and is told', async () => {
  const made = await world();
  expect(await send(made, 'a@sender.example', 'b@able.example', 'REQUIRETLS')).toContain('queued');
  expect(await send(made, 'a@sender.example', 'c@able.example', '')).toContain('queued');
  await made.drained();
  expect(
    made.accepted.map(({ recipients, secured, parameters }) => [
      recipients[0],
      secured,
      parameters.endsWith('REQUIRETLS'),
    ]),
  ).toEqual([
    ['b@able.example', true, true],
    ['c@able.example', true, false],
  ]);
});

test.each([
  ['unable.example', 'which the host does not offer'],
  ['unproven.example', 'and the host has not proven its name'],
  ['clear.example', 'and the host has not proven its name'],
])('%s gets none of it, and the sender hears why, with the header alone', async (domain, why) => {
  const made = await world();
  await send(made, 'a@sender.example', `b@${domain}`, 'RET=FULL REQUIRETLS');
  await made.drained();
  expect(made.accepted.map(({ host }) => host)).toEqual(['mx.sender.example']);
  const [notice] = made.accepted;
  // Its host does not know the extension: the notice is not lost for that.
  expect(notice!.parameters).not.toContain('REQUIRETLS');
  const text = notice!.head.toString('latin1');
  expect(text).toContain('Status: 5.7.30\r\n');
  expect(text.replaceAll(/\s+/g, ' ')).toContain(`asks for REQUIRETLS (RFC 8689), ${why}`);
  expect(text).toContain('Subject: confidential\r\n');
  expect(text).not.toContain('the body');
});

test('the notice travels as its message had to, where that can be', async () => {
  const made = await world();
  await send(made, 'a@strict.example', 'b@unable.example', 'REQUIRETLS');
  await made.drained();
  expect(
    made.accepted.map(({ host, reversePath, parameters }) => [
      host,
      reversePath,
      parameters.split(' ').includes('REQUIRETLS'),
    ]),
  ).toEqual([['mx.strict.example', '', true]]);
});
