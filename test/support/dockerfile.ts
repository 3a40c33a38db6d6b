/**
 * What a Dockerfile says, as far as ours go: instructions with their arguments, continuation lines joined.
 * Enough to check them and to take their steps where there is no Docker.
 */

export interface Instruction {
  /** "FROM", "RUN", … */
  readonly name: string;
  readonly text: string;
  /** 0 for the first FROM. */
  readonly stage: number;
}

export function parseDockerfile(source: string): readonly Instruction[] {
  const lines = source
    .split('\n')
    .filter((line) => !/^\s*(?:#|$)/.test(line))
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  let stage = -1;
  return lines.map((line) => {
    const [, name, text] = /^([A-Z]+) (.*)$/.exec(line)!;
    if (name === 'FROM') stage += 1;
    return { name: name!, text: text!, stage };
  });
}

export interface Copy {
  /** Name of the stage, or null for the context. */
  readonly from: string | null;
  readonly sources: readonly string[];
  readonly target: string;
}

export function copyOf({ text }: Instruction): Copy {
  const words = text.split(' ');
  const from = words[0]!.startsWith('--from=') ? words.shift()!.slice('--from='.length) : null;
  return { from, sources: words.slice(0, -1), target: words.at(-1)! };
}
