import { join } from "node:path";
import { z } from "zod";
import {
  type EngineCounters,
  type EngineDefinition,
  type FetchOptions,
  type FetchOutcome,
  type Message,
  type MessageVisitor,
  type OpenOptions,
  type PartitionHandle,
  type PartitionInfo,
  type RecoveryReport,
  STAGE_BROKER,
  STAGE_PRODUCER,
  type StorageEngine,
  type StoredMessage,
} from "../engine.js";
import {
  ClosedError,
  CorruptDataError,
  OffsetOutOfRangeError,
  OpenError,
  UnrepresentableError,
  UnsupportedError,
} from "../errors.js";
import { durabilityOf } from "../flush-policy.js";
import { GroupCommit } from "../group-commit.js";
import type { Heap } from "../heap.js";
import { type Kernel, kernelOf } from "../kernel/kernel.js";
import { openOnDisk } from "../opening.js";
import { countersSince } from "../storage/counters.js";
import type { Storage, StorageCounters, StorageFile, StorageLock } from "../storage/storage.js";
import { PendingCounts } from "./pending-counts.js";
import { FRAME_HEADER_SIZE_BYTES, RawIndex } from "./raw-index.js";
import { type BaselineSettings, baselineSettingsSchema } from "./settings.js";
import { Topics } from "./topics.js";

const LOG_FILE = "raw.log";
const TOPICS_FILE = "topics.json";
const CLEAN_SHUTDOWN_MARKER = "clean-shutdown";
const LOCK_FILE = ".lock";

const OWN_FILES = new Set([
  LOG_FILE,
  TOPICS_FILE,
  `${TOPICS_FILE}.tmp`,
  CLEAN_SHUTDOWN_MARKER,
  `${CLEAN_SHUTDOWN_MARKER}.tmp`,
  LOCK_FILE,
]);

const SMALLEST_BLOCK_BYTES = 65_536;
const PAGE_SIZE_BYTES = 4_096;
/**
 * Where in its page a block begins. Copied to a few bytes further in another page, what a processor stores it takes for
 * what it is about to load, and 16 KiB take 5 µs instead of 0.3; and large values tend to begin where a page does.
 */
const BLOCK_PHASE_BYTES = 1_024;
/** A fetch reads messages that lie closer than this in one go, up to so much. */
const FETCH_GAP_BYTES = 4_096;
const FETCH_STEP_BYTES = 256 << 10;
/** Timestamps are not kept. */
const NO_TIMESTAMP = -1;

const topicsSchema = z.array(z.strictObject({ topic: z.string(), index: z.int().nonnegative() }));

/**
 * Appends the values of all partitions to one file, each behind eight bytes (`raw-index.ts`), in blocks of
 * `batchSizeBytes` (0 = each message by itself): no encoding, no checksum, no index. The ceiling of the disk through
 * this process, with the same write call, group commit and flush policies as the engines.
 *
 * It keeps values only (keys and headers are refused, timestamps forgotten) and cannot tell rotten bytes from sound
 * ones. `preallocate` reserves the file in steps of `segmentSizeBytes`; `indexIntervalBytes` means nothing here.
 */
class RawEngine implements StorageEngine {
  readonly durability: "D1" | "D2";
  readonly #heap: Heap;
  readonly #kernel: Kernel;
  readonly #storage: Storage;
  readonly #countersAtOpen: StorageCounters;
  readonly #listener: OpenOptions["listener"];
  readonly #stage: Int32Array;
  readonly #commit: GroupCommit;
  readonly #needsClock: boolean;
  readonly #message: StoredMessage = {
    offset: 0,
    timestampMs: NO_TIMESTAMP,
    key: null,
    value: null,
    headers: [],
  };

  /** Messages in the block, not written yet. */
  readonly #pending = new PendingCounts();
  /** As allocated; the block begins in it. */
  #blockExtent!: number;
  #blockAddress!: number;
  #blockCapacityBytes!: number;
  #blockUsedBytes = 0;
  /** When `poll` first saw the block begun; NaN when it has not. */
  #blockSinceMs = Number.NaN;
  #writtenBytes: number;
  #allocatedBytes = 0;
  /** Index = partition: messages appended, and of those the ones written. */
  #endOffsets = new Float64Array(0);
  #writtenOffsets = new Float64Array(0);

  #appendedMessages = 0;
  #batches = 0;
  #logBytes = 0;
  #closing: Promise<void> | null = null;

  constructor(
    options: OpenOptions,
    readonly recovery: RecoveryReport,
    private readonly directory: string,
    private readonly settings: BaselineSettings,
    private readonly lock: StorageLock,
    private readonly file: StorageFile,
    private readonly topics: Topics,
    private readonly index: RawIndex,
    countersAtOpen: StorageCounters,
  ) {
    this.durability = durabilityOf(settings.flush);
    this.#heap = options.heap;
    this.#kernel = kernelOf(options.heap);
    this.#storage = options.storage;
    this.#countersAtOpen = countersAtOpen;
    this.#listener = options.listener;
    this.#stage = options.stage ?? new Int32Array(1);
    this.#stage[0] = STAGE_PRODUCER;
    this.#commit = new GroupCommit({
      policy: settings.flush,
      sync: () => this.file.sync(),
      listener: options.listener,
    });
    this.#needsClock =
      settings.lingerMs > 0 || (typeof settings.flush === "object" && settings.flush.every.ms !== undefined);
    this.#allocateBlock(Math.max(settings.batchSizeBytes, SMALLEST_BLOCK_BYTES));
    this.#writtenBytes = index.indexedBytes;
    this.#resize();
    for (const [handle] of topics.partitions.entries()) {
      this.#endOffsets[handle] = index.messageCount(handle);
      this.#writtenOffsets[handle] = index.messageCount(handle);
    }
  }

  async createTopic(topic: string, partitionCount: number): Promise<readonly PartitionHandle[]> {
    this.#checkOpen();
    const before = this.topics.partitions.length;
    const handles = this.topics.create(topic, partitionCount);
    if (this.topics.partitions.length > before) {
      this.#storage.replaceAll(
        join(this.directory, TOPICS_FILE),
        new TextEncoder().encode(JSON.stringify(this.topics.partitions)),
      );
      this.#resize();
    }
    return handles;
  }

  partitions(): readonly PartitionInfo[] {
    return this.topics.partitions.map((_, handle) => this.partitionInfo(handle));
  }

  partitionInfo(partition: PartitionHandle): PartitionInfo {
    const endOffset = this.#endOffsets[partition]!;
    return { handle: partition, ...this.topics.partitions[partition]!, startOffset: 0, endOffset };
  }

  append(partition: PartitionHandle, message: Message, _timestampMs: number): boolean {
    this.#checkOpen();
    this.#commit.checkNotFailed();
    const sizeBytes = FRAME_HEADER_SIZE_BYTES + Math.max(0, message.valueSizeBytes);
    if (message.key !== null || message.headers.length > 0) {
      throw new UnrepresentableError("The raw baseline keeps values only: append messages without key and headers.");
    }
    if (sizeBytes > this.settings.bufferMemoryBytes) {
      throw new UnrepresentableError(
        `A message of ${sizeBytes} bytes does not fit bufferMemoryBytes, ${this.settings.bufferMemoryBytes}. Raise it or send less.`,
      );
    }
    if (this.#blockUsedBytes + sizeBytes > this.settings.batchSizeBytes && this.#blockUsedBytes > 0) {
      this.#write();
      this.#commit.checkNotFailed();
    }
    if (sizeBytes > this.#blockCapacityBytes) this.#growBlock(sizeBytes);
    this.#pending.add(partition);
    this.#put(partition, message);
    this.#blockUsedBytes += sizeBytes;
    this.#endOffsets[partition]!++;
    this.#appendedMessages++;
    if (this.#blockUsedBytes >= this.settings.batchSizeBytes) this.#write();
    return true;
  }

  poll(): void {
    this.#checkOpen();
    const nowMs = this.#needsClock ? performance.now() : 0;
    if (this.#blockUsedBytes > 0) {
      if (Number.isNaN(this.#blockSinceMs)) this.#blockSinceMs = nowMs;
      if (nowMs - this.#blockSinceMs >= this.settings.lingerMs) this.#write();
    }
    const found = this.#stage[0]!;
    this.#stage[0] = STAGE_BROKER;
    try {
      this.#commit.poll(nowMs);
    } finally {
      this.#stage[0] = found;
    }
  }

  async flush(): Promise<void> {
    this.#checkOpen();
    await this.#flush();
  }

  async fetch(
    partition: PartitionHandle,
    fromOffset: number,
    maxBytes: number,
    visit: MessageVisitor,
    options?: FetchOptions,
  ): Promise<FetchOutcome> {
    this.#checkOpen();
    if (options?.tags !== undefined) {
      throw new UnsupportedError("A frame of raw's has no tags: fetch without them.");
    }
    const endOffset = this.#endOffsets[partition]!;
    if (!(fromOffset >= 0 && fromOffset <= endOffset)) throw new OffsetOutOfRangeError(fromOffset, 0, endOffset);
    const indexedBytes = this.index.extend(this.file, this.#heap, this.#writtenBytes);
    if (indexedBytes < this.#writtenBytes) {
      throw new CorruptDataError("What was written is no frame any more", this.file.path, indexedBytes);
    }
    const readableOffset = this.index.messageCount(partition);
    let offset = fromOffset;
    let sizeBytes = 0;
    while (offset < readableOffset && (offset === fromOffset || sizeBytes < maxBytes)) {
      const before = offset;
      offset = this.#endOfRun(partition, before, readableOffset, maxBytes - sizeBytes);
      sizeBytes += this.#visitRun(partition, before, offset, visit);
    }
    return { nextOffset: offset, messageCount: offset - fromOffset, sizeBytes };
  }

  counters(): EngineCounters {
    return {
      ...countersSince(this.#storage.counters, this.#countersAtOpen),
      appendedMessages: this.#appendedMessages,
      acknowledgedMessages: this.#commit.acknowledgedMessages,
      batches: this.#batches,
      logBytes: this.#logBytes,
      indexEntries: 0,
      indexBytes: 0,
      filesRolled: 0,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#flush();
      if (this.#allocatedBytes > 0) this.file.truncate(this.#writtenBytes);
      this.#storage.replaceAll(join(this.directory, CLEAN_SHUTDOWN_MARKER), new Uint8Array());
    } finally {
      this.file.close();
      this.lock.release();
      this.#heap.release(this.#blockExtent);
    }
  }

  async #flush(): Promise<void> {
    if (this.#blockUsedBytes > 0) this.#write();
    await this.#commit.flush();
  }

  #put(partition: PartitionHandle, message: Message): void {
    const at = this.#blockAddress + this.#blockUsedBytes;
    this.#heap.view.setUint32(at, partition + 1, true);
    this.#heap.view.setUint32(at + 4, message.valueSizeBytes + 1, true);
    if (message.valueAddress >= 0) {
      this.#kernel.copyBytes(at + FRAME_HEADER_SIZE_BYTES, message.valueAddress, message.valueSizeBytes);
    } else if (message.value !== null) {
      this.#heap.bytes.set(message.value, at + FRAME_HEADER_SIZE_BYTES);
    }
  }

  /** Hands the block to the kernel. A failure fails its messages and, for good, the log; it is not thrown. */
  #write(): void {
    const found = this.#stage[0]!;
    this.#stage[0] = STAGE_BROKER;
    try {
      this.#writeBlock();
    } finally {
      this.#stage[0] = found;
    }
  }

  #writeBlock(): void {
    const sizeBytes = this.#blockUsedBytes;
    this.#blockUsedBytes = 0;
    this.#blockSinceMs = Number.NaN;
    try {
      this.#commit.checkNotFailed();
      if (this.settings.preallocate && this.#writtenBytes + sizeBytes > this.#allocatedBytes) this.#allocate(sizeBytes);
      this.file.write(this.#heap.bytes, this.#blockAddress, sizeBytes, this.#writtenBytes);
    } catch (error) {
      this.#cutTornWrite();
      this.#failBlock(error as Error);
      return;
    }
    this.#writtenBytes += sizeBytes;
    this.#logBytes += sizeBytes;
    this.#batches++;
    for (let left = this.#pending.size; left > 0; left--) {
      const partition = this.#pending.first();
      const messageCount = this.#pending.take();
      const baseOffset = this.#writtenOffsets[partition]!;
      this.#writtenOffsets[partition] = baseOffset + messageCount;
      this.#commit.written(partition, baseOffset, messageCount);
    }
  }

  /** Half a block must not be found by the next opening: without a checksum it could not be told from a whole one. */
  #cutTornWrite(): void {
    try {
      this.file.truncate(this.#writtenBytes);
    } catch {
      // the device is beyond that too; the failure that is being reported is the first one
    }
  }

  #failBlock(error: Error): void {
    this.#commit.fail(error); // what waits for a sync is older, so it fails first
    while (this.#pending.size > 0) {
      const partition = this.#pending.first();
      const messageCount = this.#pending.take();
      this.#listener.failed(partition, messageCount, error);
    }
  }

  #allocate(sizeBytes: number): void {
    const step = this.settings.segmentSizeBytes;
    const wanted = Math.ceil((this.#writtenBytes + sizeBytes) / step) * step;
    const startedNs = process.hrtime.bigint();
    this.file.allocate(wanted);
    this.#allocatedBytes = wanted;
    const durationNs = Number(process.hrtime.bigint() - startedNs);
    this.#listener.event?.({ kind: "file-preallocate", startedNs, durationNs });
  }

  #growBlock(sizeBytes: number): void {
    this.#heap.release(this.#blockExtent);
    this.#allocateBlock(2 ** Math.ceil(Math.log2(sizeBytes)));
  }

  #allocateBlock(capacityBytes: number): void {
    this.#blockExtent = this.#heap.allocate(BLOCK_PHASE_BYTES + capacityBytes, PAGE_SIZE_BYTES);
    this.#blockAddress = this.#blockExtent + BLOCK_PHASE_BYTES;
    this.#blockCapacityBytes = capacityBytes;
  }

  /** The end of the run of messages from `fromOffset` on that are read in one go: at least one. */
  #endOfRun(partition: PartitionHandle, fromOffset: number, readableOffset: number, maxBytes: number): number {
    const { index } = this;
    const start = index.position(partition, fromOffset);
    const limit = start + Math.min(maxBytes, FETCH_STEP_BYTES);
    let end = start + index.frameSizeBytes(partition, fromOffset);
    for (let offset = fromOffset + 1; offset < readableOffset; offset++) {
      const position = index.position(partition, offset);
      if (position - end > FETCH_GAP_BYTES || position >= limit) return offset;
      end = position + index.frameSizeBytes(partition, offset);
    }
    return readableOffset;
  }

  /** Visits messages `fromOffset` to `toOffset` - 1. @returns their bytes, frames included */
  #visitRun(partition: PartitionHandle, fromOffset: number, toOffset: number, visit: MessageVisitor): number {
    const { file, index } = this;
    const start = index.position(partition, fromOffset);
    const end = index.position(partition, toOffset - 1) + index.frameSizeBytes(partition, toOffset - 1);
    const chunk = new Uint8Array(end - start);
    const view = new DataView(chunk.buffer);
    const read = file.read(chunk, 0, chunk.byteLength, start);
    let visitedBytes = 0;
    for (let offset = fromOffset; offset < toOffset; offset++) {
      const position = index.position(partition, offset);
      const sizeBytes = index.frameSizeBytes(partition, offset);
      const at = position - start;
      const isWhole = at + sizeBytes <= read && view.getUint32(at, true) === partition + 1;
      if (!isWhole) throw new CorruptDataError("A frame is not the one that was written", file.path, position);
      const isNull = view.getUint32(at + 4, true) === 0;
      this.#message.offset = offset;
      this.#message.value = isNull ? null : chunk.subarray(at + FRAME_HEADER_SIZE_BYTES, at + sizeBytes);
      visit(this.#message);
      visitedBytes += sizeBytes;
    }
    return visitedBytes;
  }

  #resize(): void {
    const total = this.topics.partitions.length;
    this.#pending.resize(total);
    this.index.resize(total);
    const endOffsets = new Float64Array(total);
    endOffsets.set(this.#endOffsets);
    this.#endOffsets = endOffsets;
    const writtenOffsets = new Float64Array(total);
    writtenOffsets.set(this.#writtenOffsets);
    this.#writtenOffsets = writtenOffsets;
  }

  #checkOpen(): void {
    if (this.#closing !== null) throw new ClosedError("The engine has been closed. Open it again to use it.");
  }
}

/** @throws OpenError, CorruptDataError */
function open(options: OpenOptions): RawEngine {
  const settings = baselineSettingsSchema.parse(options.settings);
  const { storage, directory, heap } = options;
  const startedMs = performance.now();
  const countersAtOpen = { ...storage.counters };
  storage.makeDirectory(directory);
  const foreign = storage.list(directory).find((entry) => !OWN_FILES.has(entry.name));
  if (foreign !== undefined) {
    throw new OpenError(
      `${directory} holds ${foreign.name}, which is not the raw baseline's. Give it an empty directory.`,
    );
  }
  const lock = storage.lock(join(directory, LOCK_FILE));
  if (lock === null) throw new OpenError(`${directory} is in use by another engine. Close that first.`);
  let file: StorageFile | null = null;
  try {
    const topics = readTopics(storage, join(directory, TOPICS_FILE));
    const path = join(directory, LOG_FILE);
    const isNew = !storage.exists(path);
    file = storage.open(path, isNew ? "create" : "write");
    const marker = join(directory, CLEAN_SHUTDOWN_MARKER);
    const wasCleanShutdown = isNew || storage.exists(marker);
    if (storage.exists(marker)) storage.remove(marker);
    storage.syncDirectory(directory);
    const index = new RawIndex();
    index.resize(topics.partitions.length);
    const repaired = cutTornTail(file, heap, index);
    const recovery = { wasCleanShutdown, durationMs: performance.now() - startedMs, ...repaired };
    return new RawEngine(options, recovery, directory, settings, lock, file, topics, index, countersAtOpen);
  } catch (error) {
    file?.close();
    lock.release();
    throw error;
  }
}

function readTopics(storage: Storage, path: string): Topics {
  const topics = new Topics();
  if (!storage.exists(path)) return topics;
  const content = new TextDecoder().decode(storage.readAll(path));
  try {
    for (const partition of topicsSchema.parse(JSON.parse(content))) topics.add(partition);
  } catch {
    throw new CorruptDataError("The list of topics is no such list", path, 0);
  }
  return topics;
}

/** Cuts what is no whole frame, durably: else it could come back behind later appends. */
function cutTornTail(
  file: StorageFile,
  heap: Heap,
  index: RawIndex,
): Omit<RecoveryReport, "wasCleanShutdown" | "durationMs"> {
  const sizeBytes = file.sizeBytes();
  const soundBytes = index.extend(file, heap, sizeBytes);
  const truncatedBytes = sizeBytes - soundBytes;
  const repairs: string[] = [];
  if (truncatedBytes > 0) {
    file.truncate(soundBytes);
    file.syncNow();
    repairs.push(`Cut ${truncatedBytes} bytes that are no whole message off ${file.path} at byte ${soundBytes}.`);
  }
  return { scannedBytes: soundBytes, truncatedBytes, rebuiltIndexes: 1, droppedFiles: 0, repairs };
}

export const rawEngine: EngineDefinition = {
  name: "raw",
  description: "Appends the same values to one file without encoding them: the disk's ceiling through this process.",
  settingsSchema: baselineSettingsSchema,
  storesMessages: true,
  async open(options) {
    return openOnDisk(options.directory, () => open(options));
  },
};
