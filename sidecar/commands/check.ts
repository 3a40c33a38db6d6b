/** `check`: is this configuration one that would start? */
import type { Command } from 'commander';
import { formatEndpoint } from '../../runtime/settings.ts';
import { type Loaded, loadConfig } from '../config/load.ts';
import { ConfigInvalid } from '../config/problems.ts';
import { EXIT } from '../exit.ts';
import { printJson } from './print.ts';

interface CheckFlags {
  readonly config?: string;
  readonly json?: boolean;
}

export function addCheckCommand(root: Command): void {
  root
    .command('check')
    .description('read a configuration and say everything that is wrong with it')
    .option('--config <FILE>', 'TOML file (default: ./postilion.toml when it exists)')
    .option('--json', 'machine-readable')
    .addHelpText('after', '\nExample:\n  postilion check --config /etc/postilion/postilion.toml')
    .action(check);
}

function check({ config: file, json }: CheckFlags): void {
  try {
    const loaded = loadConfig({ file: file ?? null, overrides: [], role: 'up' });
    if (json === true) printJson({ valid: true, errors: [], warnings: loaded.warnings });
    else process.stdout.write(summary(loaded));
  } catch (error) {
    if (!(error instanceof ConfigInvalid) || json !== true) throw error;
    printJson({ valid: false, errors: error.lines, warnings: [] });
    process.exitCode = EXIT.usage;
  }
}

function summary({ config, file, warnings }: Loaded): string {
  const { resolver, mta } = config;
  const upstreams = resolver.upstreams.map(({ text }) => text).join(', ');
  return [
    `${file ?? 'defaults'}: valid`,
    `  resolver  answers DNS at ${resolver.listen.map(formatEndpoint).join(', ')}, forwards to ${upstreams || 'the nameservers of /etc/resolv.conf'}`,
    `  mta       takes mail at ${mta.smtp.map(formatEndpoint).join(', ')} as ${mta.hostname}, queues in ${mta.spool}, asks ${formatEndpoint(mta.dns)}`,
    ...warnings.map((warning) => `  warning   ${warning}`),
    '',
  ].join('\n');
}
