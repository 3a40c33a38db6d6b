/**
 * Domain names on the wire (RFC 1035 §3.1, §4.1.4) and as text (§5.1, RFC 4343 §2.1).
 *
 * Names are binary: any octet may stand in a label, and only A-Z fold to a-z. Invariants of
 * everything that follows pointers: each pointer leads to a smaller offset than the run of labels it
 * ends, never into the header, at most POINTER_HOPS_MAX times, and the name expanded is at most
 * NAME_OCTETS_MAX octets. So nothing here loops, and nothing reads past the message.
 */
import {
  HEADER_OCTETS,
  LABEL_OCTETS_MAX,
  NAME_OCTETS_MAX,
  POINTER_HOPS_MAX,
  POINTER_TAG,
} from './constants.ts';

/** What can be wrong with octets. Negative, so that a function may return an offset or a fault. */
export const WireFault = {
  /** The message ends before the thing does. */
  truncated: -1,
  /** A length octet of 64 to 191 (RFC 6891 §5: extended labels are gone). */
  reservedLabel: -2,
  /** More than NAME_OCTETS_MAX octets when expanded. */
  nameTooLong: -3,
  /** A pointer forward, to itself, into the header, or where none may stand. */
  badPointer: -4,
  /** More than POINTER_HOPS_MAX pointers in one name. */
  tooManyPointers: -5,
  /** RDATA is not what its type demands. */
  badRdata: -6,
  /** The counts of the header exceed what a message can hold, or what its kind may. */
  badCounts: -7,
  /** Text is no domain name: empty label, label too long, bad escape, octet outside ASCII. */
  badText: -8,
} as const;

export type WireFault = (typeof WireFault)[keyof typeof WireFault];

export type WireFaultName = keyof typeof WireFault;

/** For logs and metrics: 'truncated', 'badPointer' … */
export const faultName = (fault: number): WireFaultName | 'unknown' =>
  (Object.keys(WireFault) as WireFaultName[]).find((name) => WireFault[name] === fault) ??
  'unknown';

/** The root, as name on the wire. */
export const ROOT_NAME: Readonly<Uint8Array> = new Uint8Array(1);

/** A-Z to a-z, every other octet itself (RFC 4343 §3). */
const LOWER = Uint8Array.from({ length: 256 }, (_, octet) =>
  octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet,
);

/** Where one expanded name is assembled. */
const scratch = new Uint8Array(NAME_OCTETS_MAX);

/**
 * Where text is assembled, at most four characters an octet. Strings are made in one piece from here:
 * one that grows by concatenation stays a rope of 32 octets a character for as long as it is kept.
 */
const textScratch = Buffer.alloc(4 * NAME_OCTETS_MAX);

/** The octet folded to lower case. */
export const lowerOctet = (octet: number): number => LOWER[octet]!;

/**
 * Steps over one encoded name without following pointers.
 *
 * @param message whole datagram; borrowed, never copied
 * @param offset  octet index of the first length octet
 * @returns octet index past the name, or a negative WireFault
 */
export function skipName(message: Uint8Array, offset: number): number {
  const end = offset + NAME_OCTETS_MAX;
  const limit = Math.min(end, message.length);
  let at = offset;
  while (at < limit) {
    const length = message[at]!;
    if (length === 0) return at + 1;
    if (length >= POINTER_TAG) return at + 2 <= message.length ? at + 2 : WireFault.truncated;
    if (length > LABEL_OCTETS_MAX) return WireFault.reservedLabel;
    at += 1 + length;
  }
  return limit < end ? WireFault.truncated : WireFault.nameTooLong;
}

/**
 * Expands a name into `into` as written, case kept.
 *
 * @param into at least NAME_OCTETS_MAX octets
 * @returns octets written, 1 to NAME_OCTETS_MAX, or a negative WireFault
 */
export function expandName(message: Uint8Array, offset: number, into: Uint8Array): number {
  let at = offset;
  // Every pointer must lead below where its run of labels began.
  let runStart = offset;
  let written = 0;
  let hops = 0;
  while (at < message.length) {
    const length = message[at]!;
    if (length === 0) {
      into[written] = 0;
      return written + 1;
    }
    if (length >= POINTER_TAG) {
      if (at + 1 >= message.length) return WireFault.truncated;
      const target = ((length & 0x3f) << 8) | message[at + 1]!;
      if (target >= runStart || target < HEADER_OCTETS) return WireFault.badPointer;
      hops += 1;
      if (hops > POINTER_HOPS_MAX) return WireFault.tooManyPointers;
      at = target;
      runStart = target;
      continue;
    }
    if (length > LABEL_OCTETS_MAX) return WireFault.reservedLabel;
    // One octet is left for the root.
    if (written + 1 + length >= NAME_OCTETS_MAX) return WireFault.nameTooLong;
    const next = at + 1 + length;
    if (next > message.length) return WireFault.truncated;
    for (; at < next; at += 1) into[written++] = message[at]!;
  }
  return WireFault.truncated;
}

/** As {@link skipName}, but expands the name too, so that pointers and length are known to be sound. */
export function checkName(message: Uint8Array, offset: number): number {
  const expanded = expandName(message, offset, scratch);
  return expanded < 0 ? expanded : skipName(message, offset);
}

/** @returns the name as octets of its own, uncompressed, case kept; or a negative WireFault */
export function copyName(message: Uint8Array, offset: number): Uint8Array | WireFault {
  const octets = expandName(message, offset, scratch);
  return octets < 0 ? (octets as WireFault) : scratch.slice(0, octets);
}

/**
 * The identity of a name: its uncompressed wire form in lower case, one character an octet (latin1).
 * Injective: names are equal exactly when their keys are.
 *
 * @returns the key, 1 to NAME_OCTETS_MAX characters, or a negative WireFault
 */
export function nameKey(message: Uint8Array, offset: number): string | WireFault {
  const octets = expandName(message, offset, scratch);
  if (octets < 0) return octets as WireFault;
  for (let at = 0; at < octets; at += 1) textScratch[at] = LOWER[scratch[at]!]!;
  return textScratch.toString('latin1', 0, octets);
}

/** @returns the key as name on the wire again, lower case */
export function keyToName(key: string): Uint8Array {
  const name = new Uint8Array(key.length);
  for (let at = 0; at < key.length; at += 1) name[at] = key.charCodeAt(at);
  return name;
}

/**
 * Whether two names are the same but for case (RFC 4343 §3), compressed or not.
 * A faulty name equals nothing.
 */
export function equalNames(
  left: Uint8Array,
  leftOffset: number,
  right: Uint8Array,
  rightOffset: number,
): boolean {
  const octets = expandName(left, leftOffset, scratch);
  return octets > 0 && matchesExpanded(right, rightOffset, octets);
}

/** Walks `message` beside the name in `scratch`; the length bound is that of the scratch name. */
function matchesExpanded(message: Uint8Array, offset: number, octets: number): boolean {
  let at = offset;
  let runStart = offset;
  let hops = 0;
  let matched = 0;
  while (at < message.length && matched < octets) {
    const length = message[at]!;
    if (length >= POINTER_TAG) {
      if (at + 1 >= message.length) return false;
      const target = ((length & 0x3f) << 8) | message[at + 1]!;
      hops += 1;
      if (target >= runStart || target < HEADER_OCTETS || hops > POINTER_HOPS_MAX) return false;
      at = target;
      runStart = target;
      continue;
    }
    if (length !== scratch[matched]) return false;
    if (length === 0) return true;
    const next = at + 1 + length;
    if (next > message.length) return false;
    for (at += 1, matched += 1; at < next; at += 1, matched += 1) {
      if (LOWER[message[at]!] !== LOWER[scratch[matched]!]) return false;
    }
  }
  return false;
}

/**
 * A name as people read it: "a.example." with \. \\ and the like before special characters and
 * \DDD for what is not printable ASCII (RFC 1035 §5.1, RFC 4343 §2.1). The root is ".".
 */
export function nameToText(message: Uint8Array, offset: number): string | WireFault {
  const octets = expandName(message, offset, scratch);
  if (octets < 0) return octets as WireFault;
  if (octets === 1) return '.';
  let written = 0;
  for (let at = 0; scratch[at] !== 0; ) {
    const next = at + 1 + scratch[at]!;
    for (at += 1; at < next; at += 1) written = appendOctetText(scratch[at]!, written);
    textScratch[written++] = DOT;
  }
  return textScratch.toString('latin1', 0, written);
}

const DOT = 0x2e;
const BACKSLASH = 0x5c;
const DIGIT_ZERO = 0x30;
/** Characters that a zone file gives meaning: " $ ( ) . ; @ \ */
const SPECIAL = new Set([0x22, 0x24, 0x28, 0x29, DOT, 0x3b, 0x40, BACKSLASH]);

/** Appends one octet of a label to `textScratch`, escaped if need be. @returns the offset past it */
function appendOctetText(octet: number, offset: number): number {
  let at = offset;
  if (octet <= 0x20 || octet >= 0x7f) {
    textScratch[at++] = BACKSLASH;
    textScratch[at++] = DIGIT_ZERO + Math.floor(octet / 100);
    textScratch[at++] = DIGIT_ZERO + (Math.floor(octet / 10) % 10);
    textScratch[at++] = DIGIT_ZERO + (octet % 10);
    return at;
  }
  if (SPECIAL.has(octet)) textScratch[at++] = BACKSLASH;
  textScratch[at++] = octet;
  return at;
}

/** What may follow a backslash: three digits, or one printable character that is no digit. */
const ESCAPE = /^(?:\d{3}|[\x20-\x2f\x3a-\x7e])/;

/**
 * The inverse of {@link nameToText}. The final dot may be left out; every name is absolute.
 *
 * @param text ASCII; internationalised names come here as A-labels (RFC 5891)
 * @returns the name uncompressed, case kept; or WireFault.badText or .nameTooLong
 */
export function textToName(text: string): Uint8Array | WireFault {
  if (text === '.') return new Uint8Array(1);
  const name = new Uint8Array(NAME_OCTETS_MAX);
  let lengthAt = 0;
  let written = 1;
  let at = 0;
  while (at < text.length) {
    let octet = text.charCodeAt(at);
    at += 1;
    if (octet === DOT) {
      if (written - lengthAt === 1) return WireFault.badText;
      name[lengthAt] = written - lengthAt - 1;
      lengthAt = written;
      written += 1;
      continue;
    }
    if (octet === BACKSLASH) {
      const sequence = ESCAPE.exec(text.slice(at, at + 3))?.[0];
      if (sequence === undefined) return WireFault.badText;
      octet = sequence.length === 3 ? Number(sequence) : sequence.charCodeAt(0);
      at += sequence.length;
      if (octet > 0xff) return WireFault.badText;
    } else if (octet < 0x21 || octet > 0x7e) {
      return WireFault.badText;
    }
    if (written - lengthAt > LABEL_OCTETS_MAX) return WireFault.badText;
    if (written >= NAME_OCTETS_MAX - 1) return WireFault.nameTooLong;
    name[written++] = octet;
  }
  if (written === 1) return WireFault.badText;
  // Without a final dot the last label is still open; with one, its length octet is the root.
  if (written - lengthAt > 1) {
    name[lengthAt] = written - lengthAt - 1;
    lengthAt = written;
    written += 1;
  }
  return name.slice(0, written);
}
