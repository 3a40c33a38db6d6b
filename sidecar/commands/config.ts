/** `config show`: which value each setting has, and where it comes from. */
import type { Command } from 'commander';
import { effectiveSettings, effectiveToml } from '../config/effective.ts';
import { loadConfig } from '../config/load.ts';
import { printJson } from './print.ts';

interface ShowFlags {
  readonly config?: string;
  readonly effective?: boolean;
  readonly json?: boolean;
}

export function addConfigCommands(root: Command): void {
  const config = root.command('config').description('look at the configuration');
  config
    .command('show')
    .description('settings as TOML, each with its origin; passwords are hidden')
    .option('--config <FILE>', 'TOML file (default: ./postilion.toml when it exists)')
    .option('--effective', 'defaults and derived values too, not only what the file says')
    .option('--json', 'machine-readable')
    .addHelpText('after', '\nExample:\n  postilion config show --effective')
    .action(show);
}

/** @throws ConfigInvalid */
function show({ config: file, effective, json }: ShowFlags): void {
  const loaded = loadConfig({ file: file ?? null, overrides: [], role: 'up' });
  const settings = effectiveSettings(loaded).filter(
    ({ origin }) => effective === true || origin === 'file',
  );
  if (json === true) printJson({ file: loaded.file, settings });
  else process.stdout.write(effectiveToml(settings, loaded.file));
}
