/**
 * Threads of this process, each of which runs a TypeScript module.
 *
 * Node strips the types in every thread anew, with WebAssembly. After 1,000 calls out of it V8 puts a
 * faster wrapper in the place of the general one, and frees what nobody uses any longer while other
 * threads look for the same: that ended about one process in a thousand with SIGSEGV or SIGTRAP.
 * The general wrapper stays instead (docs/decisions/0023).
 */
import { setFlagsFromString } from 'node:v8';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/** For command lines of processes that start threads: it holds from their first module on. */
export const KEEP_WRAPPERS = '--wasm-wrapper-tiering-budget=2147483647';

setFlagsFromString(KEEP_WRAPPERS);

export const startThread = (module: URL, options: WorkerOptions): Worker =>
  new Worker(module, options);
