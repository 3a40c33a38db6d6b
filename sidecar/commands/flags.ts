/** Flags shared by commands, and how they become configuration. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parse, TomlError } from 'smol-toml';
import type { Override } from '../config/load.ts';
import { LOG_LEVELS } from '../config/schema.ts';

/** A flag that sets one key. Repeatable ones set a list. */
interface KeyFlag {
  readonly flag: string;
  readonly value: string;
  readonly path: readonly string[];
  readonly repeatable: boolean;
  readonly help: string;
}

const key = (flag: string, value: string, path: string, help: string): KeyFlag => ({
  flag,
  value,
  path: path.split('.'),
  repeatable: false,
  help,
});

const keys = (flag: string, value: string, path: string, help: string): KeyFlag => ({
  ...key(flag, value, path, `${help} (repeatable)`),
  repeatable: true,
});

export const RESOLVER_FLAGS: readonly KeyFlag[] = [
  keys('listen', 'ADDRESS:PORT', 'resolver.listen', 'where to answer DNS'),
  keys('upstream', 'ADDRESS[:PORT]', 'resolver.upstreams', 'server to forward to'),
  key('admin', 'ADDRESS:PORT', 'resolver.admin', "the resolver's metrics and JSON API"),
];

export const MTA_FLAGS: readonly KeyFlag[] = [
  keys('smtp', 'ADDRESS:PORT', 'mta.smtp', 'where to take mail by SMTP'),
  key('http', 'ADDRESS:PORT', 'mta.http', 'injection API, metrics and dashboard'),
  key('spool', 'FOLDER', 'mta.spool', 'where the queue is kept'),
  key('dns', 'ADDRESS:PORT', 'mta.dns', 'the resolver to ask'),
  key('hostname', 'NAME', 'mta.hostname', 'name for EHLO and Received'),
];

export interface ConfigFlags {
  readonly config?: string;
  readonly logLevel?: string;
  readonly set?: readonly Override[];
  readonly [flag: string]: unknown;
}

export function addConfigFlags(command: Command, flags: readonly KeyFlag[]): Command {
  command.option('--config <FILE>', 'TOML file (default: ./postilion.toml when it exists)');
  for (const { flag, value, repeatable, help } of flags) {
    const option = new Option(`--${flag} <${value}>`, help);
    if (repeatable) option.argParser(collect);
    command.addOption(option);
  }
  return command
    .addOption(new Option('--log-level <LEVEL>', 'what to log').choices(LOG_LEVELS))
    .option('--set <KEY=VALUE>', 'any setting, such as mta.delivery.port=25', parseSet);
}

/** @param flags those that the command was given by {@link addConfigFlags} */
export function overridesOf(options: ConfigFlags, flags: readonly KeyFlag[]): readonly Override[] {
  const overrides: Override[] = [...(options.set ?? [])];
  for (const { flag, path } of flags) {
    const value = options[flag];
    if (value !== undefined) overrides.push({ flag: `--${flag}`, path, value });
  }
  if (options.logLevel !== undefined) {
    overrides.push({ flag: '--log-level', path: ['log', 'level'], value: options.logLevel });
  }
  return overrides;
}

const collect = (value: string, earlier: readonly string[] | undefined): readonly string[] => [
  ...(earlier ?? []),
  value,
];

/** The value is TOML where it reads as such, else a string: `port=25`, `tls=none`, `retry=["1m"]`. */
function parseSet(text: string, earlier: readonly Override[] | undefined): readonly Override[] {
  const split = /^([a-z_]+(?:\.[a-z_]+)+)=(.*)$/s.exec(text);
  if (split === null) throw new InvalidArgumentError('Write it as table.key=value.');
  const [, path, value] = split;
  return [
    ...(earlier ?? []),
    { flag: `--set ${path}`, path: path!.split('.'), value: tomlValue(value!) },
  ];
}

function tomlValue(text: string): unknown {
  try {
    return parse(`value = ${text}`).value;
  } catch (error) {
    if (error instanceof TomlError) return text;
    throw error;
  }
}
