/** `suppression list|add|remove`: addresses that get no mail. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Suppressed } from '../../mta/running.ts';
import { BULK_MAX, type SuppressionPage } from '../admin/suppressions.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { type AskFlags, ask } from './ask.ts';
import { wholeNumber } from './cache.ts';
import { columns, durationText, printable, printJson } from './print.ts';
import { withMta } from './queue.ts';

export function addSuppressionCommands(root: Command): void {
  const group = root
    .command('suppression')
    .description('addresses that get no mail: look, add, remove');
  withMta(group.command('list [ADDRESS]'))
    .description('the list in order of address, or what there is of one address')
    .option('--tenant <NAME>', 'only those of this tenant; "" is those of all tenants')
    .option('--after <ADDRESS>', 'continue behind this address')
    .option('--limit <COUNT>', 'how many at most', wholeNumber, 100)
    .addHelpText('after', '\nExample:\n  postilion suppression list --limit 20')
    .action(list);
  withMta(group.command('add [ADDRESS...]'))
    .description('send nothing to these addresses')
    .option('--file <FILE>', 'one address a line; "-" is standard input')
    .option('--tenant <NAME>', 'for mail of this tenant alone')
    .option('--note <TEXT>', 'why')
    .addHelpText(
      'after',
      '\nExample:\n  postilion suppression add bob@example.net --note "asked by phone"',
    )
    .action(add);
  withMta(group.command('remove <ADDRESS>'))
    .description('send to this address again')
    .option('--tenant <NAME>', "this tenant's entry; default: the one for all tenants")
    .addHelpText('after', '\nExample:\n  postilion suppression remove bob@example.net')
    .action(remove);
}

interface ListFlags extends AskFlags {
  readonly tenant?: string;
  readonly after?: string;
  readonly limit: number;
}

async function list(address: string | undefined, flags: ListFlags): Promise<void> {
  const page = address === undefined ? await pageOf(flags) : await entriesOf(address, flags);
  if (flags.json === true) return printJson(page);
  const now = Date.now();
  const rows = page.suppressions.map(({ address: whom, tenant, cause, note, sinceMs }) => [
    printable(whom),
    tenant === '' ? 'all tenants' : tenant,
    cause,
    `${durationText((now - sinceMs) / 1000)} ago`,
    printable(note),
  ]);
  process.stdout.write(rows.length === 0 ? 'Nobody is suppressed.\n' : columns(rows));
}

function pageOf({ tenant, after, limit, ...flags }: ListFlags): Promise<SuppressionPage> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (tenant !== undefined) query.set('tenant', tenant);
  // Behind every tenant's entry of that address: "~" sorts after whatever a tenant may be called.
  if (after !== undefined) query.set('after', after.toLowerCase());
  if (after !== undefined) query.set('after_tenant', '~');
  return ask<SuppressionPage>({ program: 'mta', path: `/v1/suppressions?${query}` }, flags);
}

const pathOf = (address: string): string => `/v1/suppressions/${encodeURIComponent(address)}`;

const entriesOf = (
  address: string,
  flags: AskFlags,
): Promise<{ readonly suppressions: readonly Suppressed[] }> =>
  ask({ program: 'mta', path: pathOf(address) }, flags);

interface AddFlags extends AskFlags {
  readonly file?: string;
  readonly tenant?: string;
  readonly note?: string;
}

async function add(addresses: readonly string[], flags: AddFlags): Promise<void> {
  const { file, tenant, note } = flags;
  const all = file === undefined ? addresses : [...addresses, ...linesOf(file)];
  if (all.length === 0) throw new CommandFailed(EXIT.usage, 'name an address, or a --file of them');
  for (let at = 0; at < all.length; at += BULK_MAX) {
    const body = { addresses: all.slice(at, at + BULK_MAX), tenant, note };
    await ask({ program: 'mta', path: '/v1/suppressions', body }, flags);
  }
  if (flags.json === true) printJson({ added: all.length });
  else process.stdout.write(`${all.length} added.\n`);
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'));
  } catch (error) {
    throw new CommandFailed(EXIT.usage, `--file: ${String(error)}`);
  }
}

async function remove(
  address: string,
  flags: AskFlags & { readonly tenant?: string },
): Promise<void> {
  const query =
    flags.tenant === undefined ? '' : `?${new URLSearchParams({ tenant: flags.tenant })}`;
  const path = `${pathOf(address)}${query}`;
  const answer = await ask<object>({ program: 'mta', path, method: 'DELETE' }, flags);
  if (flags.json === true) printJson(answer);
  else process.stdout.write('Removed.\n');
}
