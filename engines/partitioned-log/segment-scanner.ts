import {
  BATCH_HEADER_SIZE_BYTES,
  BATCH_PREFIX_SIZE_BYTES,
  type BatchCheck,
  type BatchFault,
  hasPlausibleHeader,
  LENGTH_AT,
  MAGIC_AT,
  RecordBatchReader,
  readInt64,
} from "../codec/record-batch.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { StorageFile } from "../storage/storage.js";

/** What a scanner walks: a segment, or a file that may become one. */
export interface ScannedLog {
  readonly file: StorageFile | null;
  readonly sizeBytes: number;
}

/** A read of this size costs little more than its copy, and stays within the processor's second-level cache. */
const CHUNK_SIZE_BYTES = 512 * 1_024;
const SMALLEST_READ_BYTES = 32 * 1_024;
/** So much more than what it passes over may a search read of what could be batches: enough for any one of them. */
const CANDIDATE_ALLOWANCE_BYTES = 2 ** 31;
/** Bytes of the next batch's header that judging a gap takes. */
const LOOK_AHEAD_BYTES = 17;

/**
 * Walks the record batches of a log file, front to back, in large reads into one heap buffer. Checks each by length,
 * format, offset and, by `check`, its checksum.
 */
export class SegmentScanner {
  /** The batch that `next` found. */
  readonly batch: RecordBatchReader;
  /** Heap address of that batch; valid until the next call. */
  address = 0;
  /** Position in the file of what `next` looks at next. */
  position = 0;
  /** Offset that the batch at `position` begins with, if nothing was compacted away. */
  expectedOffset = 0;
  #log: ScannedLog | null = null;
  #endPosition = 0;
  #limitOffset = 0;
  #gaps: "refused" | "allowed" = "refused";
  #buffer = 0;
  #capacityBytes = 0;
  /** What the buffer holds: bytes of the file from `#chunkPosition` on. */
  #chunkPosition = 0;
  #chunkSizeBytes = 0;
  #readSizeBytes = 0;

  constructor(
    private readonly heap: Heap,
    private readonly check: BatchCheck,
  ) {
    this.batch = new RecordBatchReader(heap, check);
  }

  /**
   * Goes to `position`, which a batch begins at.
   * @param expectedOffset what follows there if there is no gap
   * @param limitOffset all offsets are below this
   * @param readSizeBytes what the caller thinks to read in all: bounds the size of the reads
   */
  start(
    log: ScannedLog,
    position: number,
    expectedOffset: number,
    limitOffset: number,
    gaps: "refused" | "allowed",
    readSizeBytes: number,
  ): void {
    this.#log = log;
    this.#endPosition = log.sizeBytes;
    this.position = position;
    this.expectedOffset = expectedOffset;
    this.#limitOffset = limitOffset;
    this.#gaps = gaps;
    this.#chunkPosition = position;
    this.#chunkSizeBytes = 0;
    this.#readSizeBytes = Math.max(SMALLEST_READ_BYTES, Math.min(CHUNK_SIZE_BYTES, readSizeBytes));
  }

  /** From here on, after the batch just found, gaps are as said. */
  proceed(gaps: "refused" | "allowed"): void {
    this.#gaps = gaps;
  }

  /**
   * Checks the batch at `position` and, if it is sound, moves behind it.
   * @param budgetBytes a batch larger than this is left alone
   * @returns null for a sound batch, or why there is none
   */
  next(budgetBytes: number): BatchFault | "end" | "beyond the budget" | null {
    invariant(this.#log !== null, "a scanner is started before it walks");
    if (this.position >= this.#endPosition) return "end";
    if (budgetBytes < BATCH_HEADER_SIZE_BYTES) return "beyond the budget";
    let needed = BATCH_HEADER_SIZE_BYTES;
    for (;;) {
      const available = this.#chunkPosition + this.#chunkSizeBytes - this.position;
      const isAllThere = this.#chunkPosition + this.#chunkSizeBytes === this.#endPosition;
      if (available < needed && !isAllThere) {
        this.#fill(needed);
        continue;
      }
      const address = this.#buffer + this.position - this.#chunkPosition;
      const fault = this.batch.inspect(address, available, this.expectedOffset, this.#gaps, !isAllThere);
      if (this.batch.sizeBytes > budgetBytes) return "beyond the budget";
      if (fault === null) {
        if (this.batch.lastOffset >= this.#limitOffset) return "a record batch whose offsets do not follow";
        this.address = address;
        this.position += this.batch.sizeBytes;
        this.expectedOffset = this.batch.lastOffset + 1;
        return null;
      }
      if (isAllThere) return fault;
      if (fault === "a record batch that needs the next one's header to be judged") {
        needed = this.batch.sizeBytes + LOOK_AHEAD_BYTES;
      } else if (fault === "an incomplete record batch" && this.position + this.batch.sizeBytes <= this.#endPosition) {
        needed = this.batch.sizeBytes;
      } else {
        return fault;
      }
    }
  }

  /**
   * After `next` found damage: goes on to the next sound batch of a higher offset. It is where the damaged one's length
   * says that it ends, or, as no checksum covers that length, the first behind it whose checksum is right and that another
   * sound batch, or the end of the file, follows. (A message may hold bytes that are a batch; that the next batch follows
   * on them tells those apart, unless it holds several.)
   * @returns false, and stays, if there is none
   */
  skipDamage(): boolean {
    const { position, expectedOffset } = this;
    const gaps = this.#gaps;
    const { sizeBytes } = this.batch;
    this.#gaps = "allowed";
    const found =
      sizeBytes > 0 && this.#isSoundAt(position + sizeBytes) ? position + sizeBytes : this.#search(position);
    this.position = found ?? position;
    this.expectedOffset = found === undefined ? expectedOffset : this.batch.baseOffset;
    this.#gaps = gaps;
    return found !== undefined;
  }

  /** After `next` found damage: goes to the end of the file, behind which the limit offset follows. */
  skipRest(): void {
    this.position = this.#endPosition;
    this.expectedOffset = this.#limitOffset;
  }

  /** Whether a sound batch of an offset above the expected one begins there; `batch` is that one then. */
  #isSoundAt(position: number): boolean {
    const { expectedOffset } = this;
    this.position = position;
    const isSound = this.next(Number.POSITIVE_INFINITY) === null && this.batch.baseOffset > expectedOffset;
    this.expectedOffset = expectedOffset;
    return isSound;
  }

  /**
   * Position of the first sound batch behind `damagePosition` that is followed by another or the end of the file. Takes
   * time in proportion to what it passes over, whatever that claims to be.
   */
  #search(damagePosition: number): number | undefined {
    if (this.check !== "checksum") return undefined; // nothing would prove it
    const { bytes, view } = this.heap;
    const { expectedOffset } = this;
    const lastPosition = this.#endPosition - BATCH_HEADER_SIZE_BYTES;
    let readBytes = 0;
    for (let position = damagePosition + 1; position <= lastPosition; position++) {
      const chunkEnd = this.#chunkPosition + this.#chunkSizeBytes;
      if (position < this.#chunkPosition || position + BATCH_HEADER_SIZE_BYTES > chunkEnd) {
        position = this.#behindHole(position);
        if (position > lastPosition) return undefined;
        this.position = position;
        this.#fill(BATCH_HEADER_SIZE_BYTES);
        if (position > this.#endPosition - BATCH_HEADER_SIZE_BYTES) return undefined;
      }
      const address = this.#buffer + position - this.#chunkPosition;
      if (bytes[address + MAGIC_AT] !== 2) continue;
      const sizeBytes = view.getInt32(address + LENGTH_AT) + BATCH_PREFIX_SIZE_BYTES;
      if (sizeBytes < BATCH_HEADER_SIZE_BYTES || position + sizeBytes > this.#endPosition) continue;
      const baseOffset = readInt64(view, address);
      if (baseOffset <= expectedOffset || baseOffset >= this.#limitOffset) continue;
      if (!hasPlausibleHeader(view, address)) continue;
      if (readBytes + sizeBytes > CANDIDATE_ALLOWANCE_BYTES + position - damagePosition) continue;
      readBytes += sizeBytes;
      if (this.#isSoundAt(position) && this.#goesOn(position)) return position;
    }
    return undefined;
  }

  /** Position at or behind `position` where a batch may begin: none begins, header and all, in a hole of a sparse file. */
  #behindHole(position: number): number {
    const data = this.#log!.file!.dataFrom(position);
    return data === null ? this.#endPosition : Math.max(position, data.from - BATCH_HEADER_SIZE_BYTES);
  }

  /** Whether another sound batch, or the end, is behind the one at `position`; `batch` is the one at `position` again. */
  #goesOn(position: number): boolean {
    const { expectedOffset } = this;
    this.expectedOffset = this.batch.lastOffset + 1;
    const next = this.next(Number.POSITIVE_INFINITY);
    this.expectedOffset = expectedOffset;
    return (next === "end" || next === null) && this.#isSoundAt(position);
  }

  release(): void {
    if (this.#buffer !== 0) this.heap.release(this.#buffer);
    this.#buffer = 0;
    this.#capacityBytes = 0;
  }

  /** Reads on from `position`: `needed` bytes at least, or to the end. */
  #fill(needed: number): void {
    const sizeBytes = Math.min(Math.max(needed, this.#readSizeBytes), this.#endPosition - this.position);
    if (sizeBytes > this.#capacityBytes) {
      this.release();
      this.#capacityBytes = Math.max(sizeBytes, CHUNK_SIZE_BYTES);
      this.#buffer = this.heap.allocate(this.#capacityBytes);
    }
    const read = this.#log!.file!.read(this.heap.bytes, this.#buffer, sizeBytes, this.position);
    this.#chunkPosition = this.position;
    this.#chunkSizeBytes = read;
    // The file is shorter than it was: what is missing is no log.
    if (read < sizeBytes) this.#endPosition = this.position + read;
  }
}
