/** Finds out what an upgrade is to start: the version on the disk, and what it makes of the configuration. */
import type { Clock } from '../runtime/clock.ts';
import type { LoadRequest } from './config/load.ts';
import { Process, StartFailed } from './process.ts';
import type { Plan, ProgramName } from './protocol.ts';
import { type Release, releaseAt } from './release.ts';
import type { SocketShelf } from './shelf.ts';
import type { Succession } from './upgrade.ts';

const PLAN_TIMEOUT_MS = 30_000;
/** In the order of stopping. */
const ORDER: readonly ProgramName[] = ['mta', 'resolver'];

/** @returns what to start by a plan, on sockets of the shelf */
export function specsOf(
  plan: Plan,
  release: Release,
  { request, shelf }: { readonly request: LoadRequest; readonly shelf: SocketShelf },
): Pick<Succession, 'specs' | 'settle'> {
  const handed = shelf.provide(plan);
  const specs = ORDER.map((name) => ({
    ...release,
    name,
    raw: plan.raw,
    request,
    sockets: handed[name],
    stopTimeoutMs: plan.programs[name].stopTimeoutMs,
    // Two mtas cannot have one spool.
    overlaps: name === 'resolver',
  }));
  return { specs, settle: (taken) => shelf.settle(taken ? handed : null) };
}

/**
 * @param entry as the command line of `up` has it
 * @throws StartFailed when the version on the disk cannot run, or finds fault with the configuration
 */
export async function succeed(
  entry: string,
  request: LoadRequest,
  { shelf, clock }: { readonly shelf: SocketShelf; readonly clock: Clock },
): Promise<Succession> {
  if (!shelf.works) {
    throw new StartFailed('sockets cannot be handed over on this system; restart it instead');
  }
  const release = releaseOnDisk(entry);
  const planner = new Process({ ...release, name: 'plan', raw: {}, request });
  const late = clock.after(PLAN_TIMEOUT_MS, () => planner.kill('SIGKILL'));
  try {
    const { plan } = await planner.report('plan');
    return {
      version: plan.version,
      ...plan.upgrade,
      ...specsOf(plan, release, { request, shelf }),
    };
  } finally {
    late.cancel();
    planner.kill('SIGTERM');
  }
}

function releaseOnDisk(entry: string): Release {
  try {
    return releaseAt(entry);
  } catch (error) {
    throw new StartFailed(`${entry}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
