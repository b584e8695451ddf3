import { join } from "node:path";
import { MAX_TIMESTAMP_AT } from "../codec/record-batch.js";
import type { Storage, StorageFile } from "../storage/storage.js";
import {
  DELETED_SUFFIX,
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  PRODUCER_SNAPSHOT_SUFFIX,
  SEGMENT_SUFFIXES,
  segmentStem,
  TIME_INDEX_SUFFIX,
} from "./names.js";
import type { PartitionedLogSettings } from "./settings.js";
import { OFFSET_ENTRY_SIZE_BYTES, OffsetIndex, TIME_ENTRY_SIZE_BYTES, TimeIndex } from "./sparse-index.js";

/** What a segment takes. */
export interface SegmentLimits {
  readonly lastOffset: number;
  /** Largest timestamp; of an empty segment the first batch decides. */
  readonly latestMs: number;
  /** Batches, each of which may get an entry in both indexes. */
  readonly batchCount: number;
}

/**
 * One piece of a partition's log: `<base offset>.log` with record batches and nothing else, and its two sparse indexes.
 * Only the last segment of a partition, the active one, is written to.
 *
 * Index rule (Kafka, storage/…/log/LogSegment.java): before a batch is counted, and if more than the interval was written
 * since the last entry, the batch gets an entry. So the first batch of a segment never has one.
 */
export class Segment {
  readonly path: string;
  /** Logical size: what lies beyond (preallocation) is not log. */
  sizeBytes = 0;
  /** Open while the segment is active, unsynced or being read. */
  file: StorageFile | null = null;
  #offsetIndex: OffsetIndex | null = null;
  #timeIndex: TimeIndex | null = null;
  /** Largest timestamp so far, and the last offset of the earliest batch that holds it; -1 if there is none. */
  #maxTimestamp = -1;
  #offsetOfMaxTimestamp = -1;
  /** Largest timestamp of the first batch, from which `segmentMs` counts; NaN while it has not been looked up. */
  firstBatchMaxTimestamp = Number.NaN;
  readonly createdMs = Date.now();
  #bytesSinceLastEntry = 0;
  /** Batches at the end of the log that are not indexed yet: position, last offset, largest timestamp, size of each. */
  readonly #deferred: number[] = [];
  /** Place in `#deferred` of the first that is left. */
  #deferredAt = 0;
  /** What lies below was synced, and advised to be dropped. */
  #droppedBytes = 0;
  /** Entries that were built in between because somebody looked at the indexes. */
  #uncountedEntries = 0;

  constructor(
    private readonly storage: Storage,
    private readonly settings: PartitionedLogSettings,
    private readonly directory: string,
    readonly baseOffset: number,
  ) {
    this.path = this.#pathOf(LOG_SUFFIX);
  }

  /** Creates the segment's log, empty. Stale files of its name are removed first. */
  create(): void {
    this.remove();
    this.file = this.storage.open(this.path, "create");
    this.#adviseReads();
    if (this.settings.preallocate) this.file.allocate(this.settings.segmentSizeBytes);
    this.resetIndexes();
  }

  /** Takes an existing log, whole, as it is. */
  open(mode: "read" | "write"): void {
    this.file = this.storage.open(this.path, mode);
    this.#adviseReads();
    this.sizeBytes = this.file.sizeBytes();
  }

  openForReading(): void {
    if (this.file !== null) return;
    this.file = this.storage.open(this.path, "read");
    this.#adviseReads();
  }

  #adviseReads(): void {
    const { pageCacheAdvice } = this.settings;
    if (pageCacheAdvice === "random-reads") this.file!.advise("random", 0, 0);
    else if (pageCacheAdvice === "sequential-reads") this.file!.advise("sequential", 0, 0);
  }

  /** Makes durable, off this thread, what has been written to the active segment. */
  async sync(): Promise<void> {
    const { file, sizeBytes } = this;
    await file!.sync();
    if (this.settings.pageCacheAdvice === "drop-behind" && this.file === file) this.#dropBehind(sizeBytes);
  }

  /** What lies below `sizeBytes` is on the device: its pages, as far as they are whole, need not stay in the cache. */
  #dropBehind(sizeBytes: number): void {
    const end = sizeBytes - (sizeBytes % LARGEST_PAGE_BYTES);
    if (end <= this.#droppedBytes) return;
    this.file!.advise("drop", this.#droppedBytes, end - this.#droppedBytes);
    this.#droppedBytes = end;
  }

  /** In memory while the segment is active or being read; complete, whatever was deferred. */
  get offsetIndex(): OffsetIndex | null {
    this.#completeIndexes();
    return this.#offsetIndex;
  }

  get timeIndex(): TimeIndex | null {
    this.#completeIndexes();
    return this.#timeIndex;
  }

  resetIndexes(): void {
    const { indexSizeBytes } = this.settings;
    this.#offsetIndex = new OffsetIndex(Math.floor(indexSizeBytes / OFFSET_ENTRY_SIZE_BYTES));
    this.#timeIndex = new TimeIndex(Math.floor(indexSizeBytes / TIME_ENTRY_SIZE_BYTES));
    this.#bytesSinceLastEntry = 0;
    this.#maxTimestamp = -1;
    this.#offsetOfMaxTimestamp = -1;
  }

  /** Counts a batch that now stands at the end of the log. @returns index entries added */
  noteBatch(lastOffset: number, maxTimestamp: number, batchSizeBytes: number): number {
    const position = this.sizeBytes;
    if (position === 0) this.firstBatchMaxTimestamp = maxTimestamp;
    this.sizeBytes = position + batchSizeBytes;
    return this.#index(position, lastOffset, maxTimestamp, batchSizeBytes);
  }

  /** As `noteBatch`, but leaves the indexes to `indexDeferred`. */
  deferBatch(lastOffset: number, maxTimestamp: number, batchSizeBytes: number): void {
    const position = this.sizeBytes;
    if (position === 0) this.firstBatchMaxTimestamp = maxTimestamp;
    this.sizeBytes = position + batchSizeBytes;
    this.#deferred.push(position, lastOffset, maxTimestamp, batchSizeBytes);
  }

  /** Batches that `indexDeferred` has yet to see. */
  get deferredCount(): number {
    return (this.#deferred.length - this.#deferredAt) / NUMBERS_A_BATCH;
  }

  /** Indexes the oldest batches that were deferred, so many at most. @returns index entries added since it was last asked */
  indexDeferred(mostBatches: number): number {
    const deferred = this.#deferred;
    let entries = this.#uncountedEntries;
    this.#uncountedEntries = 0;
    const end = Math.min(deferred.length, this.#deferredAt + mostBatches * NUMBERS_A_BATCH);
    for (let at = this.#deferredAt; at < end; at += NUMBERS_A_BATCH) {
      entries += this.#index(deferred[at]!, deferred[at + 1]!, deferred[at + 2]!, deferred[at + 3]!);
    }
    this.#deferredAt = end;
    if (end > deferred.length >> 1) {
      deferred.splice(0, end);
      this.#deferredAt = 0;
    }
    return entries;
  }

  #completeIndexes(): void {
    if (this.#deferred.length > 0) this.#uncountedEntries = this.indexDeferred(Number.POSITIVE_INFINITY);
  }

  #index(position: number, lastOffset: number, maxTimestamp: number, batchSizeBytes: number): number {
    let entries = 0;
    this.noteTimestamp(maxTimestamp, lastOffset);
    if (this.#bytesSinceLastEntry > this.settings.indexIntervalBytes) {
      this.#offsetIndex!.append(lastOffset - this.baseOffset, position);
      entries = this.#noteMaxTimestamp() ? 2 : 1;
      this.#bytesSinceLastEntry = 0;
    }
    this.#bytesSinceLastEntry += batchSizeBytes;
    return entries;
  }

  /** Counts bytes that no reader gets a batch from but that stay in the log. */
  noteDamage(sizeBytes: number): void {
    this.#bytesSinceLastEntry += sizeBytes;
    this.sizeBytes += sizeBytes;
  }

  noteTimestamp(maxTimestamp: number, lastOffset: number): void {
    if (maxTimestamp <= this.#maxTimestamp) return;
    this.#maxTimestamp = maxTimestamp;
    this.#offsetOfMaxTimestamp = lastOffset;
  }

  /** A batch of this size, last offset and largest timestamp goes to a new segment. */
  mustRollFor(batchSizeBytes: number, lastOffset: number, maxTimestamp: number): boolean {
    return (
      this.sizeBytes + batchSizeBytes > this.settings.segmentSizeBytes ||
      this.#indexIsFull() ||
      lastOffset - this.baseOffset > MAX_RELATIVE_OFFSET ||
      this.#waitedMs(maxTimestamp) > this.settings.segmentMs
    );
  }

  #indexIsFull(): boolean {
    // A batch adds an entry to each at most: while both have room for all that was deferred and one more, they are not full.
    const entries = this.deferredCount + 1;
    if (entries > 1 && !(this.#offsetIndex!.hasRoomFor(entries) && this.#timeIndex!.hasRoomFor(entries))) {
      this.#completeIndexes();
    }
    return this.#offsetIndex!.isFull || this.#timeIndex!.isFull;
  }

  /** What `mustRollFor` lets in, besides by size, however the next batches may be. */
  limits(): SegmentLimits {
    const { sizeBytes, baseOffset } = this;
    if (sizeBytes > 0 && Number.isNaN(this.firstBatchMaxTimestamp)) {
      this.firstBatchMaxTimestamp = this.#readFirstMaxTimestamp();
    }
    const hasTime = sizeBytes > 0 && this.firstBatchMaxTimestamp >= 0;
    return {
      lastOffset: baseOffset + MAX_RELATIVE_OFFSET,
      latestMs: hasTime ? this.firstBatchMaxTimestamp + this.settings.segmentMs : Number.POSITIVE_INFINITY,
      batchCount: Math.min(this.#offsetIndex!.freeEntries, this.#timeIndex!.freeEntries),
    };
  }

  /** By record time: from the first batch's largest timestamp to the incoming one's; by the clock if there is none. */
  #waitedMs(incomingMaxTimestamp: number): number {
    if (this.sizeBytes === 0) return 0;
    if (Number.isNaN(this.firstBatchMaxTimestamp)) this.firstBatchMaxTimestamp = this.#readFirstMaxTimestamp();
    if (this.firstBatchMaxTimestamp >= 0) return incomingMaxTimestamp - this.firstBatchMaxTimestamp;
    return Date.now() - this.createdMs;
  }

  /**
   * Ends the segment's files as Kafka does on roll, on close and after recovery: final time entry, both indexes written
   * whole and trimmed, the log cut to its logical size. Nothing is durable yet.
   * @param counters gets the entries added and the bytes written
   */
  finish(counters?: { indexEntries: number; indexBytes: number }): void {
    const entriesAdded = this.indexDeferred(Number.POSITIVE_INFINITY) + (this.#noteMaxTimestamp() ? 1 : 0);
    const indexes = [this.#offsetIndex!.encode(), this.#timeIndex!.encode()] as const;
    this.#writeWhole(OFFSET_INDEX_SUFFIX, indexes[0]);
    this.#writeWhole(TIME_INDEX_SUFFIX, indexes[1]);
    if (counters !== undefined) {
      counters.indexEntries += entriesAdded;
      counters.indexBytes += indexes[0].byteLength + indexes[1].byteLength;
    }
    if (this.file!.sizeBytes() > this.sizeBytes) this.file!.truncate(this.sizeBytes);
  }

  /** @returns files removed */
  remove(): number {
    this.unload();
    const existing = SEGMENT_SUFFIXES.map((suffix) => this.#pathOf(suffix)).filter((path) => this.storage.exists(path));
    for (const path of existing) this.storage.remove(path);
    return existing.length;
  }

  /**
   * Takes the segment out of the log, its `.log` first, by names that opening the directory removes.
   * @returns paths of the files, to be removed
   * @throws as the storage does if the log is still there; what else could not be renamed belongs to no log then
   */
  markDeleted(): string[] {
    this.unload();
    const marked: string[] = [];
    for (const suffix of [...SEGMENT_SUFFIXES, PRODUCER_SNAPSHOT_SUFFIX]) {
      const path = this.#pathOf(suffix);
      try {
        if (suffix !== LOG_SUFFIX && !this.storage.exists(path)) continue;
        this.storage.rename(path, path + DELETED_SUFFIX);
        marked.push(path + DELETED_SUFFIX);
      } catch (error) {
        if (suffix === LOG_SUFFIX) throw error;
      }
    }
    return marked;
  }

  /** When the log was last written to, in ms since the epoch. */
  modifiedMs(): number {
    return this.storage.modifiedMs(this.path);
  }

  /** Makes log and written indexes durable, off this thread. */
  async syncAll(): Promise<void> {
    const drops = this.settings.pageCacheAdvice === "drop-behind";
    // A reader may close `this.file` meanwhile, which a sync outlives, and an advice after it does not.
    const borrowed = drops ? null : this.file;
    const file = borrowed ?? this.storage.open(this.path, "write");
    const indexes = [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX]
      .map((suffix) => this.#pathOf(suffix))
      .filter((path) => this.storage.exists(path))
      .map((path) => this.storage.open(path, "write"));
    try {
      await Promise.all([file, ...indexes].map((each) => each.sync()));
      if (drops) file.advise("drop", 0, 0);
    } finally {
      for (const index of indexes) index.close();
      if (borrowed === null) file.close();
    }
  }

  /** Frees what an inactive segment holds while nobody reads it. */
  unload(): void {
    this.file?.close();
    this.file = null;
    this.#offsetIndex = null;
    this.#timeIndex = null;
    this.#deferred.length = 0;
    this.#deferredAt = 0;
  }

  hasOffsetIndexFile(): boolean {
    return this.storage.exists(this.#pathOf(OFFSET_INDEX_SUFFIX));
  }

  /**
   * Reads the indexes back. A missing or unusable time index is empty, as in Kafka.
   * @returns false if the offset index is missing or cannot belong to this log: it has to be rebuilt
   */
  loadIndexes(): boolean {
    this.resetIndexes();
    const offsetIndexPath = this.#pathOf(OFFSET_INDEX_SUFFIX);
    if (!this.storage.exists(offsetIndexPath)) return false;
    const offsetIndex = OffsetIndex.decode(
      this.storage.readAll(offsetIndexPath),
      this.#offsetIndex!.maxEntries,
      this.sizeBytes,
    );
    if (offsetIndex === undefined) return false;
    this.#offsetIndex = offsetIndex;
    const timeIndexPath = this.#pathOf(TIME_INDEX_SUFFIX);
    if (!this.storage.exists(timeIndexPath)) return true;
    const timeIndex = TimeIndex.decode(this.storage.readAll(timeIndexPath), this.#timeIndex!.maxEntries);
    if (timeIndex === undefined) return false;
    this.#timeIndex = timeIndex;
    if (timeIndex.entryCount > 0) {
      this.#maxTimestamp = timeIndex.lastTimestamp;
      this.#offsetOfMaxTimestamp = this.baseOffset + timeIndex.relativeOffset(timeIndex.entryCount - 1);
    }
    return true;
  }

  /**
   * Largest timestamp of the records; of an ended segment that nobody has read as the last entry of its time index says.
   * @returns -1 if none has a timestamp, or if there is no such index
   */
  largestTimestamp(): number {
    this.#completeIndexes();
    if (this.#maxTimestamp < 0 && this.#timeIndex === null) this.#maxTimestamp = this.#readLastTimestamp();
    return this.#maxTimestamp;
  }

  #readLastTimestamp(): number {
    const path = this.#pathOf(TIME_INDEX_SUFFIX);
    if (!this.storage.exists(path)) return -1;
    const file = this.storage.open(path, "read");
    try {
      const sizeBytes = file.sizeBytes();
      const tail = Buffer.alloc(Math.min(2 * TIME_ENTRY_SIZE_BYTES, sizeBytes));
      file.read(tail, 0, tail.byteLength, sizeBytes - tail.byteLength);
      // The last two entries are enough to see that the file was not trimmed.
      return TimeIndex.decode(tail, 2)?.lastTimestamp ?? -1;
    } finally {
      file.close();
    }
  }

  #readFirstMaxTimestamp(): number {
    const bytes = Buffer.alloc(8);
    this.file!.read(bytes, 0, bytes.byteLength, MAX_TIMESTAMP_AT);
    return Number(bytes.readBigInt64BE(0));
  }

  #noteMaxTimestamp(): boolean {
    if (this.#maxTimestamp < 0) return false;
    return this.#timeIndex!.maybeAppend(this.#maxTimestamp, this.#offsetOfMaxTimestamp - this.baseOffset);
  }

  #writeWhole(suffix: string, content: Uint8Array): void {
    const path = this.#pathOf(suffix);
    const file = this.storage.open(path, this.storage.exists(path) ? "write" : "create");
    try {
      file.truncate(content.byteLength);
      if (content.byteLength > 0) file.write(content, 0, content.byteLength, 0);
    } finally {
      file.close();
    }
  }

  #pathOf(suffix: string): string {
    return join(this.directory, segmentStem(this.baseOffset) + suffix);
  }
}

/** Of the machines that this runs on. */
const LARGEST_PAGE_BYTES = 65_536;
/** What `deferBatch` keeps of a batch. */
const NUMBERS_A_BATCH = 4;
const MAX_RELATIVE_OFFSET = 0x7fff_ffff;
