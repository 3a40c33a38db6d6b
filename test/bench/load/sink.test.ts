import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { greylist, type SinkMessage, startSink } from '../../../bench/load/sink.ts';
import { newSinkCounts, SinkSession } from '../../../bench/load/sink-session.ts';

const OFFER = {
  pipelining: true,
  chunking: true,
  startTls: true,
  requireTls: false,
  sizeMax: 1000,
};

function converse(chunks: readonly Buffer[]): { replies: string; messages: SinkMessage[] } {
  const messages: SinkMessage[] = [];
  const policy = {
    header: 'x-id',
    onMessage(message: SinkMessage) {
      messages.push(message);
      return null;
    },
  };
  const session = new SinkSession(policy, newSinkCounts(), OFFER, '127.0.0.1', false);
  return { replies: chunks.map((chunk) => session.take(chunk)).join(''), messages };
}

test('DATA and BDAT, whole and cut anywhere', () => {
  const body = 'X-Id: 7\r\n\r\nhello\r\n';
  const script = Buffer.from(
    [
      'EHLO x\r\n',
      'MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n',
      `${body}..\r\n.\r\n`,
      'MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n',
      `BDAT 5\r\n${body.slice(0, 5)}BDAT ${body.length - 5} LAST\r\n${body.slice(5)}`,
      'MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n.\r\n',
      'BDAT 3 LAST\r\n.\r\nDATA\r\nQUIT\r\n',
    ].join(''),
  );
  const whole = converse([script]);
  expect(whole.messages).toMatchObject([
    { reversePath: 'a@example.net', recipients: ['b@example.org'], octets: 22, header: '7' },
    { reversePath: '', octets: 18, header: '7' },
    { octets: 0, header: null },
  ]);
  expect(whole.replies.match(/^\d{3} /gm)?.map((code) => Number(code))).toEqual([
    250, 250, 250, 354, 250, 250, 250, 250, 250, 250, 250, 354, 250, 503, 503, 221,
  ]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: script.length })), (cuts) => {
      const edges = [0, ...cuts.toSorted((a, b) => a - b), script.length];
      const chunks = edges.slice(1).map((end, at) => script.subarray(edges[at], end));
      expect(converse(chunks)).toEqual(whole);
    }),
  );
  expect(converse([...script].map((octet) => Buffer.from([octet])))).toEqual(whole);
});

test('greylisting goes by reverse-path and recipient', () => {
  const policy = greylist(0);
  const envelope = { reversePath: 'a@example.net', recipients: [] };
  const replies = [
    policy('b@example.org', envelope),
    policy('b@example.org', envelope),
    policy('c@example.org', envelope),
    policy('b@example.org', { ...envelope, reversePath: '' }),
  ];
  expect(replies.map((reply) => reply?.slice(0, 3) ?? 'ok')).toEqual(['450', 'ok', '450', '450']);
});

test('many addresses, one process', async () => {
  const sink = await startSink({
    listen: [
      { address: '127.0.1.1', port: 0 },
      { address: '127.0.1.2', port: 0 },
    ],
  });
  onTestFinished(() => sink.close());
  for (const { address, port } of sink.endpoints) {
    const socket = connect(port, address);
    const [greeting] = await new Promise<Buffer[]>((resolve) => {
      socket.once('data', (chunk) => resolve([chunk]));
    });
    expect(String(greeting)).toBe('220 sink.example ESMTP\r\n');
    socket.destroy();
  }
  expect(sink.counts.connections).toBe(2);
});

test('as a program: addresses, counts when asked, counts at its end', async () => {
  const program = fileURLToPath(new URL('../../../bench/load/sink.ts', import.meta.url));
  const child = spawn(process.execPath, [program, '--listen', '127.0.0.1:0'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value ?? 'null');
  expect((await next()).listening).toEqual([expect.stringMatching(/^127\.0\.0\.1:\d+$/)]);
  child.stdin.write('\n');
  expect((await next()).counts.connections).toBe(0);
  child.stdin.end();
  expect((await next()).counts.connections).toBe(0);
});
