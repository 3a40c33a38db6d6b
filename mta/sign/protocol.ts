/** What the mta's thread and a signing thread say to each other. */
import type { Signing, SigningKey } from './dkim.ts';

/** Sorted out by domain; KeyObjects are shared between threads, not copied. */
export type Keys = readonly (readonly [domain: string, keys: readonly SigningKey[]])[];

export interface Job {
  readonly content: Uint8Array;
  readonly reversePathDomain: string;
}

export type Order =
  | { readonly kind: 'keys'; readonly keys: Keys }
  | { readonly kind: 'batch'; readonly seconds: number; readonly jobs: readonly Job[] };

/** One for each batch, in the order of batches; results in the order of jobs. */
export type Results = readonly Signing[];
