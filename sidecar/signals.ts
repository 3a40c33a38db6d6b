/** Stopping by signal: once is a request, twice is an order. SIGHUP may mean to read the configuration. */

/**
 * Under npm one Ctrl-C arrives twice, from the terminal and from npm, which passes it on; a person
 * who means it takes longer than this.
 */
const IMPATIENCE_MS_MIN = 500;
const EXIT_INTERRUPTED = 130;

/**
 * @param kill called at a second signal, just before the process exits with code 130
 * @param onHangup called at each SIGHUP; without it SIGHUP stops, as when a terminal closes
 * @returns resolves at the first SIGINT, SIGTERM, or SIGHUP of a closed terminal
 */
export function stopSignal(
  kill: () => void,
  onHangup: (() => void) | null = null,
): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAtMs: number | null = null;
    const onSignal = (signal: NodeJS.Signals) => {
      if (firstAtMs === null) {
        firstAtMs = performance.now();
        resolve(signal);
      } else if (performance.now() - firstAtMs >= IMPATIENCE_MS_MIN) {
        kill();
        process.exit(EXIT_INTERRUPTED);
      }
    };
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal);
    process.on('SIGHUP', onHangup ?? onSignal);
  });
}

/** What SIGHUP is for: under a terminal it says that this has closed; else an operator means us. */
export const hangupReloads = (): boolean => process.stdin.isTTY !== true;
