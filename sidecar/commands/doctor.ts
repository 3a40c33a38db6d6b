/** `doctor`: what is wrong with this machine, and what to do about it. */
import { networkInterfaces } from 'node:os';
import type { Command } from 'commander';
import { formatEndpoint } from '../../runtime/settings.ts';
import { reachable } from '../config/checks.ts';
import { loadConfig } from '../config/load.ts';
import { examine, type Finding } from '../doctor/examine.ts';
import { thisMachine } from '../doctor/machine.ts';
import { EXIT } from '../exit.ts';
import { columns, printable, printJson } from './print.ts';

interface DoctorFlags {
  readonly config?: string;
  readonly json?: boolean;
}

const PROBE_TIMEOUT_MS = 1_000;

export function addDoctorCommand(root: Command): void {
  root
    .command('doctor')
    .description('what is wrong with this machine, with the fix (exit code 1: something is)')
    .option('--config <FILE>', 'TOML file (default: ./postilion.toml when it exists)')
    .option('--json', 'machine-readable')
    .addHelpText('after', '\nExample:\n  postilion doctor --config /etc/postilion/postilion.toml')
    .action(doctor);
}

async function doctor({ config: file, json }: DoctorFlags): Promise<void> {
  const { config } = loadConfig({ file: file ?? null, overrides: [], role: 'up' });
  const admin = formatEndpoint(reachable(config.resolver.admin));
  const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
  const isRunning = await fetch(`http://${admin}/healthz`, { signal }).then(
    ({ ok }) => ok,
    () => false,
  );
  const publicAddresses = Object.values(networkInterfaces())
    .flatMap((faces) => faces ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
  const findings = await examine({ config, machine: thisMachine(publicAddresses), isRunning });
  if (json === true) printJson({ findings });
  else process.stdout.write(findingsText(findings));
  if (findings.some(({ level }) => level === 'wrong')) process.exitCode = EXIT.failed;
}

const findingsText = (findings: readonly Finding[]): string =>
  columns(
    findings.flatMap(({ check, level, text, fix }) => [
      [level, check, printable(text)],
      ...(fix === null ? [] : [['', '', `→ ${printable(fix)}`]]),
    ]),
  );
