/** The ledger's own thread: each message from its parent is one transaction; null ends it. */
import { existsSync, renameSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import type { LedgerReply, LedgerSetup, Statement } from './ledger.ts';

const DAMAGE: ReadonlySet<string> = new Set(['SQLITE_CORRUPT', 'SQLITE_NOTADB']);

const { path, schema, nowMs } = workerData as LedgerSetup;
const port = parentPort!;
const reply = (message: LedgerReply): void => port.postMessage(message);

try {
  serve(...openOrPutAside());
} catch (error) {
  reply({ kind: 'failed', message: textOf(error) });
}

function openOrPutAside(): [Database.Database, string | null] {
  try {
    return [open(), null];
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (![...DAMAGE].some((damage) => code.startsWith(damage))) throw error;
    const aside = `${path}.damaged-${nowMs}`;
    for (const suffix of ['', '-wal', '-shm']) {
      if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
    }
    return [open(), aside];
  }
}

function open(): Database.Database {
  const opened = new Database(path);
  try {
    opened.pragma('journal_mode = WAL');
    opened.pragma('synchronous = FULL');
    for (const statement of schema) opened.exec(statement);
    return opened;
  } catch (error) {
    opened.close();
    throw error;
  }
}

function serve(db: Database.Database, damaged: string | null): void {
  const prepared = new Map<string, Database.Statement>();
  const statementOf = (sql: string): Database.Statement => {
    const statement = prepared.get(sql) ?? db.prepare(sql);
    prepared.set(sql, statement);
    return statement;
  };
  const commit = db.transaction((statements: readonly Statement[]) =>
    statements.map(([sql, ...values]) => statementOf(sql).run(...values).changes),
  );
  port.on('message', (statements: readonly Statement[] | null) => {
    if (statements === null) {
      db.close();
      port.close();
      return;
    }
    try {
      reply({ kind: 'done', changes: commit.immediate(statements) });
    } catch (error) {
      reply({ kind: 'refused', message: textOf(error) });
    }
  });
  reply({ kind: 'open', damaged });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
