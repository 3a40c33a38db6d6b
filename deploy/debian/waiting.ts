/**
 * How many recipients wait in the spool of a folder, for the package's removal, when nothing runs.
 * Prints the number; fails where it cannot be known.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';

const [folder = '/var/lib/postilion/spool'] = process.argv.slice(2);
const file = join(folder, 'spool.sqlite');
if (!existsSync(file)) process.stdout.write('0\n');
else {
  const database = new Database(file, { readonly: true });
  const count = database.prepare('SELECT count(*) FROM recipients').pluck().get();
  database.close();
  process.stdout.write(`${Number(count)}\n`);
}
