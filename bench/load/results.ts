/** Keeps what a bench measured in bench/results/, dated, with the machine it was measured on. */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../results/', import.meta.url));

export const machine = () => ({
  processor: cpus()[0]?.model ?? 'unknown',
  processors: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.version,
  loadAverage: loadavg().map((load) => Number(load.toFixed(2))),
});

/**
 * @param name such as "mail"
 * @param plots suffix → SVG; '' for the only one
 * @returns paths written
 */
export async function saveResults(
  name: string,
  outcome: object,
  plots: Readonly<Record<string, string>>,
): Promise<string[]> {
  await mkdir(FOLDER, { recursive: true });
  const day = new Date().toISOString().slice(0, 10);
  const pathOf = (suffix: string): string => `${FOLDER}${name}${suffix}-${day}`;
  const paths = [`${pathOf('')}.json`];
  await writeFile(paths[0]!, `${JSON.stringify(outcome, null, 2)}\n`);
  for (const [suffix, svg] of Object.entries(plots)) {
    const path = `${pathOf(suffix === '' ? '' : `-${suffix}`)}.svg`;
    await writeFile(path, svg);
    paths.push(path);
  }
  return paths;
}
