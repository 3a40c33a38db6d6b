/** The few numbers that people look at first, added up from the metrics. */
import type { Registry } from 'prom-client';

/** Series of one metric, by the values of one label. */
export type Shares = Readonly<Record<string, number>>;

export class Figures {
  readonly #metrics: ReadonlyMap<string, readonly Sample[]>;

  private constructor(metrics: ReadonlyMap<string, readonly Sample[]>) {
    this.#metrics = metrics;
  }

  /** @param names of those that are needed: only they are read */
  static async of(registry: Registry, names: readonly string[]): Promise<Figures> {
    const metrics = new Map<string, readonly Sample[]>();
    for (const name of names) {
      const metric = await registry.getSingleMetric(name)?.get();
      if (metric !== undefined) metrics.set(name, metric.values as readonly Sample[]);
    }
    return new Figures(metrics);
  }

  /** @returns the sum of every series; 0 when the metric is not there */
  total(name: string): number {
    return this.#samples(name).reduce((sum, { value }) => sum + value, 0);
  }

  by(label: string, name: string): Shares {
    const shares: Record<string, number> = Object.create(null);
    for (const { labels, value } of this.#samples(name)) {
      const key = String(labels[label] ?? '');
      shares[key] = (shares[key] ?? 0) + value;
    }
    return shares;
  }

  #samples(name: string): readonly Sample[] {
    return this.#metrics.get(name) ?? [];
  }
}

interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number | undefined>>;
}
