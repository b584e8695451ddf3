import { BLANK_SIZE_BYTES, BODY_CRC_AT, isBlank } from "../codec/commitlog-message.js";
import { isLostPart, LOST_PART_HEADER_BYTES } from "../commitlog/lost-part.js";
import { QueueTable } from "../commitlog/queue-table.js";
import { ParseOutcome, RecordParser } from "../commitlog/record-parser.js";
import {
  CANDIDATE_BYTES,
  claimedSize,
  findCandidate,
  LARGEST_RECORD_BYTES,
  SEARCH_BYTES,
} from "../commitlog/record-search.js";
import type { Heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import type { StorageFile } from "../storage/storage.js";
import { lastIndexAtOrBelow } from "./source.js";

const READ_AHEAD_BYTES = 512 << 10;
/** A read far from the last is probably one of many such. */
const FAR_READ_BYTES = 4 << 10;
/** So much more than what it passes over may a search read of what could be records: enough for any one of them. */
const CANDIDATE_ALLOWANCE_BYTES = 2 * LARGEST_RECORD_BYTES;

/** A commitlog file that is open. */
export interface LogFile {
  readonly path: string;
  readonly file: StorageFile;
  readonly baseOffset: number;
  readonly endOffset: number;
}

/** Reads records of a commitlog at any position. */
export class RecordReader {
  /** Holds the fields of the last record that was sound. */
  parser: RecordParser;
  /** Heap address of what was read last. */
  address = 0;
  readonly #checkingParser: RecordParser;
  readonly #formParser: RecordParser;
  readonly #queues: QueueTable;
  #buffer = 0;
  #capacityBytes = 0;
  #loadedFile: LogFile | null = null;
  #loadedFrom = 0;
  #loadedBytes = 0;

  constructor(
    private readonly heap: Heap,
    readonly files: readonly LogFile[],
  ) {
    const kernel = kernelOf(heap);
    this.#checkingParser = new RecordParser(heap, kernel, false);
    this.#formParser = new RecordParser(heap, kernel, false, false);
    this.parser = this.#checkingParser;
    this.#queues = new QueueTable(heap, kernel, () => {
      throw new Error("a reader of records keeps no queues");
    });
  }

  release(): void {
    this.#checkingParser.release();
    this.#formParser.release();
    this.#queues.release();
    if (this.#buffer !== 0) this.heap.release(this.#buffer);
    this.#buffer = 0;
  }

  fileAt(position: number): LogFile | undefined {
    const file = this.files[lastIndexAtOrBelow(this.files, position, baseOffsetOf)];
    return file !== undefined && position < file.endOffset ? file : undefined;
  }

  /** The last record that was sound has a body and no checksum of it. */
  get isUnchecked(): boolean {
    return this.parser === this.#formParser && this.parser.bodySizeBytes > 0;
  }

  /** Where the log ends: there, or behind its last file if that was not looked for. */
  endOf(endOffset: number): number {
    return Math.min(endOffset, this.files.at(-1)?.endOffset ?? 0);
  }

  /** Checks the record at a position of `file`. @returns an outcome, as `RecordParser.parse` */
  parse(file: LogFile, position: number): number {
    const leftBytes = file.endOffset - position;
    let availableBytes = this.#load(file, position, Math.min(leftBytes, BLANK_SIZE_BYTES));
    if (availableBytes < BLANK_SIZE_BYTES) return ParseOutcome.TOO_SHORT;
    if (isBlank(this.heap.bytes, this.address, leftBytes)) return ParseOutcome.BLANK;
    const claimedBytes = claimedSize(this.heap, this.address, availableBytes);
    if (claimedBytes > availableBytes && claimedBytes <= Math.min(leftBytes, LARGEST_RECORD_BYTES)) {
      availableBytes = this.#load(file, position, claimedBytes);
    }
    // An engine can be told to leave checksums out: its records say 0, and their form has to do.
    const hasNoChecksum = claimedBytes > BODY_CRC_AT && this.heap.view.getInt32(this.address + BODY_CRC_AT) === 0;
    this.parser = hasNoChecksum ? this.#formParser : this.#checkingParser;
    const outcome = this.parser.parse(this.address, availableBytes, position, this.#queues);
    // A blank of another size than the file has left, but just as long as what was read of it.
    return outcome === ParseOutcome.BLANK ? ParseOutcome.BAD_MAGIC : outcome;
  }

  /** Whether the blank at a position of `file` stands for messages that were lost. */
  isLostPart(file: LogFile, position: number): boolean {
    const leftBytes = file.endOffset - position;
    const availableBytes = this.#load(file, position, Math.min(leftBytes, LOST_PART_HEADER_BYTES));
    return isLostPart(this.heap.bytes, this.address, availableBytes, leftBytes);
  }

  /**
   * The next sound record behind `position`, not older than `storeTimestampMs`, in this file or a later one. What an
   * earlier life of a file left behind is older, or names another position. Takes time in proportion to what it passes
   * over, whatever that claims to be.
   */
  findNext(position: number, storeTimestampMs: number): number | undefined {
    let allowanceBytes = CANDIDATE_ALLOWANCE_BYTES;
    for (const file of this.files) {
      if (file.endOffset <= position) continue;
      let from = Math.max(position + 1, file.baseOffset);
      while (from < file.endOffset) {
        const availableBytes = this.#load(file, from, Math.min(SEARCH_BYTES, file.endOffset - from));
        allowanceBytes += availableBytes;
        const found = this.#findInBuffer(file, from, availableBytes, storeTimestampMs, allowanceBytes);
        if (found.position !== undefined) return found.position;
        allowanceBytes = found.allowanceBytes;
        if (availableBytes < CANDIDATE_BYTES || from + availableBytes >= file.endOffset) break;
        // A record may straddle the end of what was searched.
        from += availableBytes - CANDIDATE_BYTES + 1;
      }
    }
    return undefined;
  }

  #findInBuffer(
    file: LogFile,
    from: number,
    availableBytes: number,
    storeTimestampMs: number,
    allowance: number,
  ): { position?: number; allowanceBytes: number } {
    let allowanceBytes = allowance;
    for (let next = from; ; next++) {
      // A look at a candidate may have loaded another part of the file.
      this.#load(file, from, availableBytes);
      const positionAtZero = from - this.address;
      const end = this.address + availableBytes;
      const at = findCandidate(this.heap, next - positionAtZero, end, positionAtZero);
      if (at === undefined) return { allowanceBytes };
      next = at + positionAtZero;
      const claimedBytes = claimedSize(this.heap, at, end - at);
      const costBytes = at + claimedBytes > end ? claimedBytes + availableBytes : claimedBytes;
      if (costBytes > allowanceBytes) continue;
      allowanceBytes -= costBytes;
      if (this.parse(file, next) !== ParseOutcome.OK) continue;
      if (this.parser.storeTimestampMs >= storeTimestampMs) return { position: next, allowanceBytes };
    }
  }

  /** Has the `neededBytes` at `position` in memory, at `address`. @returns how many are there from `position` on */
  #load(file: LogFile, position: number, neededBytes: number): number {
    const loadedEnd = this.#loadedFrom + this.#loadedBytes;
    const isInBuffer = file === this.#loadedFile && position >= this.#loadedFrom && position + neededBytes <= loadedEnd;
    if (!isInBuffer) {
      const isNear =
        file === this.#loadedFile && position >= this.#loadedFrom && position <= loadedEnd + READ_AHEAD_BYTES;
      const wantedBytes = Math.max(
        neededBytes,
        isNear || position === file.baseOffset ? READ_AHEAD_BYTES : FAR_READ_BYTES,
      );
      const sizeBytes = Math.min(wantedBytes, file.endOffset - position);
      this.#reserve(sizeBytes);
      this.#loadedFile = file;
      this.#loadedFrom = position;
      this.#loadedBytes = file.file.read(this.heap.bytes, this.#buffer, sizeBytes, position - file.baseOffset);
    }
    this.address = this.#buffer + position - this.#loadedFrom;
    return this.#loadedFrom + this.#loadedBytes - position;
  }

  #reserve(sizeBytes: number): void {
    if (sizeBytes <= this.#capacityBytes) return;
    if (this.#buffer !== 0) this.heap.release(this.#buffer);
    this.#capacityBytes = Math.max(sizeBytes, READ_AHEAD_BYTES);
    this.#buffer = this.heap.allocate(this.#capacityBytes, 64);
  }
}

function baseOffsetOf(file: LogFile): number {
  return file.baseOffset;
}
