/** Reads what a program says of itself at /metrics (Prometheus text format 0.0.4). */

const FETCH_TIMEOUT_MS = 10_000;

export class Metrics {
  readonly #samples: { readonly name: string; readonly labels: string; readonly value: number }[] =
    [];

  constructor(text: string) {
    for (const line of text.split('\n')) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
      if (match === null) continue;
      this.#samples.push({ name: match[1]!, labels: match[2] ?? '', value: Number(match[3]) });
    }
  }

  /**
   * The sum of a series over all labels, or over those that match `labels`.
   * @returns 0 when there is no such sample: a counter that never counted
   */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    let sum = 0;
    for (const sample of this.#samples) {
      if (sample.name === name && wanted.every((text) => sample.labels.split(',').includes(text))) {
        sum += sample.value;
      }
    }
    return sum;
  }
}

/** @param base such as "http://127.0.0.1:8053" */
export async function readMetrics(base: string): Promise<Metrics> {
  const response = await fetch(`${base}/metrics`, {
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`${base}/metrics answered ${response.status}`);
  return new Metrics(await response.text());
}
