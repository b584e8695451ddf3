import { BATCH_HEADER_SIZE_BYTES, type BatchFault, RecordBatchReader } from "../codec/record-batch.js";
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
/** Bytes of the next batch's header that judging a gap takes. */
const LOOK_AHEAD_BYTES = 17;

/**
 * Walks the record batches of a log file, front to back, in large reads into one heap buffer. Checks each by length,
 * format, checksum and offset.
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

  constructor(private readonly heap: Heap) {
    this.batch = new RecordBatchReader(heap);
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
   * After `next` found damage: goes to where its length says that it ends, if a sound batch of a higher offset begins
   * there. (Bytes that merely look like a batch, deeper in, are not looked for: a message may hold such.)
   * @returns false, and stays, if none does
   */
  skipDamage(): boolean {
    const { position, expectedOffset } = this;
    const gaps = this.#gaps;
    if (this.batch.sizeBytes === 0) return false;
    this.position += this.batch.sizeBytes;
    this.#gaps = "allowed";
    const isSound = this.next(Number.POSITIVE_INFINITY) === null && this.batch.baseOffset > expectedOffset;
    this.#gaps = gaps;
    this.position = isSound ? this.position - this.batch.sizeBytes : position;
    this.expectedOffset = isSound ? this.batch.baseOffset : expectedOffset;
    return isSound;
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
