import { BATCH_HEADER_SIZE_BYTES, type BatchExtent, readExtent } from "../codec/record-batch.js";
import { FILES_A_SEND, type FileRange, type SendPlan } from "../consumers.js";
import { CorruptDataError, OffsetOutOfRangeError } from "../errors.js";
import type { LogReader } from "./log-reader.js";
import type { PartitionLog } from "./partition-log.js";
import type { Segment } from "./segment.js";

/** Headers of small batches are read several at once. */
const CHUNK_SIZE_BYTES = 4_096;

/**
 * Finds the whole record batches that a send is to move, from the one that holds an offset on. As in Kafka, the offset
 * index says where to look and headers alone are read, so the work does not grow with what is sent. Unlike a Kafka fetch,
 * which is one range of one segment and may end within a batch, a send goes on in the next segments and ends between two.
 */
export class SendPlanner {
  readonly #headers = new BatchHeaders();

  constructor(private readonly reader: LogReader) {}

  /** @throws OffsetOutOfRangeError, CorruptDataError when no batch is where the wanted one should be */
  plan(log: PartitionLog, fromOffset: number, maxBytes: number): SendPlan {
    if (!(fromOffset >= log.startOffset && fromOffset <= log.endOffset)) {
      throw new OffsetOutOfRangeError(fromOffset, log.startOffset, log.endOffset);
    }
    const ranges: FileRange[] = [];
    let nextOffset = fromOffset;
    let sizeBytes = 0;
    let i = log.segmentIndexOf(fromOffset);
    for (; i < log.segments.length && ranges.length < FILES_A_SEND; i++) {
      const segment = log.segments[i]!;
      if (segment.sizeBytes === 0) continue;
      this.reader.prepare(log, segment);
      const start = this.#find(segment, Math.max(nextOffset, segment.baseOffset));
      if (start < 0) continue; // compacted away
      const first = this.#headers.at(segment, start);
      if (first === null) {
        if (ranges.length > 0) break; // the next send begins with it and throws
        throw new CorruptDataError("Something that is no record batch", segment.path, start);
      }
      if (ranges.length > 0 && sizeBytes + first.sizeBytes > maxBytes) break;
      const end = this.#endOf(segment, start, start + Math.max(maxBytes - sizeBytes, first.sizeBytes));
      if (!(end.offset > nextOffset && end.offset <= log.endOffsetOf(segment))) {
        throw new CorruptDataError("A record batch whose offsets do not follow", segment.path, start);
      }
      ranges.push({ path: segment.path, positionBytes: start, sizeBytes: end.position - start });
      sizeBytes += end.position - start;
      nextOffset = end.offset;
      if (end.position < segment.sizeBytes) break;
    }
    return { ranges, outcome: { nextOffset, messageCount: nextOffset - fromOffset, sizeBytes } };
  }

  /** Position of the batch that holds `offset`, or the next one; of what is no batch before that; -1 if there is none. */
  #find(segment: Segment, offset: number): number {
    let position = this.#entryBelow(segment, offset);
    for (;;) {
      if (position >= segment.sizeBytes) return -1;
      const batch = this.#headers.at(segment, position);
      if (batch === null || batch.lastOffset >= offset) return position;
      position += batch.sizeBytes;
    }
  }

  /** Position of the last indexed batch before the one that holds `offset`, or 0. */
  #entryBelow(segment: Segment, offset: number): number {
    const index = segment.offsetIndex!;
    const entry = index.lastBelow(offset - segment.baseOffset);
    return entry >= 0 && this.#isTrue(segment, entry) ? index.position(entry) : 0;
  }

  /** Whether there is a batch where the entry says, and it is that batch. */
  #isTrue(segment: Segment, entry: number): boolean {
    const index = segment.offsetIndex!;
    const batch = this.#headers.at(segment, index.position(entry));
    return batch !== null && batch.lastOffset === segment.baseOffset + index.relativeOffset(entry);
  }

  /** Where the last batch ends that begins at `start` or later and ends at or before `limit`, and the offset behind it. */
  #endOf(segment: Segment, start: number, limit: number): { position: number; offset: number } {
    const index = segment.offsetIndex!;
    const entry = index.lastUpTo(limit);
    let position = start;
    if (entry >= 0 && index.position(entry) > start && this.#isTrue(segment, entry)) position = index.position(entry);
    let offset = position === start ? Number.NaN : this.#headers.at(segment, position)!.baseOffset;
    for (;;) {
      const batch = position < segment.sizeBytes ? this.#headers.at(segment, position) : null;
      if (batch === null || position + batch.sizeBytes > limit) return { position, offset };
      position += batch.sizeBytes;
      offset = batch.lastOffset + 1;
    }
  }
}

/** Reads the headers of batches, one after the other mostly. */
class BatchHeaders {
  readonly #chunk = new Uint8Array(CHUNK_SIZE_BYTES);
  readonly #view = new DataView(this.#chunk.buffer);
  readonly #extent: BatchExtent = { baseOffset: 0, lastOffset: 0, sizeBytes: 0 };
  #segment: Segment | null = null;
  #from = 0;
  #to = 0;

  /** @returns the extent of the batch at `position`, good until the next call; null if none is there whole */
  at(segment: Segment, position: number): BatchExtent | null {
    if (segment !== this.#segment || position < this.#from || position + BATCH_HEADER_SIZE_BYTES > this.#to) {
      const sizeBytes = Math.min(CHUNK_SIZE_BYTES, segment.sizeBytes - position);
      if (sizeBytes < BATCH_HEADER_SIZE_BYTES) return null;
      this.#segment = null; // should the read fail, the chunk is nobody's
      this.#from = position;
      this.#to = position + segment.file!.read(this.#chunk, 0, sizeBytes, position);
      if (this.#to - position < BATCH_HEADER_SIZE_BYTES) return null;
      this.#segment = segment;
    }
    const extent = this.#extent;
    if (!readExtent(this.#view, position - this.#from, extent)) return null;
    return position + extent.sizeBytes <= segment.sizeBytes ? extent : null;
  }
}
