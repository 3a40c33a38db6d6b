/** The fixtures themselves: a Postfix that receives with STARTTLS, asked by swaks and by nodemailer. */
import { createTransport } from 'nodemailer';
import { expect, onTestFinished, test } from 'vitest';
import { requirePeer } from './peers.ts';
import { DISCARDED, startPostfixReceiver } from './postfix.ts';
import { waitFor } from './process.ts';
import { swaks } from './swaks.ts';

requirePeer(
  'postfix',
  'swaks',
  'root',
)('postfix receiver', () => {
  test('takes mail in clear and over STARTTLS and discards it', async () => {
    const postfix = await startPostfixReceiver();
    onTestFinished(() => postfix.stop());
    const { exitCode, replies, text } = await swaks(postfix, {
      '--from': 'a@example.net',
      '--to': 'b@example.org',
    });
    expect(exitCode, text).toBe(0);
    expect(replies.at(-2)).toMatch(/^250 2\.0\.0 Ok: queued as /);

    const transport = createTransport({
      host: postfix.address,
      port: postfix.port,
      requireTLS: true,
      tls: { rejectUnauthorized: false },
    });
    await transport.sendMail({ from: 'a@example.net', to: 'c@example.org', text: 'hello' });

    await waitFor(async () => (await postfix.count(DISCARDED)) === 2, 'Postfix to discard both');
    expect(await postfix.count(/TLS connection established/)).toBe(1);
  });
});
