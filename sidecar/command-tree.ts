/** Every command of `postilion`, as one tree: what is parsed, what is completed, what the manual lists. */
import { Command } from 'commander';
import { addCacheCommands } from './commands/cache.ts';
import { addCheckCommand } from './commands/check.ts';
import { addCompletionCommand } from './commands/completion.ts';
import { addConfigCommands } from './commands/config.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addPasswordCommand } from './commands/password.ts';
import { addQueueCommands } from './commands/queue.ts';
import { addRouteCommand } from './commands/route.ts';
import { addRunCommands } from './commands/run.ts';
import { addStatusCommand } from './commands/status.ts';
import { addSuppressionCommands } from './commands/suppression.ts';
import { addTopCommand } from './commands/top.ts';
import { addUpgradeCommand } from './commands/upgrade.ts';
import { EXIT } from './exit.ts';
import { VERSION } from './version.ts';

export function commandTree(): Command {
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
  addTopCommand(root);
  addCacheCommands(root);
  addQueueCommands(root);
  addSuppressionCommands(root);
  addRouteCommand(root);
  addDoctorCommand(root);
  addUpgradeCommand(root);
  addPasswordCommand(root);
  addCompletionCommand(root);
  for (const command of root.commands) command.copyInheritedSettings(root);
  return root;
}
