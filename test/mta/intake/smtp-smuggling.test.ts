/** End-of-data sequences that some servers take and others do not: none of them carries a second message in. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { listen, RawClient, rig } from './harness.ts';

const made = rig();
let port = 0;
beforeAll(async () => {
  port = await listen(made.door);
});
afterAll(() => made.door.stop(0));

const BEGIN =
  'EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\nSubject: cover\r\n\r\ntext';
const SMUGGLED =
  'MAIL FROM:<admin@b.c>\r\nRCPT TO:<victim@b.c>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\nQUIT\r\n';

const ENDS = [
  '\n.\n',
  '\n.\r\n',
  '\r\n.\n',
  '\r.\r',
  '\r.\r\n',
  '\r\n.\r',
  '\r.\n',
  '\n.\r',
  '\r\n\0.\r\n',
];

test.each(ENDS)('%j', async (end) => {
  for (const byOctet of [false, true]) {
    const client = new RawClient(port);
    const sent = `${BEGIN}${end}${SMUGGLED}`;
    if (byOctet) await client.sendByOctet(sent);
    else client.send(sent);
    const replies = await client.end();
    expect(replies).toContain('\r\n554 5.6.0 ');
    expect(replies).not.toContain('queued');
    // One MAIL, one DATA: what followed was never taken for commands.
    expect(replies.match(/^250 2\.1\.0/gm)).toHaveLength(1);
    expect(replies.match(/^354/gm)).toHaveLength(1);
  }
  expect(made.accepted).toEqual([]);
});
