/**
 * Reading the log again after a start: what the index has not heard of is brought to it, and what was
 * handed to a process that is gone gets its rows.
 *
 * Damage costs what it touched: a record that cannot be read is copied to quarantine, and reading goes on
 * with the next sound one. Only the last batch of a log may be unfinished: nobody was told that it is
 * kept, so what cannot be read of it, or has not its content, is passed over, and what can be is kept.
 */
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { MessageId } from '../envelope.ts';
import type { Meta } from './draft.ts';
import { quarantineFolder, syncFolder } from './folder.ts';
import type { Journal, Outcome } from './journal.ts';
import { placeNotices } from './notices.ts';
import type { Incident } from './protocol.ts';
import { findHeader, HEADER_OCTETS, RecordKind, readHeader, recordOctets } from './record.ts';
import { SEGMENT_HEAD_OCTETS, type SegmentFile, type SegmentId } from './segment-file.ts';
import { isBefore, type Place, type Segments } from './segments.ts';

/** Read at a time in search of the end. */
const PART_OCTETS = 1_048_576;
const SECTOR_OCTETS = 512;
/** Compared at a time. */
const ZEROS = Buffer.alloc(4096);

export interface Replay {
  readonly folder: string;
  readonly segments: Segments;
  readonly journal: Journal;
  /** Where the log is read from, and up to where the index has heard of it. */
  readonly low: Place;
  readonly applied: Place;
  /** A segment has been read to its end, and another one follows at `next`. */
  onRead(next: Place): void;
  report(incident: Incident): void;
}

/** @returns the last id that the log gives. @throws the system's error, for what may pass */
export function replay(context: Replay): MessageId {
  const { segments, low } = context;
  let lastId = 0;
  const ids = segments.from(low.segment);
  const last = ids.findLast((id) => segments.file(id) !== null);
  for (const id of ids) {
    const from = Math.max(id === low.segment ? low.at : 0, SEGMENT_HEAD_OCTETS);
    lastId = Math.max(lastId, replaySegment(context, { id, from, isLast: id === last }));
    if (id !== ids.at(-1)) context.onRead({ segment: id + 1, at: 0 });
  }
  return lastId;
}

interface Part {
  readonly id: SegmentId;
  /** Octet of the file. */
  readonly from: number;
  readonly isLast: boolean;
}

function replaySegment(context: Replay, { id: segment, from, isLast }: Part): MessageId {
  const file = context.segments.file(segment);
  if (file === null && !context.segments.isWanted(segment)) return 0;
  if (file === null) {
    context.report({
      level: 'error',
      fields: { segment },
      message: 'a segment of the spool is missing, or is none any more',
    });
    return 0;
  }
  const size = file.end - from;
  const written = writtenIn(file, from);
  // A header may end in zeros; contents that do are not looked at here.
  const octets = Buffer.allocUnsafeSlow(Math.max(0, Math.min(size, written + HEADER_OCTETS)));
  const buffer = octets.subarray(0, file.read(octets, 0, octets.length, from));
  let lastId = 0;
  let at = 0;
  while (at < written) {
    const header = readHeader(buffer, at, file.salt);
    const next = header === null ? -1 : at + recordOctets(header.metaOctets, header.contentOctets);
    const part = { buffer, at, segment, from, salt: file.salt };
    if (header === null || next > size || !isMetaSound(buffer, at, header)) {
      const end = findHeader(buffer, at + 1, file.salt);
      if (!isLast || isAcknowledged(context, part)) {
        salvage(context, segment, from + at, buffer.subarray(at, Math.min(end, written)));
      }
      at = end;
      continue;
    }
    const metaAt = at + HEADER_OCTETS;
    const record = { segment, at: from + at };
    const contentAt = record.at + HEADER_OCTETS + header.metaOctets;
    lastId = Math.max(lastId, header.id);
    if (
      !isLast ||
      isBefore(record, context.applied) ||
      !isUnwritten(file, contentAt, header) ||
      isAcknowledged(context, part)
    ) {
      const meta = buffer.toString('utf8', metaAt, metaAt + header.metaOctets);
      lastId = Math.max(lastId, take(context, record, { ...header, meta }));
    }
    at = next;
  }
  if (isLast && at < size) context.segments.cutOff({ segment, at: from + at });
  return lastId;
}
/**
 * Whether the content is not what its checksum says, and a sector of it is zeros, as nobody has written it.
 * One that has merely changed is kept, and told of when its turn comes.
 */
function isUnwritten(
  file: SegmentFile,
  at: number,
  { contentOctets, contentCrc }: { readonly contentOctets: number; readonly contentCrc: number },
): boolean {
  const content = Buffer.allocUnsafe(contentOctets);
  file.read(content, 0, contentOctets, at);
  if (crc32(content) === contentCrc) return false;
  for (let from = 0; from < contentOctets; ) {
    const end = from + SECTOR_OCTETS - ((at + from) % SECTOR_OCTETS);
    if (writtenOctets(content.subarray(from, end)) === 0) return true;
    from = end;
  }
  return false;
}

/** @returns octets from there on before the zeros at the end, which are what nobody has come to write */
function writtenIn(file: SegmentFile, from: number): number {
  const part = Buffer.allocUnsafe(PART_OCTETS);
  for (let end = file.end; end > from; ) {
    const start = Math.max(from, end - PART_OCTETS);
    const got = file.read(part, 0, end - start, start);
    const written = writtenOctets(part.subarray(0, got));
    if (written > 0) return start + written - from;
    end = start;
  }
  return 0;
}

/** @returns octets before the zeros at the end */
function writtenOctets(buffer: Buffer): number {
  let end = buffer.length;
  while (end % ZEROS.length > 0 && buffer[end - 1] === 0) end -= 1;
  if (end % ZEROS.length > 0) return end;
  while (end > 0 && ZEROS.compare(buffer, end - ZEROS.length, end) === 0) end -= ZEROS.length;
  while (end > 0 && buffer[end - 1] === 0) end -= 1;
  return end;
}

/** Whether what cannot be read belongs to a batch whose sync was waited for: another one was begun after it. */
function isAcknowledged(
  { applied }: Replay,
  {
    buffer,
    at,
    segment,
    from,
    salt,
  }: {
    readonly buffer: Buffer;
    readonly at: number;
    readonly segment: SegmentId;
    readonly from: number;
    readonly salt: number;
  },
): boolean {
  if (isBefore({ segment, at: from + at }, applied)) return true;
  for (let next = findHeader(buffer, at + 1, salt); next < buffer.length; ) {
    if (next - readHeader(buffer, next, salt)!.sinceBatch > at) return true;
    next = findHeader(buffer, next + 1, salt);
  }
  return false;
}

const isMetaSound = (
  buffer: Buffer,
  at: number,
  { metaOctets, metaCrc }: { readonly metaOctets: number; readonly metaCrc: number },
): boolean =>
  crc32(buffer.subarray(at + HEADER_OCTETS, at + HEADER_OCTETS + metaOctets)) === metaCrc;

interface Read {
  readonly kind: number;
  readonly id: MessageId;
  readonly meta: string;
  readonly metaOctets: number;
  readonly contentOctets: number;
  readonly contentCrc: number;
}

/** One sound record. @returns the last id in it */
function take({ journal, applied }: Replay, record: Place, header: Read): MessageId {
  const { kind, id, meta, metaOctets, contentOctets, contentCrc } = header;
  const isApplied = isBefore(record, applied);
  const place = { segment: record.segment, at: record.at + HEADER_OCTETS + metaOctets };
  switch (kind) {
    case RecordKind.queued:
      if (!isApplied) {
        const submission = JSON.parse(meta) as Meta;
        journal.queue({ id, submission, place, contentOctets, contentCrc });
      }
      return id;
    case RecordKind.handed: {
      const { envelope } = JSON.parse(meta) as Meta;
      const left = envelope.recipients.map(({ index }) => index);
      const handed = { message: id, record, metaOctets, contentOctets, contentCrc, left };
      journal.recallHanded(handed);
      return id;
    }
    case RecordKind.outcome: {
      const outcome = JSON.parse(meta) as Outcome;
      if (isApplied) journal.recall(outcome);
      else journal.conclude(outcome, placeNotices(outcome.notices, id, place));
      return id + Math.max(0, outcome.notices.length - 1);
    }
    case RecordKind.moved:
      if (!isApplied) {
        const submission = JSON.parse(meta) as Meta;
        journal.move(id, place, { id, submission, place, contentOctets, contentCrc });
      }
      return id;
    default:
      return 0;
  }
}

/** What is unreadable stays to be looked at. Zeros are what a file system leaves where nothing was written. */
function salvage({ folder, report }: Replay, segment: SegmentId, at: number, octets: Buffer): void {
  if (writtenOctets(octets) === 0) return;
  const target = quarantineFolder(folder);
  const path = join(target, `segment-${segment}-${at}`);
  const fd = openSync(path, 'w', 0o600);
  try {
    writeFileSync(fd, octets);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  syncFolder(target);
  report({
    level: 'error',
    fields: { segment, at, octets: octets.length, path },
    message: 'the log of the spool is damaged; copied what is unreadable to quarantine',
  });
}
