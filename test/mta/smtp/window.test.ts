/**
 * Whole transactions ahead, with Postfix's smtpd, Exim and our sink as remotes, and refused recipients in
 * the middle of a window: every recipient has its own verdict, and nobody loses step or patience.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { startSink } from '../../../bench/load/sink.ts';
import { HostMemory, LADDER } from '../../../mta/smtp/manners.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { type Exim, requireExim, startExim } from '../../support/exim.ts';
import { requirePeer } from '../../support/peers.ts';
import { type Postfix, startPostfixReceiver } from '../../support/postfix.ts';
import { deliver, type Letter, letter, newDeps } from './support.ts';

const MESSAGES = 200;
const REFUSED = [57, 130, 131];

/** Mostly one recipient who is taken; now and then one refused alone, or amid others. */
const letters = (): Letter[] =>
  Array.from({ length: MESSAGES }, (_, index) =>
    letter(`l${index}`, {
      recipients: REFUSED.includes(index)
        ? ['no@example.org']
        : index % 40 === 20
          ? ['later@example.org', 'a@example.org', 'no@example.org']
          : ['a@example.org'],
      content: Buffer.from(`Subject: ${index}\r\n\r\n.dot\r\n${'hello\r\n'.repeat(index)}.\r\n`),
    }),
  );

/** What is to come of them: phase and reply code. */
const EXPECTED = Array.from({ length: MESSAGES }, (_, index) => {
  if (REFUSED.includes(index)) return [`l${index}`, 'rcpt 5'];
  if (index % 40 !== 20) return [`l${index}`, 'endOfData 2'];
  return [`l${index}`, 'rcpt 4', 'endOfData 2', 'rcpt 5'];
});

async function deliverAhead(port: number): Promise<{ ahead: number }> {
  const hosts = new HostMemory(systemClock());
  const told = await deliver(port, {
    letters: letters(),
    target: { tls: 'require', host: 'mx.example.net' },
    deps: newDeps({ hosts }),
  });
  const shapes = told.outcomes.map(([name, ...facts]) => [
    name,
    ...facts.map((fact) => fact.replace(/^(\w+ \d).*/s, '$1')),
  ]);
  expect(shapes).toEqual(EXPECTED);
  expect(told.cause).toEqual({ kind: 'quit' });
  expect(told.untouched).toEqual([]);
  expect(hosts.mannersOf('mx.example.net')).toBe(LADDER[0]);
  return { ahead: told.connection.sentAhead };
}

requirePeer('postfix', 'root')('Postfix smtpd', () => {
  let postfix: Postfix | null = null;
  afterAll(() => postfix?.stop());

  test('takes windows of eight, a refusal in the middle costs only itself', async () => {
    postfix = await startPostfixReceiver({
      settings: {
        smtpd_recipient_restrictions:
          'check_recipient_access inline:{no@example.org=REJECT, later@example.org=DEFER}, permit',
        smtpd_forbid_unauth_pipelining: 'yes',
      },
    });
    const { ahead } = await deliverAhead(postfix.port);
    expect(ahead).toBeGreaterThan(MESSAGES / 2);
    expect(await postfix.count(/improper command|lost connection after (?!CONNECT)/)).toBe(0);
  });
});

requireExim()('Exim', () => {
  let exim: Exim | null = null;
  afterAll(() => exim?.stop());

  test('takes windows of eight, a refusal in the middle costs only itself', async () => {
    exim = await startExim();
    const { ahead } = await deliverAhead(exim.port);
    expect(ahead).toBeGreaterThan(MESSAGES / 2);
    expect(await exim.count(/ <= from@example\.net/)).toBe(MESSAGES - REFUSED.length);
    expect(await exim.count(/too many|SMTP call .* dropped|unexpected disconnection/)).toBe(0);
  });
});

describe('our sink', () => {
  test('takes windows of eight, a refusal in the middle costs only itself', async () => {
    const sink = await startSink({
      onRecipient: (to) =>
        to.startsWith('no@') ? '550 5.1.1 no' : to.startsWith('later@') ? '450 4.2.0 later' : null,
    });
    const { ahead } = await deliverAhead(sink.endpoints[0]!.port);
    expect(ahead).toBeGreaterThan(MESSAGES / 2);
    expect(sink.counts.messages).toBe(MESSAGES - REFUSED.length);
    await sink.close();
  });
});
