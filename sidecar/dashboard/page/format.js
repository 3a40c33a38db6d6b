/** Numbers, times and names as the page has them. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** @returns "0", "0.4", "12", "1,234"; "–" for what is not known */
export function count(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return value !== 0 && Math.abs(value) < 10 ? tenths.format(value) : whole.format(value);
}

/** @returns "1 recipient", "2 recipients" */
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;

/** @param share 0 to 1. @returns "97.3 %"; never 100 % of what is not all */
export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return '–';
  if (share === 1 || share === 0) return `${share * 100} %`;
  return `${Math.min(99.9, share * 100).toFixed(1)} %`;
}

/** @returns "5 s", "3 min", "4 h", "2 d" */
export function age(ms) {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3600)} h`
    : `${Math.round(seconds / 86_400)} d`;
}

export function bytes(octets) {
  return octets < 1_048_576 ? `${count(octets / 1024)} KiB` : `${count(octets / 1_048_576)} MiB`;
}

const clock = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

/** @returns "14:03:59" in the time zone of whoever looks */
export const timeOfDay = (atMs) => clock.format(new Date(atMs));

/** The alias of a site without its check: "mx1.example.net+2". */
export const siteName = (alias) => alias.replace(/~[0-9a-z]{4}$/, '');

export const sitePath = (alias) => `#/site/${encodeURIComponent(alias)}`;
export const findPath = (sought) => `#/find/${encodeURIComponent(sought)}`;

/** Domains as DNS writes them end in a dot; people's do not. */
export const bare = (domain) => (domain.length > 1 ? domain.replace(/\.$/, '') : domain);

/** Text of strangers may hold what a screen obeys: it is shown as what it is. */
export const visible = (text) => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, '·');
