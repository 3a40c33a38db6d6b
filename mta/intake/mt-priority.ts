/** MT-PRIORITY (RFC 6710): nineteen levels, of which we tell three classes apart. */
import type { Priority } from '../envelope.ts';

/** RFC 6710 §4: "-9" to "9". */
const LEVEL = /^(?:-[1-9]|[0-9])$/;
/** From here on somebody waits for it: RFC 6710 appendix A gives 4 and more to what is "immediate" and beyond. */
const URGENT_FROM = 4;

/** @returns the class, or null when the value is no level */
export function readPriority(value: string): Priority | null {
  if (!LEVEL.test(value)) return null;
  const level = Number(value);
  if (level >= URGENT_FROM) return 'urgent';
  return level < 0 ? 'bulk' : 'normal';
}
