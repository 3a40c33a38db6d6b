/** Reads the table of instance types that the finder compares: instances.toml, or a file like it. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'smol-toml';
import { z } from 'zod';
import type { InstanceType } from './sizing.ts';

export const EXAMPLES = fileURLToPath(new URL('./instances.toml', import.meta.url));

const schema = z.strictObject({
  currency: z.string(),
  as_of: z.date(),
  instance: z
    .array(
      z.strictObject({
        name: z.string(),
        processors: z.int().min(1),
        memory_gib: z.number().positive(),
        price_per_hour: z.number().positive(),
        speed: z.number().positive().default(1),
      }),
    )
    .min(1),
});

export interface InstanceTable {
  readonly currency: string;
  /** YYYY-MM-DD */
  readonly asOf: string;
  /** They are those of {@link EXAMPLES}, and say nothing of what anybody pays. */
  readonly areExamples: boolean;
  readonly instances: readonly InstanceType[];
}

/** @throws the system's error, or zod's with what is wrong in the file */
export async function readInstances(file: string): Promise<InstanceTable> {
  const { currency, as_of: asOf, instance } = schema.parse(parse(await readFile(file, 'utf8')));
  return {
    currency,
    asOf: asOf.toISOString().slice(0, 10),
    areExamples: file === EXAMPLES,
    instances: instance.map(({ name, processors, memory_gib, price_per_hour, speed }) => ({
      name,
      processors,
      memoryGiB: memory_gib,
      pricePerHour: price_per_hour,
      speed,
    })),
  };
}
