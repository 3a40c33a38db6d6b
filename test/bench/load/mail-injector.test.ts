/** The injector of the mail benches: all taken, one round trip a letter, and no refusal overlooked. */
import { expect, onTestFinished, test } from 'vitest';
import type { Letter } from '../../../bench/load/injector.ts';
import { injectMail } from '../../../bench/load/mail-injector.ts';
import { startSink } from '../../../bench/load/sink.ts';
import { freePort } from '../../support/scratch.ts';

function* letters(count: number): Generator<Letter> {
  for (let number = 0; number < count; number += 1) {
    yield {
      id: String(number),
      reversePath: 'a@client.example',
      recipients: [`x${number}@remote.example`, `y${number}@remote.example`],
      content: [Buffer.from('Subject: x\r\n\r\n'), Buffer.from('hello\r\n')],
    };
  }
}

test.each([false, true])('every letter is taken once; one by one: %s', async (oneByOne) => {
  const seen: string[] = [];
  const sink = await startSink({
    onMessage: ({ recipients, octets }) => {
      seen.push(`${recipients} ${octets}`);
      return null;
    },
  });
  onTestFinished(() => sink.close());
  const taken = await injectMail({
    ...sink.endpoints[0]!,
    sessions: 3,
    letters: letters(50),
    oneByOne,
  });
  expect([taken, sink.counts.connections, sink.counts.errors]).toEqual([50, 3, 0]);
  expect(seen.sort()).toEqual([...letters(50)].map(({ recipients }) => `${recipients} 21`).sort());
});

test.each([
  ['550 5.1.1 no', { onRecipient: () => '550 5.1.1 no' }],
  ['451 4.3.0 full', { onMessage: () => '451 4.3.0 full' }],
])('a refusal ends it: %s', async (reply, policy) => {
  const sink = await startSink(policy);
  onTestFinished(() => sink.close());
  const run = injectMail({ ...sink.endpoints[0]!, sessions: 2, letters: letters(10) });
  await expect(run).rejects.toThrow(reply);
});

test('so does a server that is not there', async () => {
  const port = await freePort();
  const run = injectMail({ address: '127.0.0.1', port, sessions: 2, letters: letters(2) });
  await expect(run).rejects.toThrow('ECONNREFUSED');
});
