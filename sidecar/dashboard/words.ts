/** Numbers and times as sentences have them. */

/** @returns "0", "0.4", "12", "1,234" */
export function countText(value: number): string {
  const digits = value > 0 && value < 10 ? 1 : 0;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

/** @param share 0 to 1. @returns "97 %"; never 100 % of what is not all */
export function shareText(share: number): string {
  const percent = share * 100;
  if (percent > 99 && percent < 100) return `${(Math.floor(percent * 10) / 10).toFixed(1)} %`;
  return `${percent.toFixed(0)} %`;
}

/** @returns "5 s", "3 min", "4 h", "2 d" */
export function ageText(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6_000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3_600)} h`
    : `${Math.round(seconds / 86_400)} d`;
}

/** @returns "1 recipient", "2 recipients" */
export const plural = (count: number, noun: string): string =>
  `${countText(count)} ${noun}${count === 1 ? '' : 's'}`;

/** Ends what others wrote as a sentence. */
export const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
