/** What comes back, from the SMTP door to events, files and forwards. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { waitFor } from '../support/process.ts';
import { BOUNCES, feedbackWorlds, inject } from './feedback-world.ts';

const { world, told, paths } = feedbackWorlds();

const bounceOf = (recipient: string, status = '5.1.1', said = 'no such user'): string =>
  [
    'From: MAILER-DAEMON@mx.remote.example',
    'Content-Type: multipart/report; report-type=delivery-status; boundary=b',
    '',
    '--b',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.remote.example',
    '',
    `Final-Recipient: rfc822; ${recipient}`,
    'Action: failed',
    `Status: ${status}`,
    `Diagnostic-Code: smtp; 550 ${status} ${said}`,
    '--b--',
    '',
  ].join('\r\n');

const complaintOf = (recipient: string, reversePath: string): string =>
  [
    'From: fbl@webmail.example',
    'Content-Type: multipart/report; report-type=feedback-report; boundary=b',
    '',
    '--b',
    'Content-Type: message/feedback-report',
    '',
    'Feedback-Type: abuse',
    'User-Agent: webmail/1',
    `Original-Mail-From: <${reversePath}>`,
    `Original-Rcpt-To: <${recipient}>`,
    '--b',
    'Content-Type: text/rfc822-headers',
    '',
    'Message-ID: <one@sender.example>',
    '--b--',
    '',
  ].join('\r\n');

describe('reports with a token', () => {
  test('each recipient has a reverse-path of its own, and what comes back to it is certain', async () => {
    const home = await world({ suppression: { enabled: true } });
    const { id } = (
      await inject(home, ['bob@remote.example', 'ann@remote.example'], { tenant: 'acme' })
    ).body;
    await waitFor(() => paths.length === 2, 'both transactions');
    expect(new Set(paths).size).toBe(2);
    for (const path of paths) expect(path).toMatch(/^bounce\+[^@]+@bounces\.sender\.example$/);
    const index = paths.findIndex((path) => path.includes(`${id}-0-`));
    await home.send([{ from: '', to: [paths[index]!], content: bounceOf('Bob@remote.example') }]);
    const [event] = await told('bounce-report');
    expect(event).toEqual({
      event: 'bounce-report',
      atMs: expect.any(Number),
      report: expect.stringMatching(/^[0-9a-z]{11}\.0$/),
      id: `${id}.0`,
      recipient: 'Bob@remote.example',
      proven: true,
      tenant: 'acme',
      messageId: null,
      action: 'failed',
      status: '5.1.1',
      class: 'bad-mailbox',
      diagnostic: '550 5.1.1 no such user',
      originalRecipient: null,
      finalRecipient: 'Bob@remote.example',
      reportingMta: 'mx.remote.example',
      remoteMta: null,
      envelopeId: null,
    });
    await home.drained();
    expect(home.mta.suppressions?.of('bob@remote.example')).toMatchObject([
      {
        address: 'bob@remote.example',
        tenant: '',
        cause: 'bounce-report',
        note: '550 5.1.1 no such user',
      },
    ]);
    // The other one's token proves nothing about him.
    await home.send([
      { from: '', to: [paths[1 - index]!], content: bounceOf('eve@remote.example') },
    ]);
    expect((await told('bounce-report', 2))[1]).toMatchObject({
      id: `${id}.1`,
      recipient: 'eve@remote.example',
      proven: false,
    });
    await home.drained();
    expect(home.mta.suppressions?.of('eve@remote.example')).toEqual([]);
  });

  test('a complaint is about the tenant whose mail it was, also after a restart', async () => {
    let home = await world({ suppression: { enabled: true } });
    await inject(home, ['bob@remote.example'], { tenant: 'acme' });
    await waitFor(() => paths.length === 1, 'the message');
    home = await home.restart();
    await home.send([
      { from: '', to: [`fbl@${BOUNCES}`], content: complaintOf('bob@remote.example', paths[0]!) },
    ]);
    expect((await told('feedback'))[0]).toMatchObject({
      type: 'abuse',
      proven: true,
      recipient: 'bob@remote.example',
      tenant: 'acme',
      messageId: '<one@sender.example>',
      userAgent: 'webmail/1',
    });
    await home.drained();
    expect(home.mta.suppressions?.of('bob@remote.example')).toMatchObject([
      { tenant: 'acme', cause: 'complaint' },
    ]);
    expect((await inject(home, ['bob@remote.example'], { tenant: 'acme' })).status).toBe(422);
    expect((await inject(home, ['bob@remote.example'], { tenant: 'other' })).status).toBe(200);
  });

  test('a token that nobody made is no address; mail of a class that says nothing suppresses nobody', async () => {
    const home = await world({ suppression: { enabled: true } });
    const made = `bounce+0123456789a-0-${'0'.repeat(29)}@${BOUNCES}`;
    const sent = home.send([{ from: '', to: [made], content: bounceOf('bob@remote.example') }]);
    await expect(sent).rejects.toThrow(/550 5\.1\.1/);
    await inject(home, ['bob@remote.example']);
    await waitFor(() => paths.length === 1, 'the message');
    const full = bounceOf('bob@remote.example', '5.2.2', 'mailbox full');
    await home.send([{ from: '', to: [paths[0]!], content: full }]);
    expect((await told('bounce-report'))[0]).toMatchObject({ class: 'mailbox-full', proven: true });
    await home.drained();
    expect(home.mta.suppressions?.size).toBe(0);
  });
});

describe('reports without', () => {
  test.each([
    { unproven: false, entries: [] },
    { unproven: true, entries: [{ address: 'bob@remote.example', cause: 'bounce-report' }] },
  ])('unproven = $unproven', async ({ unproven, entries }) => {
    const home = await world({
      feedback: { domains: [BOUNCES] },
      suppression: { enabled: true, unproven },
    });
    await home.send([
      { from: '', to: [`any@${BOUNCES}`], content: bounceOf('bob@remote.example') },
    ]);
    expect((await told('bounce-report'))[0]).toMatchObject({ id: null, proven: false });
    await home.drained();
    expect(home.mta.suppressions?.of('bob@remote.example')).toMatchObject(entries);
    const metrics = await home.mta.metrics.metrics();
    expect(metrics).toContain('postilion_mta_feedback_total{kind="bounce-report"} 1');
    expect(metrics).toContain('postilion_mta_messages_total{outcome="taken"} 1');
  });

  test('what is no report is kept as it came, in a file', async () => {
    const home = await world({});
    await home.send([
      {
        from: 'c@d.example',
        to: [`help@${BOUNCES}`],
        content: 'From: c@d.example\r\nSubject: please\r\n\r\nhelp\r\n',
      },
    ]);
    const [event] = await told('unrecognised');
    expect(event).toMatchObject({
      to: `help@${BOUNCES}`,
      from: 'c@d.example',
      subject: 'please',
      automatic: false,
    });
    await home.drained();
    const kept = String(event!['kept']);
    expect(readFileSync(kept, 'utf8')).toContain('\r\n\r\nhelp\r\n');
    expect(readdirSync(join(kept, '..'))).toEqual([
      `${String(event!['report']).replace('.', '-')}.eml`,
    ]);
  });

  test('or goes on to whoever reads it, with the null reverse-path', async () => {
    const home = await world({
      feedback: { domains: [BOUNCES], forward: 'postmaster@desk.example' },
    });
    await home.send([
      { from: 'c@d.example', to: [`help@${BOUNCES}`], content: 'Subject: please\r\n\r\nhelp\r\n' },
    ]);
    await waitFor(() => home.accepted.length === 1, 'the forwarded message');
    expect(home.accepted[0]).toMatchObject({
      reversePath: '',
      recipients: ['postmaster@desk.example'],
      header: 'please',
    });
    expect((await told('unrecognised'))[0]).toMatchObject({ kept: 'forwarded' });
  });
});
