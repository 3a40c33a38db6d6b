import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { runProcess } from '../../support/process.ts';

const BENCH = fileURLToPath(new URL('../../../bench', import.meta.url));

const bench = (...args: string[]) =>
  runProcess(process.execPath, [join(BENCH, 'main.ts'), ...args], { timeoutMs: 20_000 });

describe('the command line of a bench', () => {
  test.each([
    ['mail', 'The whole mail path against what people use today', '--messages …        20000'],
    ['urgent', 'urgent', '--json'],
    ['dns-hot', 'Cached answers as fast as they come', '--rounds …          7'],
    ['micro/wire', 'Nanoseconds per call', 'parse, key, look up, render'],
    ['demo', 'an embedded internet', '--messages …        20000'],
  ])('%s --help says what it is about and which options there are', async (name, about, option) => {
    const { code, output } = await bench(name, '--help');
    expect(code).toBe(0);
    expect(output).toContain(about);
    expect(output).toContain(option);
  });

  test.each([
    [['mail', '--mesages', '5'], "Unknown option '--mesages'"],
    [['mail', '--messages', 'many'], '--messages: write a number, not "many"'],
    [['size', '--dkim', '0.5.1'], '--dkim: write a number, not "0.5.1"'],
    [['urgent', '--only'], "Unknown option '--only'"],
  ])('%j is a mistake, told in a line', async (args, message) => {
    const { code, output } = await bench(...args);
    expect(code).toBe(2);
    expect(output).toContain(message);
    expect(output).not.toContain(' at ');
  });

  test('every bench has one', () => {
    for (const folder of ['scenarios', 'micro']) {
      for (const file of readdirSync(join(BENCH, folder))) {
        const code = readFileSync(join(BENCH, folder, file), 'utf8');
        expect(`${file} ${/\b(benchOptions|benchMain|tournamentMain)\(/.test(code)}`).toBe(
          `${file} true`,
        );
      }
    }
  });
});
