/** `top`: the whole sidecar in a terminal, once a second; the same truths as the dashboard. */
import type { Command } from 'commander';
import type { Frame } from '../dashboard/hub.ts';
import { CommandFailed } from '../exit.ts';
import { type AskFlags, ask } from './ask.ts';
import { printJson } from './print.ts';
import { topScreen } from './top-screen.ts';

const EVERY_MS = 1_000;
/** Of what is no terminal. */
const COLUMNS = 100;
const ROWS = 60;

/** Another screen, and no cursor; then back to what was there. */
const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_REST = '\u001b[J';
const CTRL_C = '\u0003';

interface TopFlags extends AskFlags {
  readonly once?: boolean;
}

export function addTopCommand(root: Command): void {
  root
    .command('top')
    .description('live view of mail and DNS: what flows, what waits, what is wrong (q quits)')
    .option('--config <FILE>', 'TOML file that names the addresses')
    .option('--admin <ADDRESS:PORT>', "the resolver's admin address")
    .option('--http <ADDRESS:PORT>', "the mta's HTTP address")
    .option('--once', 'print it once, as when the output is no terminal')
    .option('--json', 'machine-readable, once')
    .addHelpText('after', '\nExample:\n  postilion top --once')
    .action(top);
}

async function top(flags: TopFlags): Promise<void> {
  const { stdout } = process;
  const frame = await fetchFrame(flags);
  if (flags.json === true) printJson(frame);
  else if (flags.once === true || !stdout.isTTY) stdout.write(`${drawn(frame).join('\n')}\n`);
  else await watch(frame, flags);
}

/** Either program tells of both. @throws CommandFailed when neither answers */
async function fetchFrame(flags: AskFlags): Promise<Frame> {
  const path = '/v1/dashboard/frame';
  try {
    return await ask<Frame>({ program: 'mta', path }, flags);
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    return ask<Frame>({ program: 'resolver', path }, flags);
  }
}

function drawn(frame: Frame): string[] {
  const { isTTY, columns = COLUMNS, rows = ROWS } = process.stdout;
  const colour = isTTY === true && process.env.NO_COLOR === undefined;
  return topScreen(frame, { columns, rows: isTTY ? rows - 1 : ROWS, colour });
}

/** Until q or Ctrl-C; a program that is away for a while is waited for. */
async function watch(first: Frame, flags: AskFlags): Promise<void> {
  const { stdin, stdout } = process;
  const quit = Promise.withResolvers<void>();
  const onKey = (key: string): void => {
    if (key === 'q' || key === CTRL_C) quit.resolve();
  };
  let frame = first;
  const draw = (note = ''): void => {
    const lines = [...drawn(frame), note].map((line) => `${line}${CLEAR_LINE}`);
    stdout.write(`${HOME}${lines.join('\r\n')}${CLEAR_REST}`);
  };
  const timer = setInterval(() => {
    fetchFrame(flags).then(
      (next) => {
        frame = next;
        draw();
      },
      (error: unknown) => draw(error instanceof Error ? error.message : String(error)),
    );
  }, EVERY_MS);
  const onResize = (): void => draw();
  stdout.write(ENTER);
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.setEncoding('utf8').on('data', onKey).resume();
  stdout.on('resize', onResize);
  process.once('SIGTERM', quit.resolve);
  try {
    draw();
    await quit.promise;
  } finally {
    clearInterval(timer);
    stdout.off('resize', onResize);
    stdin.off('data', onKey).pause();
    if (stdin.isTTY) stdin.setRawMode(false);
    stdout.write(LEAVE);
  }
}
