/** Values of fields that reports have in common: addresses, hosts, instants, texts. All of it is untrusted. */
import { fieldText } from '../mime.ts';

const ADDRESS_MAX = 320;
const TEXT_MAX = 2_000;
const NAME_MAX = 255;

/** One printable line, bounded; null where there is nothing. */
export function textOf(value: string | null, charactersMax = TEXT_MAX): string | null {
  const text = value === null ? '' : fieldText(value, charactersMax);
  return text === '' ? null : text;
}

/** Anything with an "@" and nothing that could be taken for more than one address. */
const ADDRESS = /^[^\s<>@,;:"]+@[^\s<>@,;:"]+$|^"[^"<>\r\n]{1,62}"@[^\s<>@,;:"]+$/;

/** @returns local-part@domain of "<a@b>" or "a@b", or null */
export function addressOf(value: string | null): string | null {
  const text = value?.trim().slice(0, ADDRESS_MAX + 2) ?? '';
  const bare = /^<(.*)>$/.exec(text)?.[1] ?? text;
  return bare.length <= ADDRESS_MAX && ADDRESS.test(bare) ? bare : null;
}

/**
 * "rfc822; a@b" (RFC 3464 §2.1.2), or of type utf-8 with "\x{…}" for what is not ASCII (RFC 6533 §3).
 * @returns the address, or null when it is of another type
 */
export function typedAddressOf(value: string | null): string | null {
  const [, type, address] = /^([a-z0-9-]{1,32})\s*;(.*)$/is.exec(value ?? '') ?? [];
  if (address === undefined) return addressOf(value);
  if (/^rfc822$/i.test(type!)) return addressOf(address);
  if (!/^utf-8$/i.test(type!)) return null;
  return addressOf(
    address.replaceAll(/\\x\{([0-9a-f]{1,6})\}/gi, (all, hex: string) => {
      const point = Number.parseInt(hex, 16);
      return point <= 0x10_ffff ? String.fromCodePoint(point) : all;
    }),
  );
}

/** "dns; mx.example.net" → "mx.example.net". */
export function hostOf(value: string | null): string | null {
  const name = value?.replace(/^[a-z0-9-]{1,32}\s*;/i, '') ?? null;
  return textOf(name, NAME_MAX);
}

/** Addresses of From, To and their like, at most so many; names and comments left out. */
export function addressesOf(value: string | null, addressesMax: number): string[] {
  const found: string[] = [];
  const PLAUSIBLE = /[^\s<>@,;:"()[\]]{1,64}@[^\s<>@,;:"()]{1,255}/g;
  for (const [address] of (value ?? '').matchAll(PLAUSIBLE)) {
    if (found.length === addressesMax) break;
    found.push(address);
  }
  return found;
}

/** Wall ms of a date such as "Tue, 24 Nov 2026 07:40:00 +0000", or null. */
export function instantOf(value: string | null): number | null {
  const atMs =
    value === null ? Number.NaN : Date.parse(value.replace(/\([^)]*\)/g, '').slice(0, 60));
  return Number.isFinite(atMs) && atMs > 0 ? atMs : null;
}

/** A message id in its angle brackets, or null. */
export const messageIdOf = (value: string | null): string | null =>
  /<[^<>\s]{1,250}>/.exec(value ?? '')?.[0] ?? null;
