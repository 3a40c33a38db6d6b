/** A spool of schema 1 is opened with all that is in it. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { DATABASE_FILE } from '../../../mta/spool/schema.ts';
import { scratchFolder } from '../../support/scratch.ts';
import { addressesOf, leaseOf, openAt, START_MS, submission } from './fixture.ts';

/** As release 0.1 made it. */
const SCHEMA_1 = `
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY, reverse_path TEXT NOT NULL, body TEXT NOT NULL, smtp_utf8 INTEGER NOT NULL,
    received_ms INTEGER NOT NULL, origin TEXT NOT NULL, recipients INTEGER NOT NULL,
    content_octets INTEGER NOT NULL, content_crc32 INTEGER NOT NULL, content BLOB NOT NULL);
  CREATE TABLE recipients (
    message INTEGER NOT NULL, n INTEGER NOT NULL, domain TEXT NOT NULL, address TEXT NOT NULL,
    due_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, reason_code TEXT, reason_text TEXT,
    reason_since_ms INTEGER, PRIMARY KEY (message, n)) WITHOUT ROWID;
  CREATE INDEX recipients_due ON recipients (domain, due_ms);
  CREATE TABLE state (
    only INTEGER PRIMARY KEY CHECK (only = 1), last_id INTEGER NOT NULL, messages INTEGER NOT NULL,
    recipients INTEGER NOT NULL, quarantined INTEGER NOT NULL);
  INSERT INTO state VALUES (1, 20, 2, 3, 0);
  PRAGMA application_id = ${0x5073_5370};
  PRAGMA user_version = 1;
`;
const CONTENT = Buffer.from(`Subject: old\r\n\r\n${'old mail\r\n'.repeat(2000)}`);

test('messages, attempts and reasons stay; new mail of any class joins them', async () => {
  const folder = await scratchFolder('spool');
  const path = join(folder.path, 'spool');
  await mkdir(path);
  const db = new Database(join(path, DATABASE_FILE));
  db.exec(SCHEMA_1);
  const message = db.prepare('INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  const recipient = db.prepare('INSERT INTO recipients VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
  for (const [id, count] of [
    [10, 2],
    [20, 1],
  ] as const) {
    const sum = crc32(CONTENT);
    const { length } = CONTENT;
    message.run(id, 'f@s.example', '7bit', 0, START_MS, 'smtp', count, length, sum, CONTENT);
    for (let n = 0; n < count; n += 1) {
      const reason = id === 20 ? ['greylisted', '450 later', START_MS] : [null, null, null];
      recipient.run(id, n, 'x.example', `${id}-${n}@x.example`, START_MS, 1, ...reason);
    }
  }
  db.close();

  for (const round of ['first', 'second']) {
    const spool = await openAt(path);
    expect(spool.trouble(), round).toBeNull();
    expect(await spool.counts()).toMatchObject({ messages: 2, queued: 3, leased: 0 });
    await spool.close();
  }
  const spool = await openAt(path);
  await spool.append(submission(['new@x.example'], { priority: 'urgent', tenant: 'acme' }));
  const { messages } = await spool.lease(leaseOf(['x.example']));
  expect(addressesOf(messages)).toEqual([
    ['new@x.example'],
    ['10-0@x.example', '10-1@x.example'],
    ['20-0@x.example'],
  ]);
  expect(messages[2]).toMatchObject({
    priority: 'normal',
    tenant: '',
    campaign: '',
    recipients: [{ attempts: 1, reason: { code: 'greylisted', text: '450 later' } }],
  });
  expect(Buffer.from(messages[1]!.content)).toEqual(CONTENT);
  await spool.close();
  await folder.remove();
});
