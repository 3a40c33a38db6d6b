/** Postfix's smtpd as the remote, over STARTTLS, in every mode, with refused recipients in between. */
import { afterAll, expect, test } from 'vitest';
import { HostMemory, LADDER } from '../../../mta/smtp/manners.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { requirePeer } from '../../support/peers.ts';
import { DISCARDED, type Postfix, startPostfixReceiver } from '../../support/postfix.ts';
import { waitFor } from '../../support/process.ts';
import { deliver, letter, newDeps } from './support.ts';

const MESSAGES = 60;
const REFUSING = {
  smtpd_recipient_restrictions:
    'check_recipient_access inline:{no@example.org=REJECT, later@example.org=DEFER}, permit',
  // An error slows Postfix down after ten; here refusals are the point.
  smtpd_soft_error_limit: '1000',
  smtpd_hard_error_limit: '2000',
  smtpd_forbid_unauth_pipelining: 'yes',
};
const CASES: readonly {
  readonly title: string;
  readonly rung: number;
  readonly settings: Readonly<Record<string, string>>;
}[] = [
  { title: 'window', rung: 0, settings: {} },
  { title: 'overlap BDAT', rung: 1, settings: {} },
  {
    title: 'overlap DATA',
    rung: 1,
    settings: { smtpd_discard_ehlo_keywords: 'chunking' },
  },
  { title: 'pipelined DATA', rung: 2, settings: {} },
  { title: 'lockstep', rung: 3, settings: {} },
  {
    title: 'BDAT without PIPELINING',
    rung: 0,
    settings: { smtpd_discard_ehlo_keywords: 'pipelining' },
  },
];

requirePeer('postfix', 'root')('smtpd', () => {
  // Starting one takes seconds: cases with equal settings share theirs.
  const started = new Map<string, Promise<Postfix>>();
  const postfixWith = (settings: Readonly<Record<string, string>>): Promise<Postfix> => {
    const key = JSON.stringify(settings);
    const postfix =
      started.get(key) ?? startPostfixReceiver({ settings: { ...REFUSING, ...settings } });
    started.set(key, postfix);
    return postfix;
  };
  afterAll(async () => {
    await Promise.all([...started.values()].map(async (postfix) => (await postfix).stop()));
  });

  test.each(CASES)('$title', async ({ rung, settings }) => {
    const postfix = await postfixWith(settings);
    const discardedBefore = await postfix.count(DISCARDED);
    const hosts = new HostMemory(systemClock());
    for (const manners of LADDER.slice(0, rung)) hosts.stepDown('mx.example.net', manners);
    const letters = Array.from({ length: MESSAGES }, (_, index) =>
      letter(`l${index}`, {
        recipients:
          index % 5 === 2
            ? ['no@example.org']
            : index % 5 === 3
              ? ['later@example.org', 'a@example.org', 'no@example.org', 'b@example.org']
              : ['a@example.org'],
        content: Buffer.from(
          `Subject: ${index}\r\n\r\n.dot\r\n${'hello\r\n'.repeat(index * 50)}.\r\n`,
        ),
      }),
    );
    const told = await deliver(postfix.port, {
      letters,
      target: { tls: 'require', host: 'mx.example.net' },
      deps: newDeps({ hosts }),
    });
    const shapes = told.outcomes.map(([name, ...facts]) => [
      name,
      ...facts.map((fact) => fact.replace(/ (\d\.\d\.\d) .*/s, ' $1')),
    ]);
    const queued = 'endOfData 250 2.0.0';
    expect(shapes).toEqual(
      letters.map(({ name }, index) => {
        if (index % 5 === 2) return [name, 'rcpt 554 5.7.1'];
        if (index % 5 !== 3) return [name, queued];
        return [name, 'rcpt 450 4.7.1', queued, 'rcpt 554 5.7.1', queued];
      }),
    );
    expect(told.cause).toEqual({ kind: 'quit' });
    expect(hosts.mannersOf('mx.example.net')).toBe(LADDER[rung]);
    // Of five messages three have one accepted recipient, one has two, one has none.
    const recipients = discardedBefore + MESSAGES;
    await waitFor(async () => (await postfix.count(DISCARDED)) >= recipients, 'Postfix to discard');
    expect(await postfix.count(DISCARDED)).toBe(recipients);
    expect(
      await postfix.count(/improper command|(lost connection|timeout) after (?!CONNECT)/),
    ).toBe(0);
  });
});
