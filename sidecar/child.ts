/**
 * Entry of a supervised child: takes its configuration from the supervisor, runs one program, and
 * never outlives the supervisor.
 */

import { loadConfig, parseChecked } from './config/load.ts';
import { EXIT } from './exit.ts';
import { createLog } from './log.ts';
import { type RunningProgram, startProgram } from './programs.ts';
import { PROGRAMS, type ProgramName, type Report, startSchema } from './protocol.ts';
import { startFailure } from './start-failure.ts';

const name = PROGRAMS.find((program) => program === process.argv[2]);
if (name === undefined || process.send === undefined) {
  console.error('This is a part of "postilion up" and is not started by hand.');
  process.exit(EXIT.usage);
}
process.title = `postilion ${name}`;

let running: Promise<RunningProgram> | null = null;
let stopping = false;

/** A program that is still starting is not waited for: nothing has been acknowledged yet. */
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  const program = await Promise.race([running, null]);
  await program?.stop();
  process.exit(EXIT.ok);
}

// A terminal's Ctrl-C reaches us too; the supervisor decides what it means.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void stop());
process.on('SIGHUP', () => void running?.then((program) => program.reload()));
process.on('disconnect', () => void stop());

process.once('message', (message) => void start(name, message));

async function start(program: ProgramName, message: unknown): Promise<void> {
  const { raw, request, sockets = [] } = startSchema.parse(message);
  const config = parseChecked(raw);
  const load = () => (request === undefined ? config : loadConfig(request).config);
  const log = createLog(program, config.log.level);
  running = startProgram(program, config, { log, load, sockets });
  try {
    const { addresses } = await running;
    tell({ kind: 'ready', addresses });
  } catch (error) {
    stopping = true;
    tell({ kind: 'failed', message: startFailure(error) }, () => process.exit(EXIT.failed));
  }
}

/** A supervisor that is gone is noticed by 'disconnect'. */
function tell(report: Report, sent: () => void = () => undefined): void {
  process.send?.(report, sent);
}
