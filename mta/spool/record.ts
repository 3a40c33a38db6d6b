/**
 * The record: one entry of the log that the segments are, such as a message or an outcome.
 *
 *   0  u32 magic            4  u32 CRC-32 of octets 8 to 47, begun with the segment's salt
 *   8  u32 kind            12  u32 octets of meta        16  u32 octets of content
 *  20  u32 CRC-32 of meta  24  u32 CRC-32 of content     28  u32 octets since the batch began
 *  32  f64 id              40  f64 0
 *  48  meta (JSON), content, zeros up to a multiple of 8
 *
 * Little-endian throughout.
 *
 * Invariants
 * - A record begins at a multiple of RECORD_ALIGNMENT, so that the next one is found behind a damaged one.
 * - The salt is of the segment and nobody outside knows it: content that looks like a record is none.
 */
import { crc32 } from 'node:zlib';
import type { MessageId } from '../envelope.ts';

export const RecordKind = {
  /** Its submitter was refused. */
  nothing: 0,
  /** A message that gets rows in the index at once. */
  queued: 1,
  /** A message that its submitter has taken up as it came: it gets rows when its first attempt fails. */
  handed: 2,
  /** What has become of some recipients, and the notices that this caused. */
  outcome: 3,
  /** Content of a message, copied here so that its segment can go. */
  moved: 4,
} as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

export const RECORD_ALIGNMENT = 8;
export const HEADER_OCTETS = 48;
/** "PsRc" */
const MAGIC = 0x6352_7350;
const SEALED_FROM = 8;

export interface RecordHeader {
  readonly kind: number;
  readonly metaOctets: number;
  readonly contentOctets: number;
  readonly metaCrc: number;
  readonly contentCrc: number;
  /** Octets between the beginning of its batch, which was synced as a whole, and its own. */
  readonly sinceBatch: number;
  readonly id: MessageId;
}

/** Octets from the beginning of a record to the next. */
export const recordOctets = (metaOctets: number, contentOctets: number): number =>
  Math.ceil((HEADER_OCTETS + metaOctets + contentOctets) / RECORD_ALIGNMENT) * RECORD_ALIGNMENT;

/** Writes a header at `at`; magic last in meaning, first in place. */
export function writeHeader(buffer: Buffer, at: number, header: RecordHeader, salt: number): void {
  buffer.writeUInt32LE(MAGIC, at);
  buffer.writeUInt32LE(header.kind, at + 8);
  buffer.writeUInt32LE(header.metaOctets, at + 12);
  buffer.writeUInt32LE(header.contentOctets, at + 16);
  buffer.writeUInt32LE(header.metaCrc, at + 20);
  buffer.writeUInt32LE(header.contentCrc, at + 24);
  buffer.writeUInt32LE(header.sinceBatch, at + 28);
  buffer.writeDoubleLE(header.id, at + 32);
  buffer.writeDoubleLE(0, at + 40);
  buffer.writeUInt32LE(crc32(buffer.subarray(at + SEALED_FROM, at + HEADER_OCTETS), salt), at + 4);
}

/** @returns null where no sound header stands at `at` */
export function readHeader(buffer: Buffer, at: number, salt: number): RecordHeader | null {
  if (at + HEADER_OCTETS > buffer.length || buffer.readUInt32LE(at) !== MAGIC) return null;
  const sealed = buffer.subarray(at + SEALED_FROM, at + HEADER_OCTETS);
  if (crc32(sealed, salt) !== buffer.readUInt32LE(at + 4)) return null;
  return {
    kind: buffer.readUInt32LE(at + 8),
    metaOctets: buffer.readUInt32LE(at + 12),
    contentOctets: buffer.readUInt32LE(at + 16),
    metaCrc: buffer.readUInt32LE(at + 20),
    contentCrc: buffer.readUInt32LE(at + 24),
    sinceBatch: buffer.readUInt32LE(at + 28),
    id: buffer.readDoubleLE(at + 32),
  };
}

/** @returns where the next sound header stands at or behind `from`; the buffer's length where none does */
export function findHeader(buffer: Buffer, from: number, salt: number): number {
  const first = Math.ceil(from / RECORD_ALIGNMENT) * RECORD_ALIGNMENT;
  for (let at = first; at + HEADER_OCTETS <= buffer.length; at += RECORD_ALIGNMENT) {
    if (buffer.readUInt32LE(at) === MAGIC && readHeader(buffer, at, salt) !== null) return at;
  }
  return buffer.length;
}
