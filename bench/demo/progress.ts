/** Progress on standard error: one line drawn over and over on a terminal, a line now and then elsewhere. */

const BAR_CELLS = 32;
const TERMINAL_EVERY_MS = 100;
const LOG_EVERY_MS = 5_000;

export interface Progress {
  /** @param text what stands behind the bar; drawn only when it is time again */
  update(done: number, total: number, text: string): void;
  /** Leaves the line as it is and goes to the next. */
  end(): void;
}

export function createProgress(stream: NodeJS.WriteStream): Progress {
  const everyMs = stream.isTTY ? TERMINAL_EVERY_MS : LOG_EVERY_MS;
  let drawnAtMs = Number.NEGATIVE_INFINITY;
  let drawn = false;
  return {
    update(done, total, text) {
      const nowMs = performance.now();
      if (nowMs - drawnAtMs < everyMs && done < total) return;
      drawnAtMs = nowMs;
      drawn = true;
      const share = total === 0 ? 1 : done / total;
      const percent = `${String(Math.floor(share * 100)).padStart(3)} %`;
      if (!stream.isTTY) {
        stream.write(`${percent}  ${text}\n`);
        return;
      }
      const full = Math.floor(share * BAR_CELLS);
      const line = `${'█'.repeat(full)}${'░'.repeat(BAR_CELLS - full)} ${percent}  ${text}`;
      stream.write(`\r${line.slice(0, (stream.columns ?? 80) - 1)}\x1b[K`);
    },
    end() {
      if (drawn && stream.isTTY) stream.write('\n');
    },
  };
}
