/** RFC 3461 end to end: what a client asks to be told travels on, or comes back from us. */
import { afterEach, expect, test } from 'vitest';
import { decodeXtext, mailParameters, rcptParameters, wantsNotice } from '../../mta/extra.ts';
import { Cleanup } from '../support/cleanup.ts';
import { RawClient } from './intake/harness.ts';
import { createWorld } from './world.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const textOf = (content: Uint8Array): string => Buffer.from(content).toString('latin1');

async function submit(port: number, body = 'Subject: s\r\n\r\nbody of it\r\n'): Promise<void> {
  const client = new RawClient(port);
  await client.exchange(
    [
      'EHLO c',
      'MAIL FROM:<sender@sender.example> RET=FULL ENVID=Q+2B1',
      'RCPT TO:<good@dest.example> NOTIFY=SUCCESS ORCPT=rfc822;Good+2Bx@dest.example',
      'RCPT TO:<quiet@dest.example> NOTIFY=NEVER',
      'RCPT TO:<bad@dest.example> NOTIFY=FAILURE',
      `DATA\r\n${body}.\r\n`,
    ].join('\r\n'),
    /OK queued/,
  );
  client.destroy();
}

test('a host without DSN: success and failure come from us, each to whom it was asked', async () => {
  const world = await createWorld(
    {
      mail: { 'dest.example': ['mx.dest.example'], 'sender.example': ['mx.sender.example'] },
      sinks: {
        'mx.dest.example': {
          onRecipient: (address: string) =>
            address.startsWith('good') ? null : '550 5.1.1 no such user',
        },
        'mx.sender.example': { header: 'x-none' },
      },
    },
    cleanup,
  );
  await submit(world.mta.endpoints[0]!.port);
  await world.drained();
  const notices = world.accepted
    .filter(({ host }) => host === 'mx.sender.example')
    .map(({ head }) => textOf(head));
  expect(notices).toHaveLength(2);
  const [relayed, failed] = notices.sort((one) => (one.includes('Action: relayed') ? -1 : 1));
  expect(relayed).toContain('Original-Envelope-Id: Q+1\r\n');
  expect(relayed).toContain(
    'Original-Recipient: rfc822; Good+x@dest.example\r\nFinal-Recipient: rfc822; good@dest.example\r\nAction: relayed\r\n',
  );
  expect(relayed).not.toContain('body of it');
  expect(failed).toContain(
    'Final-Recipient: rfc822; bad@dest.example\r\nAction: failed\r\nStatus: 5.1.1\r\n',
  );
  expect(failed).toContain(
    'Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n',
  );
  expect(failed).toContain('\r\nbody of it\r\n');
  expect(notices.join('')).not.toContain('quiet@');
});

test.each([
  [{}, {}, '', ''],
  [{ ret: 'FULL', envid: 'a' }, { notify: [] }, ' RET=FULL ENVID=a', ' NOTIFY=NEVER'],
  [
    { envid: 'a' },
    { notify: ['SUCCESS', 'DELAY'], orcpt: 'rfc822;x' },
    ' ENVID=a',
    ' NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x',
  ],
] as const)('%j, %j are written %j, %j', (message, recipient, mail, rcpt) => {
  expect([mailParameters(message), rcptParameters(recipient)]).toEqual([mail, rcpt]);
});

test.each([
  [{}, [false, true, false]],
  [{ notify: [] }, [false, false, false]],
  [{ notify: ['SUCCESS'] }, [true, false, false]],
  [{ notify: ['FAILURE', 'DELAY'] }, [false, true, true]],
] as const)('%j wants success, failure, delay: %j', (extra, wanted) => {
  expect((['SUCCESS', 'FAILURE', 'DELAY'] as const).map((c) => wantsNotice(extra, c))).toEqual(
    wanted,
  );
});

test('xtext', () => expect(decodeXtext('a+2Bb+3Dc')).toBe('a+b=c'));
