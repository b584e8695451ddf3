import type { Socket } from "node:net";
import { join } from "node:path";
import { Arrivals } from "../arrivals.js";
import { Consumers, OPEN_FILES_A_CONSUMER } from "../consumers.js";
import {
  type Consumer,
  type EngineCounters,
  type EngineDurability,
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
  type WriterThread,
  type WriterTicket,
} from "../engine.js";
import {
  ClosedError,
  OffsetOutOfRangeError,
  OpenError,
  UnrepresentableError,
  UnsupportedError,
  WritersAttachedError,
} from "../errors.js";
import { durabilityOf } from "../flush-policy.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import { countersSince } from "../storage/counters.js";
import type { Storage, StorageCounters, StorageLock } from "../storage/storage.js";
import { Accumulator } from "./accumulator.js";
import { CLEAN_SHUTDOWN_CONTENT, decodeOffsets, encodeOffsets, replaceAside } from "./checkpoints.js";
import { LogReader, OPEN_ENDED_SEGMENTS } from "./log-reader.js";
import { MappedWindows } from "./mapped-windows.js";
import {
  CLEAN_SHUTDOWN_MARKER,
  CLEANER_CHECKPOINT,
  checkTopicName,
  LOCK_FILE,
  LOG_START_CHECKPOINT,
  parsePartitionDirectory,
  partitionDirectory,
  RECOVERY_POINT_CHECKPOINT,
} from "./names.js";
import { type LogContext, type LogCounters, PartitionLog } from "./partition-log.js";
import { type LoadOptions, loadLog, RepairLog } from "./recovery.js";
import { Retention } from "./retention.js";
import { SegmentScanner } from "./segment-scanner.js";
import { SendPlanner } from "./send-plan.js";
import type { PartitionedLogSettings } from "./settings.js";
import { PartitionSharing } from "./sharing.js";
import { Slots } from "./slots.js";

/** Kafka: log.flush.offset.checkpoint.interval.ms. */
const CHECKPOINT_INTERVAL_MS = 60_000;
/** The clock costs more than a poll, so retention looks at it every so many polls. */
const POLLS_A_RETENTION_STEP = 256;
/** Under `every: {ms}`, how often the logs that wait for their time are looked at. */
const COMMIT_CHECK_INTERVAL_MS = 1;
/** With `indexBuilding: "deferred"`, what one poll does: so many logs, so many batches of each. */
const LOGS_INDEXED_A_POLL = 8;
const BATCHES_INDEXED_A_STEP = 16;
/** Ended segments synced at once in the background, over all partitions. */
const BACKGROUND_SYNCS = 16;
/** Partitions whose files are synced at once on close and flush; the thread pool is smaller, the kernel merges. */
const CLOSE_CONCURRENCY = 64;
/**
 * Open files besides one for each partition (and one for each window mapped): ended segments being read, three of each being synced, two indexes of each
 * being closed, and what the process has open anyhow.
 */
const OTHER_OPEN_FILES = OPEN_ENDED_SEGMENTS + 3 * BACKGROUND_SYNCS + 2 * CLOSE_CONCURRENCY + 64;

/** Directories that Kafka keeps among the partitions, and what a filesystem does. */
const FOREIGN_DIRECTORIES = /^(remote-log-index-cache|__cluster_metadata-0|lost\+found)$|-(stray|future)$/;
const DELETED_DIRECTORY = /\.[0-9a-f]{32}-delete$/;

const NEW_PARTITION = { wasCleanShutdown: false, recoveryPoint: 0, startOffset: 0, isCompacted: false };

/** Kafka's log manager: the directory of all partitions, its lock, checkpoints and clean-shutdown marker. */
export class PartitionedLogEngine implements StorageEngine {
  readonly durability: EngineDurability;
  readonly recovery: RecoveryReport;
  readonly #storage: Storage;
  readonly #directory: string;
  readonly #settings: PartitionedLogSettings;
  readonly #lock: StorageLock;
  readonly #countersAtOpen: StorageCounters;
  readonly #context: LogContext;
  readonly #accumulator: Accumulator<PartitionLog>;
  readonly #stage: Int32Array;
  readonly #reader: LogReader;
  readonly #arrivals: Arrivals;
  readonly #consumers: Consumers;
  readonly #retention: Retention;
  #pollsToRetention = POLLS_A_RETENTION_STEP;
  readonly #logs: PartitionLog[] = [];
  readonly #topics = new Map<string, PartitionLog[]>();
  readonly #logCounters: LogCounters = { batches: 0, logBytes: 0, indexEntries: 0, indexBytes: 0, filesRolled: 0 };
  /** Logs whose group commit has something to begin, and those on the list by handle. */
  readonly #toCommit: PartitionLog[] = [];
  readonly #isToCommit: boolean[] = [];
  readonly #commitsByTime: boolean;
  readonly #defersIndexes: boolean;
  /** Logs with batches that are not indexed yet, and those on the list by handle. */
  readonly #toIndex: PartitionLog[] = [];
  readonly #isToIndex: boolean[] = [];
  #commitCheckedMs = 0;
  #checkpointedMs = performance.now();
  #checkpointWork: Promise<void> = Promise.resolve();
  #recoveryPointsMoved = false;
  /** With the first writer of another thread. */
  #sharing: PartitionSharing | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: OpenOptions, settings: PartitionedLogSettings) {
    this.#storage = options.storage;
    this.#directory = options.directory;
    this.#settings = settings;
    this.#stage = options.stage ?? new Int32Array(1);
    this.#stage[0] = STAGE_PRODUCER;
    this.#countersAtOpen = { ...options.storage.counters };
    this.durability = durabilityOf(settings.flush);
    this.#defersIndexes = settings.indexBuilding === "deferred";
    this.#commitsByTime = typeof settings.flush === "object" && settings.flush.every.ms !== undefined;
    this.#arrivals = new Arrivals(settings, (partition) => this.#logs[partition]!.endOffset);
    const startedMs = performance.now();
    this.#storage.makeDirectory(this.#directory);
    this.#lock = this.#takeLock();
    let accumulator: Accumulator<PartitionLog> | undefined;
    let windows: MappedWindows | null = null;
    try {
      this.#checkAdvice();
      windows = this.#createWindows(options);
      this.#context = {
        storage: options.storage,
        heap: options.heap,
        settings,
        listener: options.listener,
        counters: this.#logCounters,
        windows,
        backgroundSyncs: new Slots(BACKGROUND_SYNCS),
        syncEnded: (log) => {
          this.#recoveryPointsMoved = true;
          this.#noteToCommit(log);
        },
      };
      accumulator = this.#createAccumulator(options);
      this.#accumulator = accumulator;
      this.#reader = new LogReader(options.heap, settings);
      const planner = new SendPlanner(this.#reader);
      this.#consumers = new Consumers(this.#storage, settings.transfer, (partition, fromOffset, maxBytes, { tags }) => {
        refuseTags(tags);
        return planner.plan(this.#logOf(partition), fromOffset, maxBytes);
      });
      this.#retention = new Retention({
        storage: options.storage,
        settings,
        listener: options.listener,
        logs: this.#logs,
        checkpoint: () => this.#checkpointStartOffsets(),
        forget: (segment) => {
          this.#reader.forget(segment);
          this.#consumers.forget(segment.path);
        },
      });
      this.recovery = this.#load(options, startedMs);
    } catch (error) {
      for (const log of this.#logs) for (const segment of log.segments) segment.unload();
      accumulator?.release();
      windows?.release();
      this.#lock.release();
      throw error;
    }
  }

  async createTopic(topic: string, partitionCount: number): Promise<readonly PartitionHandle[]> {
    this.#checkOpen();
    checkTopicName(topic);
    if (!(Number.isSafeInteger(partitionCount) && partitionCount > 0)) {
      throw new UnrepresentableError(
        `A topic of ${partitionCount} partitions cannot be. Give a positive whole number.`,
      );
    }
    this.#checkOpenFiles(partitionCount);
    const existing = new Set(this.#topics.get(topic)?.map((log) => log.index));
    const missing = Array.from({ length: partitionCount }, (_, index) => index).filter((index) => !existing.has(index));
    this.#checkOpenFiles(this.#logs.length + missing.length, this.#consumers.count);
    if (this.#sharing !== null && missing.length > 0) {
      throw new UnsupportedError(
        `The topic ${topic} cannot be made larger or new: writers know the partitions that were there when the first of them was opened. Create topics before.`,
      );
    }
    const report = new RepairLog();
    const scanner = this.#recoveryScanner(this.#context.heap);
    for (const index of missing) {
      const directory = join(this.#directory, partitionDirectory(topic, index));
      this.#storage.makeDirectory(directory);
      this.#addLog(topic, index, directory, scanner, report, NEW_PARTITION);
    }
    scanner.release();
    if (missing.length > 0) await this.#storage.syncDirectoryAside(this.#directory);
    return this.#topics
      .get(topic)!
      .filter((log) => log.index < partitionCount)
      .map((log) => log.handle);
  }

  partitions(): readonly PartitionInfo[] {
    return this.#logs.map((log) => this.partitionInfo(log.handle));
  }

  partitionInfo(partition: PartitionHandle): PartitionInfo {
    const { handle, topic, index, startOffset, endOffset } = this.#logOf(partition);
    return { handle, topic, index, startOffset, endOffset };
  }

  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean {
    if (this.#closing !== null) this.#checkOpen();
    return this.#accumulator.append(partition, message, timestampMs);
  }

  poll(): void {
    if (this.#closing !== null) return;
    this.#accumulator.drain();
    const found = this.#stage[0]!;
    this.#stage[0] = STAGE_BROKER;
    try {
      if (this.#sharing !== null) this.#sharing.poll();
      if (this.#toCommit.length > 0) this.#beginCommits();
      if (this.#toIndex.length > 0) this.#buildIndexes();
      if (this.#recoveryPointsMoved) this.#checkpointWhenDue();
      if (--this.#pollsToRetention <= 0 || this.#retention.isBusy) {
        this.#pollsToRetention = POLLS_A_RETENTION_STEP;
        this.#retention.step();
      }
    } finally {
      this.#stage[0] = found;
    }
  }

  async flush(): Promise<void> {
    this.#checkOpen();
    this.#accumulator.drainAll();
    this.#sharing?.poll();
    try {
      await inParallel(this.#logs, (log) => log.flush());
    } finally {
      this.#sharing?.poll();
    }
  }

  async fetch(
    partition: PartitionHandle,
    fromOffset: number,
    maxBytes: number,
    visit: MessageVisitor,
    options?: FetchOptions,
  ): Promise<FetchOutcome> {
    this.#checkOpen();
    refuseTags(options?.tags);
    return this.#reader.fetch(this.#logOf(partition), fromOffset, maxBytes, visit);
  }

  async offsetForTimestamp(partition: PartitionHandle, timestampMs: number): Promise<number> {
    this.#checkOpen();
    return this.#reader.offsetForTimestamp(this.#logOf(partition), timestampMs);
  }

  serve(socket: Socket): Consumer {
    this.#checkOpen();
    this.#checkOpenFiles(this.#logs.length, this.#consumers.count + 1);
    return this.#consumers.serve(socket);
  }

  async awaitMessages(partition: PartitionHandle, offset: number, timeoutMs: number): Promise<boolean> {
    this.#checkOpen();
    const { startOffset, endOffset } = this.#logOf(partition);
    if (!(offset >= startOffset && offset <= endOffset))
      throw new OffsetOutOfRangeError(offset, startOffset, endOffset);
    return this.#arrivals.wait(partition, offset, timeoutMs);
  }

  openWriter(thread: WriterThread): WriterTicket {
    this.#checkOpen();
    this.#sharing ??= this.#share();
    return this.#sharing.openWriter(thread);
  }

  counters(): EngineCounters {
    const shared = this.#sharing?.counts();
    let acknowledgedMessages = shared?.acknowledgedMessages ?? 0;
    for (const log of this.#logs) acknowledgedMessages += log.groupCommit.acknowledgedMessages;
    const stored = countersSince(this.#storage.counters, this.#countersAtOpen);
    return {
      ...stored,
      writeCalls: stored.writeCalls + (shared?.writeCalls ?? 0),
      writtenBytes: stored.writtenBytes + (shared?.logBytes ?? 0),
      ...this.#logCounters,
      appendedMessages: this.#accumulator.appendedMessages + (shared?.appendedMessages ?? 0),
      acknowledgedMessages,
    };
  }

  close(): Promise<void> {
    const writerCount = this.#sharing?.attachedCount ?? 0;
    if (this.#closing === null && writerCount > 0) return Promise.reject(new WritersAttachedError(writerCount));
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#arrivals.close();
    const consumersClosed = this.#consumers.close();
    const retentionClosed = this.#retention.close();
    this.#accumulator.drainAll();
    this.#sharing?.poll();
    try {
      await inParallel(this.#logs, async (log) => {
        try {
          await log.flush();
        } catch {
          // reported through the listener; the log stays as it is for the next opening to recover
        }
        await log.close();
      });
      await this.#checkpointWork;
      await this.#writeCheckpoints();
      await retentionClosed;
      if (this.#logs.every((log) => log.failure === null)) this.#writeCleanShutdownMarker();
    } finally {
      await consumersClosed;
      this.#sharing?.release();
      this.#accumulator.release();
      this.#context.windows?.release();
      this.#reader.release();
      this.#lock.release();
    }
  }

  #takeLock(): StorageLock {
    const path = join(this.#directory, LOCK_FILE);
    const lock = this.#storage.lock(path);
    if (lock === null) {
      throw new OpenError(`${this.#directory} is in use by another process (it holds ${path}). Close that one first.`);
    }
    return lock;
  }

  /** @throws UnsupportedError */
  #checkAdvice(): void {
    const { pageCacheAdvice } = this.#settings;
    if (pageCacheAdvice === "none" || this.#storage.takesAdvice) return;
    throw new UnsupportedError(
      `pageCacheAdvice "${pageCacheAdvice}" needs posix_fadvise, which ${process.platform} does not offer. Use "none".`,
    );
  }

  #createWindows({ heap, storage }: OpenOptions): MappedWindows | null {
    const { writePath, mapWindowBytes } = this.#settings;
    if (writePath === "write") return null;
    if (!storage.syncCoversMappings) {
      throw new UnsupportedError(
        `writePath "mmap" needs a system whose fdatasync covers mappings, as Linux's does; ${process.platform}'s does not. Use "write".`,
      );
    }
    try {
      return new MappedWindows(heap, mapWindowBytes);
    } catch (error) {
      throw new OpenError('The heap has no room left for the windows of writePath "mmap". Use "write".', {
        cause: error,
      });
    }
  }

  #createAccumulator({ heap, listener }: OpenOptions): Accumulator<PartitionLog> {
    try {
      return new Accumulator(heap, this.#settings, listener, (log) => this.#written(log), this.#stage);
    } catch (error) {
      throw new OpenError(`bufferMemoryBytes (${this.#settings.bufferMemoryBytes}) is more than there is.`, {
        cause: error,
      });
    }
  }

  /** Loads every partition of the directory. */
  #load(options: OpenOptions, startedMs: number): RecoveryReport {
    const markerPath = join(this.#directory, CLEAN_SHUTDOWN_MARKER);
    const wasCleanShutdown = this.#storage.exists(markerPath);
    let hasMarker = wasCleanShutdown;
    /** Before the first change, and not before: a directory that is refused stays as it was closed. */
    const removeMarker = () => {
      if (!hasMarker) return;
      hasMarker = false;
      this.#storage.remove(markerPath);
      // Or a power loss could bring the marker back, beside logs that were written meanwhile. (Kafka leaves that open.)
      this.#storage.syncDirectory(this.#directory);
    };
    const report = new RepairLog(removeMarker);
    const recoveryPoints = this.#readOffsets(RECOVERY_POINT_CHECKPOINT, report);
    const startOffsets = this.#readOffsets(LOG_START_CHECKPOINT, report);
    const cleaned = this.#readOffsets(CLEANER_CHECKPOINT, report);
    const scanner = this.#recoveryScanner(options.heap);
    try {
      const entries = this.#storage.list(this.#directory);
      this.#checkOpenFiles(entries.filter(({ name }) => parsePartitionDirectory(name) !== undefined).length);
      for (const { name, kind } of entries) {
        if (kind !== "directory" || FOREIGN_DIRECTORIES.test(name)) continue;
        const directory = join(this.#directory, name);
        if (DELETED_DIRECTORY.test(name)) {
          this.#removeDeleted(directory, report);
          continue;
        }
        const partition = parsePartitionDirectory(name);
        if (partition === undefined) {
          throw new OpenError(
            `${directory} is not a partition's directory (<topic>-<number>), so ${this.#directory} is not this engine's alone. Move it away.`,
          );
        }
        this.#addLog(partition.topic, partition.index, directory, scanner, report, {
          wasCleanShutdown,
          recoveryPoint: recoveryPoints.get(name) ?? 0,
          startOffset: startOffsets.get(name) ?? 0,
          isCompacted: cleaned.has(name),
        });
      }
      removeMarker();
    } finally {
      scanner.release();
    }
    const { scannedBytes, truncatedBytes, rebuiltIndexes, droppedFiles, repairs } = report;
    const durationMs = performance.now() - startedMs;
    return { wasCleanShutdown, durationMs, scannedBytes, truncatedBytes, rebuiltIndexes, droppedFiles, repairs };
  }

  #addLog(
    topic: string,
    index: number,
    directory: string,
    scanner: SegmentScanner,
    report: RepairLog,
    known: Pick<LoadOptions, "wasCleanShutdown" | "recoveryPoint" | "startOffset" | "isCompacted">,
  ): void {
    const loaded = loadLog({
      storage: this.#storage,
      settings: this.#settings,
      scanner,
      report,
      directory,
      ...known,
    });
    const log = new PartitionLog(this.#logs.length, topic, index, directory, loaded, this.#context);
    this.#accumulator.addPartition(log);
    this.#context.windows?.makeRoomFor(this.#logs.length + 1);
    this.#logs.push(log);
    this.#isToCommit.push(false);
    this.#isToIndex.push(false);
    const logsOfTopic = this.#topics.get(topic) ?? [];
    logsOfTopic.push(log);
    logsOfTopic.sort((a, b) => a.index - b.index);
    this.#topics.set(topic, logsOfTopic);
  }

  /** From now on every batch, this thread's too, is written under its partition's lock. */
  #share(): PartitionSharing {
    const { heap, settings, listener, windows } = this.#context;
    if (windows !== null || settings.assembly !== "producer" || settings.indexBuilding !== "inline") {
      throw new UnsupportedError(
        'Several writers write ready batches by write calls. Open the engine with writePath "write", assembly "producer" and indexBuilding "inline".',
      );
    }
    if (this.#logs.some(({ active }) => active.file!.descriptor === null)) {
      throw new UnsupportedError("Several writers need files of the operating system. Open the engine on a disk.");
    }
    this.#accumulator.drainAll();
    return new PartitionSharing(
      ...([heap, settings, this.#logs, listener] as const),
      (log) => this.#written(log),
      () => inParallel(this.#logs, (log) => log.flush()),
    );
  }

  #recoveryScanner(heap: Heap): SegmentScanner {
    return new SegmentScanner(heap, this.#settings.checksum ? "checksum" : "form");
  }

  #removeDeleted(directory: string, report: RepairLog): void {
    report.beforeChange();
    for (const { name } of this.#storage.list(directory)) {
      this.#storage.remove(join(directory, name));
      report.droppedFiles++;
    }
    this.#storage.removeDirectory(directory);
    report.repairs.push(`${directory} was to be deleted and is removed.`);
  }

  #readOffsets(name: string, report: RepairLog): Map<string, number> {
    const path = join(this.#directory, name);
    if (!this.#storage.exists(path)) return new Map();
    try {
      return decodeOffsets(this.#storage.readAll(path));
    } catch (error) {
      report.repairs.push(`${path} was unreadable and is ignored: ${(error as Error).message}`);
      return new Map();
    }
  }

  #written(log: PartitionLog): void {
    if (this.#arrivals.isAwaited) this.#arrivals.arrived(log.handle);
    if (this.#defersIndexes && !this.#isToIndex[log.handle]) {
      this.#isToIndex[log.handle] = true;
      this.#toIndex.push(log);
    }
    this.#noteToCommit(log);
  }

  /** A bounded step of building the indexes of what was written, log by log. */
  #buildIndexes(): void {
    for (let step = 0; step < LOGS_INDEXED_A_POLL && this.#toIndex.length > 0; step++) {
      const log = this.#toIndex.at(-1)!;
      if (log.buildIndexes(BATCHES_INDEXED_A_STEP)) continue;
      this.#toIndex.pop();
      this.#isToIndex[log.handle] = false;
    }
  }

  #noteToCommit(log: PartitionLog): void {
    if (this.#isToCommit[log.handle] || log.groupCommit.isIdle) return;
    this.#isToCommit[log.handle] = true;
    this.#toCommit.push(log);
  }

  /** Lets the group commits begin their syncs. Who has begun comes back to the list when the sync has ended. */
  #beginCommits(): void {
    const nowMs = performance.now();
    if (this.#commitsByTime) {
      if (nowMs - this.#commitCheckedMs < COMMIT_CHECK_INTERVAL_MS) return;
      this.#commitCheckedMs = nowMs;
    }
    const logs = this.#toCommit;
    let kept = 0;
    for (const log of logs) {
      log.groupCommit.poll(nowMs);
      if (log.isSyncing || log.groupCommit.isIdle) this.#isToCommit[log.handle] = false;
      else logs[kept++] = log;
    }
    logs.length = kept;
  }

  #checkpointWhenDue(): void {
    const nowMs = performance.now();
    if (nowMs - this.#checkpointedMs < CHECKPOINT_INTERVAL_MS) return;
    this.#checkpointedMs = nowMs;
    this.#recoveryPointsMoved = false;
    // An older checkpoint costs a longer recovery, nothing else: the next one is due soon.
    this.#checkpointWork = this.#checkpointWork.then(() => this.#writeCheckpoints()).catch(() => {});
  }

  #checkpointStartOffsets(): Promise<void> {
    const written = this.#checkpointWork.then(() => this.#writeStartOffsets());
    this.#checkpointWork = written.catch(() => {});
    return written;
  }

  async #writeCheckpoints(): Promise<void> {
    await this.#writeOffsets(RECOVERY_POINT_CHECKPOINT, this.#logs, (log) => log.recoveryPoint);
    await this.#writeStartOffsets();
  }

  /** Also of logs that begin with a segment: the one before may be back after a power cut. (Kafka leaves those out.) */
  #writeStartOffsets(): Promise<void> {
    const withoutHead = this.#logs.filter((log) => log.startOffset > 0);
    return this.#writeOffsets(LOG_START_CHECKPOINT, withoutHead, (log) => log.startOffset);
  }

  #writeOffsets(name: string, logs: readonly PartitionLog[], offsetOf: (log: PartitionLog) => number): Promise<void> {
    const offsets = logs.map((log) => ({ topic: log.topic, index: log.index, offset: offsetOf(log) }));
    return replaceAside(this.#storage, join(this.#directory, name), encodeOffsets(offsets));
  }

  #writeCleanShutdownMarker(): void {
    const marker = this.#storage.open(join(this.#directory, CLEAN_SHUTDOWN_MARKER), "create");
    try {
      marker.write(CLEAN_SHUTDOWN_CONTENT, 0, CLEAN_SHUTDOWN_CONTENT.byteLength, 0);
      marker.syncNow();
    } finally {
      marker.close();
    }
    this.#storage.syncDirectory(this.#directory);
  }

  /** Before anything is opened, rather than when the limit is hit. @throws OpenError */
  #checkOpenFiles(partitionCount: number, consumerCount = 0): void {
    const limit = this.#storage.openFileLimit();
    const mapped = this.#context.windows?.countFor(partitionCount) ?? 0;
    const needed = partitionCount + mapped + OTHER_OPEN_FILES + consumerCount * OPEN_FILES_A_CONSUMER;
    if (needed <= limit) return;
    const consumers = consumerCount === 0 ? "" : ` and ${consumerCount} consumers`;
    throw new OpenError(
      `${partitionCount} partitions${consumers} need ${needed} open files, and this process may have ${limit}. Raise the limit (ulimit -n) or take fewer partitions.`,
    );
  }

  #logOf(partition: PartitionHandle): PartitionLog {
    const log = this.#logs[partition];
    invariant(log !== undefined, "a partition handle comes from this engine");
    return log;
  }

  #checkOpen(): void {
    if (this.#closing !== null)
      throw new ClosedError(`The engine over ${this.#directory} has been closed. Open it again.`);
  }
}

/** @throws UnsupportedError */
function refuseTags(tags: readonly string[] | undefined): void {
  if (tags === undefined) return;
  throw new UnsupportedError("Kafka's format has no tags: read without them, and compare a header of each message.");
}

/** Runs `work` over all items, `CLOSE_CONCURRENCY` at once. Rejects with the first error, after all have ended. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) await work(items[next++]!);
  };
  const workers = await Promise.allSettled(Array.from({ length: CLOSE_CONCURRENCY }, worker));
  const failed = workers.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
