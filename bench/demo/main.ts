/**
 * `npm run demo`: an embedded internet, Postilion between it and 20,000 messages, and a table.
 * Exit 0 only when every message is accounted for.
 *
 *     npm run demo -- [--messages N] [--json]
 */
import { benchOptions } from '../load/options.ts';
import { createProgress } from './progress.ts';
import { isAccountedFor, renderReport } from './report.ts';
import { runDemo } from './run.ts';

const MESSAGES = 20_000;
const MESSAGES_MAX = 1_000_000;

function parse(): { messages: number; json: boolean } {
  const values = benchOptions({
    messages: { type: 'string', default: String(MESSAGES) },
    json: { type: 'boolean', default: false },
  });
  const messages = Number(values.messages);
  if (!Number.isInteger(messages) || messages < 1 || messages > MESSAGES_MAX) {
    throw new RangeError(`--messages: write a whole number from 1 to ${MESSAGES_MAX}`);
  }
  return { messages, json: values.json };
}

try {
  const { messages, json } = parse();
  const report = await runDemo({
    messages,
    progress: createProgress(process.stderr),
    log: (line) => process.stderr.write(`${line}\n`),
  });
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderReport(report));
  process.exitCode = isAccountedFor(report) ? 0 : 1;
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
