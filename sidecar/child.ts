/**
 * Entry of a supervised child: takes its configuration from the supervisor, runs one program, hands it
 * over when it is told to, and never outlives the supervisor. As "plan" it only says what a
 * configuration needs.
 */
import { type SocketBinder, socketBinder } from '../resolver/sockets.ts';
import { type HandedSocket, HandedSockets } from '../runtime/handed-sockets.ts';
import { loadConfig, parseChecked } from './config/load.ts';
import { EXIT } from './exit.ts';
import { createLog, logUncaught } from './log.ts';
import { planOf } from './plan.ts';
import { type PreparedProgram, prepareProgram, type RunningProgram } from './programs.ts';
import {
  type Order,
  orderSchema,
  PROGRAMS,
  type ProgramName,
  type Report,
  type Start,
  type UpgradeStatus,
} from './protocol.ts';
import { outliveReaders } from './readers.ts';
import { startFailure } from './start-failure.ts';

const name = PROGRAMS.find((program) => program === process.argv[2]) ?? null;
if ((name === null && process.argv[2] !== 'plan') || process.send === undefined) {
  console.error('This is a part of "postilion up" and is not started by hand.');
  process.exit(EXIT.usage);
}
process.title = `postilion ${name ?? 'plan'}`;
outliveReaders();

/** setInterval's own ceiling. */
const HOLD_MS = 2_147_483_647;

let start: (() => Promise<RunningProgram>) | null = null;
let running: Promise<RunningProgram> | null = null;
let stopping = false;
let upgradeStatus: UpgradeStatus | null = null;

// A terminal's Ctrl-C reaches us too; the supervisor decides what it means.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void stop());
process.on('SIGHUP', () => void running?.then((program) => program.reload()));
process.on('disconnect', () => void stop());
// Between two spells of work nothing else keeps us.
setInterval(() => undefined, HOLD_MS);

process.on('message', (message) => {
  const { data: order } = orderSchema.safeParse(message);
  // Of a supervisor that says more than we understand.
  if (order !== undefined) void follow(order).catch(fail);
});

async function follow(order: Order): Promise<void> {
  switch (order.kind) {
    case 'start':
      if (name === null) return plan(order);
      start = await prepare(name, order);
      if (order.successor === true) return tell({ kind: 'prepared' });
      return go();
    case 'go':
      return go();
    case 'save':
      await (await running)?.save();
      return tell({ kind: 'saved' });
    case 'yield':
      await letGo();
      return tell({ kind: 'yielded' });
    case 'upgrade-status':
      upgradeStatus = order.status;
  }
}

function plan({ raw, request }: Start): void {
  const { config, raw: written } =
    request === undefined ? { config: parseChecked(raw), raw } : loadConfig(request);
  tell({ kind: 'plan', plan: planOf(config, written) });
}

async function prepare(program: ProgramName, order: Start): Promise<() => Promise<RunningProgram>> {
  const { raw, request, sockets = [] } = order;
  const config = parseChecked(raw);
  const load = () => (request === undefined ? { config, raw } : loadConfig(request));
  const log = createLog(program, config.log.level);
  logUncaught(log);
  const supervision = {
    status: () => upgradeStatus,
    upgrade: () => tell({ kind: 'upgrade' }),
  };
  const context = { log, raw, load, supervision };
  const binder = sockets.length === 0 ? null : await socketBinder();
  let prepared: PreparedProgram | null = await prepareProgram(program, config, context);
  return async () => {
    // What was prepared serves one spell of work.
    const ours = prepared ?? (await prepareProgram(program, config, context));
    prepared = null;
    return ours.start(duplicates(sockets, binder));
  };
}

async function go(): Promise<void> {
  if (stopping) return;
  running = start!();
  const { addresses } = await running;
  tell({ kind: 'ready', addresses });
}

/** Each spell of work closes the sockets that it was given; ours stay for the next. */
function duplicates(sockets: readonly HandedSocket[], binder: SocketBinder | null): HandedSockets {
  if (binder === null) return new HandedSockets([]);
  return new HandedSockets(sockets.map((each) => ({ ...each, fd: binder.duplicate(each.fd) })));
}

async function letGo(): Promise<void> {
  const program = await running;
  running = null;
  await program?.handOver();
}

/** A program that is still starting is not waited for: nothing has been acknowledged yet. */
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  const program = await Promise.race([running, null]);
  await program?.stop();
  process.exit(EXIT.ok);
}

function fail(error: unknown): void {
  stopping = true;
  tell({ kind: 'failed', message: startFailure(error) }, () => process.exit(EXIT.failed));
}

/** A supervisor that is gone is noticed by 'disconnect'. */
function tell(report: Report, sent: () => void = () => undefined): void {
  process.send?.(report, sent);
}
