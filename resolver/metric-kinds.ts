/** Series that are read from plain numbers when somebody scrapes. */
import { Counter, Gauge, type Registry } from 'prom-client';

/** One sample of a series: label values in the order of the labels' names, and the number. */
export type Sample = readonly [labels: readonly string[], value: number];

export function addCounter(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly string[],
  read: () => readonly Sample[],
): void {
  const counter: Counter = new Counter({
    name: `postilion_dns_${name}_total`,
    help,
    labelNames,
    registers: [registry],
    collect: () => {
      counter.reset();
      for (const [labels, value] of read()) counter.labels(...labels).inc(value);
    },
  });
}

export function addGauge(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly string[],
  read: () => readonly Sample[],
): void {
  const gauge: Gauge = new Gauge({
    name: `postilion_dns_${name}`,
    help,
    labelNames,
    registers: [registry],
    collect: () => {
      gauge.reset();
      for (const [labels, value] of read()) gauge.labels(...labels).set(value);
    },
  });
}
