/** The whole configuration file: one table for each program, and what both share. */
import { z } from 'zod';
import { type MtaConfig, mtaSchema } from '../../mta/config.ts';
import { resolverSchema } from '../../resolver/config.ts';
import { duration } from '../../runtime/settings.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const logSchema = z
  .strictObject({
    level: z
      .enum(LOG_LEVELS)
      .default('info')
      .describe('Least important lines to write to standard error, as JSON.'),
  })
  .prefault({});

const upgradeSchema = z
  .strictObject({
    probation: duration('10s').describe(
      'After an upgrade the new version is watched so long: should it crash or be unready, the old one goes on in its place.',
    ),
    ready_timeout: duration('30s').describe(
      'A new version must be ready within this; else the old one stays.',
    ),
  })
  .prefault({});

/** As short as may be of what cannot be guessed. */
const TOKEN_CHARACTERS_MIN = 16;

const adminSchema = z
  .strictObject({
    token: z
      .string()
      .regex(/^[!-~]*$/, 'holds a space or what is not ASCII')
      .refine(
        (token) => token === '' || token.length >= TOKEN_CHARACTERS_MIN,
        `too short; take ${TOKEN_CHARACTERS_MIN} characters or more, such as those of "openssl rand -hex 16"`,
      )
      .default('')
      .describe(
        'What every request that changes something must bring, as "Authorization: Bearer …"; commands read it from here. Without one the dashboard only shows.',
      ),
  })
  .prefault({});

export const configSchema = z.strictObject({
  resolver: resolverSchema,
  mta: mtaSchema,
  admin: adminSchema,
  log: logSchema,
  upgrade: upgradeSchema,
});

export type Config = z.output<typeof configSchema> & { readonly mta: MtaConfig };

/** The configuration as written, before defaults and units: plain JSON, so it can be sent to a child. */
export type RawConfig = Readonly<Record<string, unknown>>;

/** One setting, as the reference and the suggestions need it. */
export interface Setting {
  readonly path: readonly string[];
  readonly description: string;
  /** 'string', 'integer', 'list of strings', …: what to write. */
  readonly type: string;
  /** As written in TOML; null when there is none. */
  readonly defaultText: string | null;
  /** Inclusive bounds of a number, or of the length of a list; null where there is none. */
  readonly minimum: number | null;
  readonly maximum: number | null;
  readonly choices: readonly string[];
}

interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly enum?: readonly string[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Every setting in the order of the schema. */
export function listSettings(): readonly Setting[] {
  const root = z.toJSONSchema(configSchema, { io: 'input' }) as SchemaNode;
  return settingsUnder(root, []);
}

function settingsUnder(node: SchemaNode, path: readonly string[]): readonly Setting[] {
  if (node.properties === undefined) return [settingOf(node, path)];
  return Object.entries(node.properties).flatMap(([key, child]) =>
    settingsUnder(child, [...path, key]),
  );
}

function settingOf(node: SchemaNode, path: readonly string[]): Setting {
  const branches = node.anyOf ?? [node];
  const number = branches.find((branch) => branch.type === 'integer');
  const maximum = number?.maximum ?? Number.MAX_SAFE_INTEGER;
  return {
    path,
    description: node.description ?? '',
    type: branches.map(typeText).join(' or '),
    defaultText: node.default === undefined ? null : tomlText(node.default),
    minimum: number?.minimum ?? null,
    maximum: maximum === Number.MAX_SAFE_INTEGER ? null : maximum,
    choices: node.enum ?? [],
  };
}

function typeText(node: SchemaNode): string {
  if (node.const !== undefined) return tomlText(node.const);
  if (node.type === 'array') return `list of ${node.items?.type ?? 'value'}s`;
  if (node.type === 'object') return 'table';
  return node.type ?? 'value';
}

function tomlText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlText).join(', ')}]`;
  if (typeof value === 'object') return '{}';
  return JSON.stringify(value);
}
