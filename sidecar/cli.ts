/** The `postilion` command: parses the command line, and turns failures into a sentence and an exit code. */
import { Command, CommanderError } from 'commander';
import { addCacheCommands } from './commands/cache.ts';
import { addCheckCommand } from './commands/check.ts';
import { addConfigCommands } from './commands/config.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addQueueCommands } from './commands/queue.ts';
import { addRouteCommand } from './commands/route.ts';
import { addRunCommands } from './commands/run.ts';
import { addStatusCommand } from './commands/status.ts';
import { ConfigInvalid } from './config/problems.ts';
import { CommandFailed, EXIT } from './exit.ts';
import { VERSION } from './version.ts';

const root = new Command('postilion')
  .description('A sidecar for mail servers: a caching DNS resolver and an outbound MTA.')
  .version(VERSION)
  .showHelpAfterError('(try --help)')
  .exitOverride()
  .addHelpText(
    'after',
    `
Example:
  postilion up
  postilion status

Exit codes: ${EXIT.ok} done, ${EXIT.failed} failed, ${EXIT.usage} bad usage or configuration, ${EXIT.notRunning} nothing running answers.`,
  );
addRunCommands(root);
addCheckCommand(root);
addConfigCommands(root);
addStatusCommand(root);
addCacheCommands(root);
addQueueCommands(root);
addRouteCommand(root);
addDoctorCommand(root);
for (const command of root.commands) command.copyInheritedSettings(root);

try {
  await root.parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}

function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof ConfigInvalid) {
    process.stderr.write(`${error.message}\n`);
    return EXIT.usage;
  }
  if (error instanceof CommandFailed) {
    process.stderr.write(`postilion: ${error.message}\n`);
    return error.exitCode;
  }
  throw error;
}
