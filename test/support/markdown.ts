/** Fenced blocks of the documentation, for tests that run or check them. */
import { readFileSync } from 'node:fs';

export interface Block {
  /** What follows the opening fence: "sh", "toml", "". */
  readonly language: string;
  readonly text: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  /** What a comment `<!-- not run: … -->` on the line before the fence says; null: none is there. */
  readonly notRun: string | null;
}

const FENCE = /^```(\w*)$/;
const NOT_RUN = /^<!-- not run: (.+) -->$/;

/** @throws Error when a block does not end */
export function blocksOf(file: string): Block[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const language = FENCE.exec(lines[at]!)?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf('```', at + 1);
    if (end === -1) throw new Error(`${file}:${at + 1}: the block does not end`);
    const notRun = NOT_RUN.exec(lines[at - 1] ?? '')?.[1] ?? null;
    blocks.push({ language, text: lines.slice(at + 1, end).join('\n'), line: at + 1, notRun });
    at = end;
  }
  return blocks;
}
