import { BLANK_SIZE_BYTES, isBlank, MAGIC_V1, MAGIC_V2 } from "../codec/commitlog-message.js";
import { QueueTable } from "../commitlog/queue-table.js";
import { ParseOutcome, RecordParser } from "../commitlog/record-parser.js";
import type { Heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import type { StorageFile } from "../storage/storage.js";

/** Larger than a record can be set to be. */
const LARGEST_RECORD_BYTES = 80 << 20;
const READ_AHEAD_BYTES = 512 << 10;
/** A read far from the last is probably one of many such. */
const FAR_READ_BYTES = 4 << 10;
const SEARCH_BYTES = 8 << 20;
const MAGIC_FIRST_BYTE = 0xda;

/** A commitlog file that is open. */
export interface LogFile {
  readonly path: string;
  readonly file: StorageFile;
  readonly baseOffset: number;
  readonly endOffset: number;
}

/** Reads records of a commitlog at any position; its parser holds the fields of the last one that was sound. */
export class RecordReader {
  readonly parser: RecordParser;
  /** Heap address of what was read last. */
  address = 0;
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
    this.parser = new RecordParser(heap, kernel, false);
    this.#queues = new QueueTable(heap, kernel, () => {
      throw new Error("a reader of records keeps no queues");
    });
  }

  release(): void {
    this.parser.release();
    this.#queues.release();
    if (this.#buffer !== 0) this.heap.release(this.#buffer);
    this.#buffer = 0;
  }

  fileAt(position: number): LogFile | undefined {
    return this.files.find(({ baseOffset, endOffset }) => position >= baseOffset && position < endOffset);
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
    const claimedBytes = this.#claimedSize();
    if (claimedBytes > availableBytes && claimedBytes <= Math.min(leftBytes, LARGEST_RECORD_BYTES)) {
      availableBytes = this.#load(file, position, claimedBytes);
    }
    const outcome = this.parser.parse(this.address, availableBytes, position, this.#queues);
    // A blank of another size than the file has left, but just as long as what was read of it.
    return outcome === ParseOutcome.BLANK ? BAD_MAGIC : outcome;
  }

  /**
   * The next sound record behind `position`, not older than `storeTimestampMs`, in this file or a later one. What an
   * earlier life of a file left behind is older, or names another position.
   */
  findNext(position: number, storeTimestampMs: number): number | undefined {
    for (const file of this.files) {
      if (file.endOffset <= position) continue;
      let from = Math.max(position + 1, file.baseOffset);
      while (from < file.endOffset) {
        const availableBytes = this.#load(file, from, Math.min(SEARCH_BYTES, file.endOffset - from));
        if (availableBytes === 0) break;
        const found = this.#findInBuffer(file, from, availableBytes, storeTimestampMs);
        if (found !== undefined) return found;
        // A magic may straddle the end of what was searched.
        from += Math.max(1, availableBytes - BLANK_SIZE_BYTES);
      }
    }
    return undefined;
  }

  #findInBuffer(file: LogFile, from: number, availableBytes: number, storeTimestampMs: number): number | undefined {
    for (let at = 0; ; at++) {
      // A look at a candidate may have loaded another part of the file.
      this.#load(file, from, availableBytes);
      const bytes = this.heap.bytes.subarray(this.address, this.address + availableBytes);
      const magicAt = bytes.indexOf(MAGIC_FIRST_BYTE, at + 4);
      if (magicAt < 0 || magicAt + 4 > availableBytes) return undefined;
      at = magicAt - 4;
      const magic = this.heap.view.getInt32(this.address + magicAt);
      if (magic !== MAGIC_V1 && magic !== MAGIC_V2) continue;
      const position = from + at;
      if (this.parse(file, position) !== ParseOutcome.OK) continue;
      if (this.parser.storeTimestampMs >= storeTimestampMs) return position;
    }
  }

  #claimedSize(): number {
    const magic = this.heap.view.getInt32(this.address + 4);
    return magic === MAGIC_V1 || magic === MAGIC_V2 ? this.heap.view.getInt32(this.address) : 0;
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

/** Index into OUTCOME_TEXTS. */
const BAD_MAGIC = 3;
