/** `npm run demo`, smaller: every message accounted for, and the figures it promises. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { Report } from '../../bench/demo/report.ts';
import { requirePeer } from '../support/peers.ts';
import { runProcess } from '../support/process.ts';

const DEMO = fileURLToPath(new URL('../../bench/demo/main.ts', import.meta.url));
const MESSAGES = 1_000;

requirePeer('loopback-network')('demo', () => {
  test(`${MESSAGES} messages are accounted for`, async () => {
    const args = [DEMO, '--messages', String(MESSAGES), '--json'];
    const { code, output } = await runProcess(process.execPath, args, { timeoutMs: 100_000 });
    expect(code, output).toBe(0);
    const report = JSON.parse(output.slice(output.indexOf('{'))) as Report;
    expect(report.balance.delivered + report.balance.bounced).toBe(MESSAGES);
    expect(report.balance.bounced).toBeGreaterThan(0);
    expect(report.deferrals).toBeGreaterThan(0);
    expect(report.waiting).toEqual([]);
    expect(report.dns.packetsUpstream).toBeLessThanOrEqual(report.dns.distinctQuestions * 1.1);
    expect(report.dns.packetsUpstream).toBe(report.dns.questionsAtAuthority);
    console.log(
      `${MESSAGES} messages: ${report.dns.packetsUpstream} packets upstream, ${report.connections.connections} connections, ${report.settledSeconds.toFixed(1)} s`,
    );
  }, 120_000);

  test('refuses a number of messages that is none', async () => {
    const { code, output } = await runProcess(process.execPath, [DEMO, '--messages', '0']);
    expect([code, output]).toEqual([
      1,
      'demo: --messages: write a whole number from 1 to 1000000\n',
    ]);
  });
});
