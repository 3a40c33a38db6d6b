/** `config show`: which value each setting has, and where it comes from. */
import type { Command } from 'commander';
import { type CommunityLimit, communityLimits } from '../../mta/community.ts';
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
  const community = effective === true ? communityLimits(loaded.config.mta) : [];
  if (json === true) printJson({ file: loaded.file, settings, community });
  else process.stdout.write(effectiveToml(settings, loaded.file) + communityText(community));
}

/** As comments, since it is no part of the file. */
function communityText(limits: readonly CommunityLimit[]): string {
  if (limits.length === 0) return '';
  const lines = limits.map(({ provider, name, value, outrankedBy }) => {
    const fate = outrankedBy === null ? '' : `, outranked by ${outrankedBy}`;
    return `#   ${provider}.${name} = ${value}${fate}`;
  });
  return `\n# Limits of large providers that come with Postilion (mta.shaping.community):\n${lines.join('\n')}\n`;
}
