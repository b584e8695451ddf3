import { BATCH_HEADER_SIZE_BYTES } from "../codec/record-batch.js";
import type { FetchOutcome, MessageVisitor } from "../engine.js";
import { CorruptDataError, OffsetOutOfRangeError } from "../errors.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { PartitionLog } from "./partition-log.js";
import { rebuildIndexes } from "./recovery.js";
import type { Segment } from "./segment.js";
import { SegmentScanner } from "./segment-scanner.js";
import type { PartitionedLogSettings } from "./settings.js";

/** A search by time reads a few batches in most cases: what lies between two entries of an index. */
const SEARCH_READ_BYTES = 32 * 1_024;

/** Ended segments whose file and indexes stay open for readers, over all partitions. */
export const OPEN_ENDED_SEGMENTS = 64;

/**
 * Reads messages back, for all partitions of an engine.
 *
 * A fetch finds its place by the offset index: the last entry *below* the wanted offset, so that the batch it points at
 * is the one before, and its last offset proves the base offset of the next (which no checksum covers). A fetch that
 * goes on where the last one ended needs no look-up. One fetch never spans segments, and ends before a batch that would
 * pass `maxBytes`, but the first.
 */
export class LogReader {
  readonly #scanner: SegmentScanner;
  /** In order of use, oldest first. */
  readonly #open = new Set<Segment>();
  #isReading = false;

  constructor(heap: Heap, settings: PartitionedLogSettings) {
    // Without checksums, what is wrong with the form of records shows when they are visited.
    this.#scanner = new SegmentScanner(heap, settings.checksum ? "checksum" : "header");
  }

  /** @throws OffsetOutOfRangeError, CorruptDataError when the first thing to read is damaged */
  fetch(log: PartitionLog, fromOffset: number, maxBytes: number, visit: MessageVisitor): FetchOutcome {
    if (!(fromOffset >= log.startOffset && fromOffset <= log.endOffset)) {
      throw new OffsetOutOfRangeError(fromOffset, log.startOffset, log.endOffset);
    }
    invariant(!this.#isReading, "a visitor does not fetch");
    this.#isReading = true;
    try {
      const outcome = { nextOffset: fromOffset, messageCount: 0, sizeBytes: 0 };
      for (let i = log.segmentIndexOf(fromOffset); i < log.segments.length && outcome.messageCount === 0; i++) {
        this.#read(log, log.segments[i]!, maxBytes, visit, outcome);
      }
      return outcome;
    } finally {
      this.#isReading = false;
    }
  }

  /**
   * Kafka's search by time: the time index of the first segment that can hold such a message says from where on batches
   * are looked at, their headers first. A segment whose largest timestamp nobody knows is looked at, too.
   * @returns offset of the oldest message kept with a timestamp of at least `timestampMs`; the end offset if none has
   * @throws CorruptDataError when there is damage that may have been that message
   */
  offsetForTimestamp(log: PartitionLog, timestampMs: number): number {
    for (let i = log.segmentIndexOf(log.startOffset); i < log.segments.length; i++) {
      const segment = log.segments[i]!;
      if (segment.sizeBytes === 0) continue;
      const largest = segment.largestTimestamp();
      if (largest >= 0 && largest < timestampMs) continue;
      const offset = this.#findTimestamp(log, segment, timestampMs);
      if (offset >= 0) return offset;
    }
    return log.endOffset;
  }

  /** The segment is no part of its log any more. */
  forget(segment: Segment): void {
    this.#open.delete(segment);
  }

  release(): void {
    this.#scanner.release();
  }

  #read(log: PartitionLog, segment: Segment, maxBytes: number, visit: MessageVisitor, outcome: FetchOutcome): void {
    if (segment.sizeBytes === 0) return;
    this.prepare(log, segment);
    const scanner = this.#scanner;
    const { batch } = scanner;
    this.#seek(log, segment, Math.max(outcome.nextOffset, segment.baseOffset), maxBytes);
    for (;;) {
      const position = scanner.position;
      const fault = scanner.next(outcome.messageCount > 0 ? maxBytes - outcome.sizeBytes : Number.POSITIVE_INFINITY);
      if (fault === "end" || fault === "beyond the budget") break;
      if (fault !== null) {
        if (outcome.messageCount > 0) break; // the next fetch begins with it and throws
        const wanted = Math.max(outcome.nextOffset, segment.baseOffset);
        if (scanner.skipDamage() && scanner.expectedOffset <= wanted) continue;
        throw damage(fault, segment, position);
      }
      if (batch.lastOffset < outcome.nextOffset) continue;
      outcome.messageCount += batch.visitRecords(scanner.address, outcome.nextOffset, visit, segment.path, position);
      outcome.sizeBytes += batch.sizeBytes;
      outcome.nextOffset = batch.lastOffset + 1;
      log.fetchCursor.offset = outcome.nextOffset;
      log.fetchCursor.segment = segment;
      log.fetchCursor.position = scanner.position;
      if (outcome.messageCount > 0 && outcome.sizeBytes + BATCH_HEADER_SIZE_BYTES > maxBytes) break;
    }
  }

  /** @returns the offset, or -1 */
  #findTimestamp(log: PartitionLog, segment: Segment, timestampMs: number): number {
    this.prepare(log, segment);
    const scanner = this.#scanner;
    const { batch } = scanner;
    // Up to the batch that the entry names, nothing is younger than the entry.
    const entry = segment.timeIndex!.lastUpTo(timestampMs);
    const fromOffset = entry < 0 ? segment.baseOffset : segment.baseOffset + segment.timeIndex!.relativeOffset(entry);
    this.#seek(log, segment, Math.max(fromOffset, log.startOffset), SEARCH_READ_BYTES);
    let found = -1;
    while (found < 0) {
      const position = scanner.position;
      const fault = scanner.next(Number.POSITIVE_INFINITY);
      if (fault === "end") break;
      if (fault !== null) throw damage(fault, segment, position); // the message may be what it was
      if (batch.maxTimestamp < timestampMs || batch.lastOffset < log.startOffset) continue;
      const visit: MessageVisitor = (message) => {
        if (found < 0 && message.timestampMs >= timestampMs) found = message.offset;
      };
      batch.visitRecords(scanner.address, log.startOffset, visit, segment.path, position);
    }
    return found;
  }

  /** Puts the scanner on the batch that holds `offset`, or on one before it in the same segment. */
  #seek(log: PartitionLog, segment: Segment, offset: number, maxBytes: number): void {
    const scanner = this.#scanner;
    const gaps = log.mayHaveGaps(segment) ? "allowed" : "refused";
    const limitOffset = log.endOffsetOf(segment);
    const { fetchCursor } = log;
    if (fetchCursor.segment === segment && fetchCursor.offset === offset) {
      scanner.start(segment, fetchCursor.position, offset, limitOffset, gaps, maxBytes);
      return;
    }
    const index = segment.offsetIndex!;
    const entry = index.lastBelow(offset - segment.baseOffset);
    if (entry >= 0) {
      const lastOffset = segment.baseOffset + index.relativeOffset(entry);
      scanner.start(segment, index.position(entry), segment.baseOffset, limitOffset, "allowed", maxBytes);
      if (scanner.next(Number.POSITIVE_INFINITY) === null && scanner.batch.lastOffset === lastOffset) {
        scanner.proceed(gaps);
        return;
      }
      // The index lies (or is a Kafka follower's, whose entries name the last of several batches): read from the start.
    }
    scanner.start(segment, 0, segment.baseOffset, limitOffset, gaps, maxBytes);
  }

  /** Opens the file and the indexes of a segment, until enough others have been used since. */
  prepare(log: PartitionLog, segment: Segment): void {
    if (segment === log.active) return;
    this.#open.delete(segment);
    this.#open.add(segment);
    segment.openForReading();
    if (segment.offsetIndex === null && !segment.loadIndexes()) {
      const { sizeBytes } = segment;
      rebuildIndexes(segment, this.#scanner, log.endOffsetOf(segment), "allowed", () => this.#scanner.skipDamage());
      segment.sizeBytes = sizeBytes; // what lies behind damage stays part of the log
    }
    for (const oldest of this.#open) {
      if (this.#open.size <= OPEN_ENDED_SEGMENTS) return;
      this.#open.delete(oldest);
      oldest.unload();
    }
  }
}

function damage(fault: string, segment: Segment, position: number): CorruptDataError {
  return new CorruptDataError(`${fault.charAt(0).toUpperCase()}${fault.slice(1)}`, segment.path, position);
}
