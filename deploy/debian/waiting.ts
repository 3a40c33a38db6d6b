/**
 * How many recipients wait in the spool of a folder, for the package's removal, when nothing runs.
 * Prints the number; fails where it cannot be known, as after a crash: then its log may have mail that
 * its index has not heard of.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';

const SCHEMA_WITH_LOG = 4;

const [folder = '/var/lib/postilion/spool'] = process.argv.slice(2);
const file = join(folder, 'spool.sqlite');
if (!existsSync(file)) process.stdout.write('0\n');
else {
  const database = new Database(file, { readonly: true });
  const count = database.prepare('SELECT count(*) FROM recipients').pluck().get();
  if (Number(database.pragma('user_version', { simple: true })) >= SCHEMA_WITH_LOG) {
    const low = database.prepare('SELECT low_segment FROM state').pluck().get();
    if (segments().some((id) => id >= Number(low))) throw new Error('the spool was not closed');
  }
  database.close();
  process.stdout.write(`${Number(count)}\n`);
}

function segments(): number[] {
  const path = join(folder, 'segments');
  return existsSync(path) ? readdirSync(path).map((name) => Number.parseInt(name, 10)) : [];
}
