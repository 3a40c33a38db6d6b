/** Logs: one JSON object a line on standard error, so that standard output stays for people and pipes. */
import { destination, type Logger, pino } from 'pino';
import type { LogLevel } from './config/schema.ts';

const STDERR = 2;

/** @param program stands in every line, since programs share one standard error under `up` */
export function createLog(program: string, level: LogLevel): Logger {
  return pino(
    {
      level,
      base: { program },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ fd: STDERR, sync: true }),
  );
}
