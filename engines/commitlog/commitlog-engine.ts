import type { Socket } from "node:net";
import { basename, dirname } from "node:path";
import { Arrivals } from "../arrivals.js";
import { Consumers } from "../consumers.js";
import {
  type Consumer,
  type EngineCounters,
  type EngineDurability,
  type EngineListener,
  type FetchOptions,
  type FetchOutcome,
  type KeyedMessageVisitor,
  type KeyQuery,
  type Message,
  type MessageVisitor,
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
  CorruptDataError,
  LogFailedError,
  OffsetOutOfRangeError,
  UnrepresentableError,
  UnsupportedError,
  WritersAttachedError,
} from "../errors.js";
import { GroupCommit } from "../group-commit.js";
import type { Heap } from "../heap.js";
import { InvariantError, invariant } from "../invariant.js";
import type { Kernel } from "../kernel/kernel.js";
import { countersSince } from "../storage/counters.js";
import type { Storage, StorageCounters, StorageLock } from "../storage/storage.js";
import { Batches, type OpenBatch } from "./batches.js";
import type { CheckpointFile } from "./checkpoint.js";
import { writeCleanShutdown } from "./clean-shutdown.js";
import type { CommitLog } from "./commit-log.js";
import { ConsumequeueFlush } from "./consumequeue-flush.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KeyIndex } from "./key-index.js";
import { visitByKey } from "./key-lookup.js";
import { LogAppender } from "./log-appender.js";
import { MappedLog } from "./mapped-log.js";
import { MessageEncoder } from "./message-encoder.js";
import {
  ABORT_FILE,
  COMMITLOG_DIRECTORY,
  CONSUMEQUEUE_DIRECTORY,
  checkTopicName,
  parseOffsetFileName,
} from "./names.js";
import { checkOpenFiles, type OpenFiles } from "./open-files.js";
import type { Queue, QueueTable } from "./queue-table.js";
import { Reader } from "./reader.js";
import type { RecordParser } from "./record-parser.js";
import type { Recovered } from "./recovery.js";
import { Reput } from "./reput.js";
import { Retention } from "./retention.js";
import { SendPlanner } from "./send-plan.js";
import type { CommitlogSettings } from "./settings.js";
import { LogSharing } from "./sharing.js";
import { TagFilter } from "./tag-filter.js";
import { offsetForTimestamp } from "./timestamp-search.js";

const PAGE_BYTES = 4_096;
const MAX_QUEUES_PER_TOPIC = 1_000_000;

/** The clock costs as much as an encode, so it is read every so many polls, and at every idle one. */
const POLLS_PER_CLOCK = 16;
const CHECKPOINT_INTERVAL_MS = 1_000;

/** What `open.ts` puts together; the engine owns all of it from then on. */
export interface EngineParts {
  readonly storage: Storage;
  readonly countersAtOpen: StorageCounters;
  readonly heap: Heap;
  readonly kernel: Kernel;
  readonly root: string;
  readonly settings: CommitlogSettings;
  readonly listener: EngineListener;
  readonly lock: StorageLock;
  readonly recovered: Recovered;
  readonly log: CommitLog;
  readonly openFiles: OpenFiles;
  readonly indexCounter: { indexBytes: number };
  readonly queues: QueueTable;
  readonly parser: RecordParser;
  readonly dispatcher: Dispatcher;
  readonly keyIndex: KeyIndex | null;
  readonly checkpoint: CheckpointFile;
  /** Largest record that fits a file. */
  readonly maxRecordBytes: number;
  /** Largest batch, 0 = one by one. */
  readonly batchSizeBytes: number;
  /** See `OpenOptions`. */
  readonly stage: Int32Array;
}

export class CommitlogEngine implements StorageEngine {
  readonly durability: EngineDurability;
  readonly recovery: RecoveryReport;

  readonly #parts: EngineParts;
  readonly #settings: CommitlogSettings;
  readonly #queues: QueueTable;
  readonly #log: CommitLog;
  readonly #encoder: MessageEncoder;
  readonly #reader: Reader;
  readonly #batches: Batches | null;
  readonly #groupCommit: GroupCommit;
  readonly #appender: LogAppender;
  /** Appends take the shortest way: one record each, encoded into the mapping, indexed later. */
  readonly #isPlain: boolean;
  /** Null: units are built where records are appended. */
  readonly #reput: Reput | null;
  /** Units are there before their records are on the device, and consumers are not to see those. */
  readonly #hidesIndexed: boolean;
  readonly #queueFlush: ConsumequeueFlush;
  readonly #retention: Retention;
  /** With the first writer of another thread. */
  #sharing: LogSharing | null = null;
  readonly #arrivals: Arrivals;
  readonly #consumers: Consumers;
  /** What consumers could see of the log when those that wait were last told. */
  #toldOffset = -1;

  #isClosed = false;
  #closing: Promise<void> | null = null;
  #appendedMessages = 0;
  #batchCount = 0;
  #logBytes = 0;

  #nowMs = Date.now();
  #pollsSinceClock = 0;
  #appendedAtPoll = 0;
  /** Store time of the newest record; never decreases, so that time and position agree. */
  #storeTimestampMs: number;
  /** Store time up to which the log is on the device. */
  #syncedTimestampMs: number;
  #lastFlushMs = this.#nowMs;
  #lastThoroughFlushMs = this.#nowMs;
  #lastCheckpointMs = this.#nowMs;
  /** An append found no buffer: batches go out before their linger has passed. */
  #isMemoryShort = false;
  /** A read met what recovery had not seen: the next opening is to look at everything. */
  #hasMetDamage = false;

  constructor(parts: EngineParts) {
    const { heap, kernel, settings, queues, log, dispatcher, recovered, listener, batchSizeBytes } = parts;
    const isSync = settings.flush === "sync";
    const isInline = settings.indexBuilding === "inline";
    this.#hidesIndexed = isSync && isInline;
    this.#parts = parts;
    this.#settings = settings;
    this.#queues = queues;
    this.#log = log;
    // A record by itself that the broker encodes leaves a producer next to nothing to do.
    parts.stage[0] = batchSizeBytes === 0 && settings.assembly === "broker" ? STAGE_BROKER : STAGE_PRODUCER;
    this.#encoder = new MessageEncoder(heap, kernel, settings, parts.stage);
    this.#reader = new Reader(heap, log, queues, parts.parser, recovered.damaged, recovered.repairs);
    this.#arrivals = new Arrivals(settings, (partition) => queues.queues[partition]!.visibleOffset);
    const planner = new SendPlanner(log, this.#reader);
    this.#consumers = new Consumers(parts.storage, settings.transfer, (partition, fromOffset, maxBytes, { tags }) => {
      const queue = this.#queueOf(partition);
      this.#checkInRange(queue, fromOffset);
      const filter = tags === undefined ? null : new TagFilter(tags);
      return this.#watched(() => planner.plan(queue, fromOffset, maxBytes, filter));
    });
    this.#batches = batchSizeBytes === 0 ? null : new Batches(heap, batchSizeBytes, settings.bufferMemoryBytes);
    this.#groupCommit = new GroupCommit({
      policy: settings.flush,
      sync: () => this.#sync(),
      listener: this.#hidesIndexed ? this.#showing(listener) : listener,
    });
    if (this.#hidesIndexed) for (const queue of queues.queues) queue.hiddenFrom = queue.nextOffset;
    this.#appender = new LogAppender({ ...parts, encoder: this.#encoder, groupCommit: this.#groupCommit });
    this.#isPlain = this.#batches === null && this.#appender.isPlain;
    this.durability = isSync ? "D2" : "D1";
    this.recovery = recovered.report;
    this.#reput = isInline ? null : new Reput(log, dispatcher, isSync, parts.maxRecordBytes);
    this.#storeTimestampMs = Math.max(recovered.storeTimestampMs, this.#nowMs);
    this.#encoder.setStoreTimestamp(this.#storeTimestampMs);
    // Recovery has brought to the device what it found.
    this.#syncedTimestampMs = recovered.storeTimestampMs;
    this.#queueFlush = new ConsumequeueFlush(
      queues,
      dispatcher,
      settings,
      (error) => this.#appender.fail(error),
      this.#nowMs,
      recovered.storeTimestampMs,
      listener,
      parts.keyIndex,
    );
    const forget = (path: string) => this.#consumers.forget(path);
    this.#retention = new Retention({ ...parts, queues: queues.queues, forget }, this.#nowMs);
    this.#writeCheckpoint();
  }

  async createTopic(topic: string, partitionCount: number): Promise<readonly PartitionHandle[]> {
    this.#checkOpen();
    checkTopicName(topic);
    if (!Number.isInteger(partitionCount) || partitionCount < 1 || partitionCount > MAX_QUEUES_PER_TOPIC) {
      throw new UnrepresentableError(`A topic has 1 to ${MAX_QUEUES_PER_TOPIC} queues, not ${partitionCount}.`);
    }
    const handles: PartitionHandle[] = [];
    let isNew = false;
    for (let queueId = 0; queueId < partitionCount; queueId++) {
      let queue = this.#queues.find(topic, queueId);
      if (queue === undefined) {
        this.#checkNotShared(topic);
        queue = this.#queues.add(topic, queueId);
        queue.files.makeDirectory();
        if (this.#hidesIndexed) queue.hiddenFrom = 0;
        isNew = true;
      }
      handles.push(queue.handle);
    }
    if (isNew) {
      const { storage, root } = this.#parts;
      storage.syncDirectory(`${root}/${CONSUMEQUEUE_DIRECTORY}/${topic}`);
      storage.syncDirectory(`${root}/${CONSUMEQUEUE_DIRECTORY}`);
    }
    return handles;
  }

  partitions(): readonly PartitionInfo[] {
    return this.#queues.queues.map((queue) => this.#infoOf(queue));
  }

  partitionInfo(partition: PartitionHandle): PartitionInfo {
    return this.#infoOf(this.#queueOf(partition));
  }

  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean {
    this.#checkOpen();
    const queue = this.#queueOf(partition);
    this.#groupCommit.checkNotFailed();
    const encoder = this.#encoder;
    const sizeBytes = encoder.prepare(queue, message);
    if (sizeBytes > this.#parts.maxRecordBytes) this.#refuseSize(sizeBytes);
    if (!this.#isPlain) return this.#appendOtherwise(queue, sizeBytes, timestampMs);
    const log = this.#log;
    const target = this.#appender.begin(sizeBytes);
    encoder.encode(target, queue, queue.nextOffset, log.endOffset, timestampMs);
    log.advance(sizeBytes);
    const queueOffset = queue.nextOffset++;
    this.#appendedMessages++;
    this.#batchCount++;
    this.#logBytes += sizeBytes;
    this.#groupCommit.written(partition, queueOffset, 1);
    return true;
  }

  poll(): void {
    if (this.#isClosed) return;
    const isTick = this.#readClock();
    const { stage } = this.#parts;
    const found = stage[0]!;
    stage[0] = STAGE_BROKER;
    try {
      if (this.#sharing !== null) this.#sharing.poll();
      if (this.#batches !== null && !this.#batches.isEmpty) this.#drainDue(this.#batches);
      this.#appender.writeOut();
      if (!this.#groupCommit.isIdle) this.#groupCommit.poll(this.#nowMs);
      this.#reput?.step(this.#nowMs, isTick);
      if (this.#arrivals.isAwaited) this.#tellOfArrivals();
      if (this.#log.endOffset >= this.#log.prepareAt) this.#log.prepare(this.#nowMs);
      if (isTick) this.#runBackground();
      this.#queueFlush.step();
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.#appender.fail(error as Error);
    } finally {
      stage[0] = found;
    }
  }

  /** @returns whether the time has changed since it was last read */
  #readClock(): boolean {
    const isIdle = this.#appendedAtPoll === this.#appendedMessages;
    this.#appendedAtPoll = this.#appendedMessages;
    if (!isIdle && ++this.#pollsSinceClock < POLLS_PER_CLOCK) return false;
    this.#pollsSinceClock = 0;
    const nowMs = Date.now();
    if (nowMs === this.#nowMs) return false;
    this.#nowMs = nowMs;
    if (nowMs > this.#storeTimestampMs) {
      this.#storeTimestampMs = nowMs;
      this.#encoder.setStoreTimestamp(nowMs);
    }
    return true;
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
    const queue = this.#queueOf(partition);
    this.#checkInRange(queue, fromOffset);
    const tags = options?.tags;
    if (tags === undefined) return this.#watched(() => this.#reader.fetch(queue, fromOffset, maxBytes, visit));
    return this.#watched(() => this.#reader.fetchTagged(queue, fromOffset, maxBytes, visit, new TagFilter(tags)));
  }

  async offsetForTimestamp(partition: PartitionHandle, timestampMs: number): Promise<number> {
    this.#checkOpen();
    return offsetForTimestamp(this.#reader, this.#queueOf(partition), timestampMs);
  }

  serve(socket: Socket): Consumer {
    this.#checkOpen();
    checkOpenFiles(this.#parts.storage, this.#log.files.length, this.#consumers.count + 1);
    return this.#consumers.serve(socket);
  }

  async awaitMessages(partition: PartitionHandle, offset: number, timeoutMs: number): Promise<boolean> {
    this.#checkOpen();
    this.#checkInRange(this.#queueOf(partition), offset);
    return this.#arrivals.wait(partition, offset, timeoutMs);
  }

  openWriter(thread: WriterThread): WriterTicket {
    this.#checkOpen();
    this.#groupCommit.checkNotFailed();
    this.#sharing ??= this.#share();
    return this.#sharing.openWriter(thread);
  }

  async messagesByKey(topic: string, key: string, query: KeyQuery, visit: KeyedMessageVisitor): Promise<number> {
    this.#checkOpen();
    const { keyIndex } = this.#parts;
    if (keyIndex === null) {
      throw new UnsupportedError("The store was opened with keyIndex false: open it with true to look for keys.");
    }
    return this.#watched(() => visitByKey(this.#reader, keyIndex, topic, key, query, visit));
  }

  /** Reads, and remembers if that met damage. */
  #watched<Result>(read: () => Result): Result {
    try {
      return read();
    } catch (error) {
      if (error instanceof CorruptDataError && !this.#isKnown(error)) this.#hasMetDamage = true;
      throw error;
    }
  }

  #isKnown({ file, positionBytes }: CorruptDataError): boolean {
    if (dirname(file) !== `${this.#parts.root}/${COMMITLOG_DIRECTORY}`) return false;
    const position = parseOffsetFileName(basename(file))! + positionBytes;
    return this.#parts.recovered.damaged.some(({ from, to }) => position >= from && position < to);
  }

  counters(): EngineCounters {
    const shared = this.#sharing?.counts();
    return {
      ...countersSince(this.#parts.storage.counters, this.#parts.countersAtOpen),
      appendedMessages: this.#appendedMessages + (shared?.appendedMessages ?? 0),
      acknowledgedMessages: this.#groupCommit.acknowledgedMessages + (shared?.acknowledgedMessages ?? 0),
      batches: this.#batchCount + this.#appender.batchCount + (shared?.batches ?? 0),
      logBytes: this.#logBytes + this.#appender.logBytes + (shared?.logBytes ?? 0),
      indexEntries: this.#parts.dispatcher.unitCount + (this.#parts.keyIndex?.itemCount ?? 0),
      indexBytes: this.#parts.indexCounter.indexBytes,
      filesRolled: this.#log.filesRolled,
    };
  }

  dispatchLagBytes(): number {
    return this.#log.endOffset - this.#log.dispatchedOffset;
  }

  close(): Promise<void> {
    const writerCount = this.#sharing?.attachedCount ?? 0;
    if (this.#closing === null && writerCount > 0) return Promise.reject(new WritersAttachedError(writerCount));
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    Reflect.deleteProperty(this, "append"); // the one of a shared log
    this.#arrivals.close();
    const consumersClosed = this.#consumers.close();
    const { checkpoint, openFiles, lock } = this.#parts;
    let failure: unknown;
    try {
      await this.#flush();
      await this.#queueFlush.flushAll();
      this.#queueFlush.syncedTimestampMs = this.#storeTimestampMs;
      this.#writeCheckpoint();
      checkpoint.syncNow();
    } catch (error) {
      failure = error; // abort stays, so the next opening recovers
    }
    await consumersClosed;
    await this.#sharing?.own.close();
    this.#sharing?.settle();
    await this.#queueFlush.settled();
    await this.#retention.settled();
    await this.#log.close();
    checkpoint.close();
    openFiles.close();
    if (failure === undefined) this.#markClean();
    lock.release();
    this.#releaseMemory();
    // A failed log has told its listener already.
    if (failure !== undefined && !(failure instanceof LogFailedError)) throw failure;
  }

  #queueOf(partition: PartitionHandle): Queue {
    const queue = this.#queues.queues[partition];
    invariant(queue !== undefined, "a partition handle comes from createTopic or partitions");
    return queue;
  }

  #infoOf(queue: Queue): PartitionInfo {
    return {
      handle: queue.handle,
      topic: queue.topic,
      index: queue.queueId,
      startOffset: queue.startOffset,
      endOffset: this.#endOffsetOf(queue),
    };
  }

  /** From now on every append, this thread's too, takes its place under the lock. */
  #share(): LogSharing {
    const log = this.#log;
    if (!this.#isPlain || !(log instanceof MappedLog)) {
      throw new UnsupportedError(
        'Several writers encode message by message into the mapped log. Open the engine with batchSizeBytes 0, writePath "mmap", assembly "broker" and indexBuilding "deferred".',
      );
    }
    const { heap, kernel, maxRecordBytes, listener } = this.#parts;
    const sharing = new LogSharing({
      ...{ heap, kernel, maxRecordBytes, listener, settings: this.#settings, log, queues: this.#queues },
      ...{ groupCommit: this.#groupCommit, storeTimestampMs: this.#storeTimestampMs },
    });
    this.append = (partition, message, timestampMs) => sharing.own.append(partition, message, timestampMs);
    return sharing;
  }

  #checkNotShared(topic: string): void {
    if (this.#sharing === null) return;
    throw new UnsupportedError(
      `The topic ${topic} cannot be made larger or new: writers know the queues that were there when the first of them was opened. Create topics before.`,
    );
  }

  /** What the log holds: messages that wait in a batch have no certain offset yet. */
  #endOffsetOf(queue: Queue): number {
    if (this.#sharing !== null) return this.#sharing.nextOffset(queue.handle);
    return queue.openBatch === null ? queue.nextOffset : queue.openBatch.baseOffset;
  }

  /** @throws OffsetOutOfRangeError */
  #checkInRange(queue: Queue, offset: number): void {
    const endOffset = this.#endOffsetOf(queue);
    if (offset >= queue.startOffset && offset <= endOffset) return;
    throw new OffsetOutOfRangeError(offset, queue.startOffset, endOffset);
  }

  #tellOfArrivals(): void {
    const visibleTo = this.#hidesIndexed ? this.#log.flushedOffset : this.#log.dispatchedOffset;
    if (visibleTo === this.#toldOffset) return;
    this.#toldOffset = visibleTo;
    this.#arrivals.arrivedSomewhere();
  }

  /** Shows consumers what is acknowledged, before it is. */
  #showing(listener: EngineListener): EngineListener {
    return {
      acknowledged: (partition, baseOffset, messageCount) => {
        this.#queueOf(partition).hiddenFrom = baseOffset + messageCount;
        listener.acknowledged(partition, baseOffset, messageCount);
      },
      failed: (...failure) => listener.failed(...failure),
      ...(listener.event === undefined ? {} : { event: (event) => listener.event!(event) }),
    };
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError("The engine is closed.");
  }

  #refuseSize(sizeBytes: number): never {
    throw new UnrepresentableError(
      `A message that takes ${sizeBytes} bytes in the log does not fit: at most ${this.#parts.maxRecordBytes} do, by maxMessageSizeBytes and segmentSizeBytes.`,
    );
  }

  /** What `append` does of a prepared message under other settings than the defaults. */
  #appendOtherwise(queue: Queue, sizeBytes: number, timestampMs: number): boolean {
    if (this.#batches !== null && !this.#writesAlone(this.#batches, queue, sizeBytes)) {
      return this.#accumulate(this.#batches, queue, sizeBytes, timestampMs);
    }
    this.#appender.append(queue, sizeBytes, timestampMs);
    this.#appendedMessages++;
    return true;
  }

  /** A record larger than a batch goes into the log on its own, behind what its queue has waiting. */
  #writesAlone(batches: Batches, queue: Queue, sizeBytes: number): boolean {
    const batch = queue.openBatch;
    if (batch !== null && batch.sizeBytes + sizeBytes > batches.batchSizeBytes) {
      // The batch's append uses no state of the encoder, so the prepared message stays prepared.
      this.#writeBatch(batches, batch);
      this.#groupCommit.checkNotFailed();
    }
    return sizeBytes > batches.batchSizeBytes;
  }

  #accumulate(batches: Batches, queue: Queue, sizeBytes: number, timestampMs: number): boolean {
    const batch = queue.openBatch ?? batches.tryOpen(queue, this.#nowMs);
    if (batch === undefined) {
      this.#isMemoryShort = true;
      return false;
    }
    const target = batch.address + batch.bufferedBytes;
    if (this.#settings.assembly === "producer") {
      this.#encoder.assemble(target, queue, queue.nextOffset, timestampMs);
      batch.bufferedBytes += sizeBytes;
    } else {
      batch.bufferedBytes += this.#encoder.frame(target, timestampMs);
    }
    batch.sizeBytes += sizeBytes;
    batch.messageCount++;
    queue.nextOffset++;
    this.#appendedMessages++;
    if (batch.sizeBytes === batches.batchSizeBytes) this.#writeBatch(batches, batch);
    return true;
  }

  #drainDue(batches: Batches): void {
    const { lingerMs } = this.#settings;
    let batch = batches.oldest();
    while (batch !== undefined && (this.#isMemoryShort || this.#nowMs - batch.openedMs >= lingerMs)) {
      this.#writeBatch(batches, batch);
      batch = batches.oldest();
    }
    this.#isMemoryShort = false;
  }

  #writeBatch(batches: Batches, batch: OpenBatch): void {
    batches.close(batch);
    this.#appender.appendBatch(batch);
  }

  async #sync(): Promise<void> {
    const timestampMs = this.#sharing?.settledTimestampMs ?? this.#storeTimestampMs;
    await this.#log.sync();
    this.#syncedTimestampMs = timestampMs;
  }

  #runBackground(): void {
    const nowMs = this.#nowMs;
    const { flush, flushIntervalMs } = this.#settings;
    if (flush === "async" && nowMs - this.#lastFlushMs >= flushIntervalMs) this.#flushInBackground();
    this.#queueFlush.tick(nowMs);
    if (this.#settings.pageCacheAdvice === "drop-behind") this.#log.dropBehind();
    this.#retention.step(nowMs);
    if (nowMs - this.#lastCheckpointMs >= CHECKPOINT_INTERVAL_MS) {
      this.#lastCheckpointMs = nowMs;
      this.#writeCheckpoint();
    }
  }

  /** RocketMQ's FlushRealTimeService: a sync when enough pages are dirty, now and then of whatever is. */
  #flushInBackground(): void {
    const { flushLeastPages, flushThoroughIntervalMs } = this.#settings;
    this.#lastFlushMs = this.#nowMs;
    const isThorough = this.#nowMs - this.#lastThoroughFlushMs >= flushThoroughIntervalMs;
    if (isThorough) this.#lastThoroughFlushMs = this.#nowMs;
    const { endOffset, flushedOffset } = this.#log;
    const dirtyPages = Math.floor(endOffset / PAGE_BYTES) - Math.floor(flushedOffset / PAGE_BYTES);
    if (endOffset > flushedOffset && (isThorough || dirtyPages >= flushLeastPages)) {
      this.#groupCommit.flush().catch(() => undefined); // the next append reports it
    }
  }

  async #flush(): Promise<void> {
    if (this.#batches !== null) {
      for (let batch = this.#batches.oldest(); batch !== undefined; batch = this.#batches.oldest()) {
        this.#writeBatch(this.#batches, batch);
      }
    }
    this.#appender.writeOut();
    if (this.#sharing === null) {
      await this.#groupCommit.flush();
    } else {
      await this.#sharing.flush();
      this.#storeTimestampMs = Math.max(this.#storeTimestampMs, this.#sharing.settledTimestampMs);
    }
    this.#reput?.catchUp();
    if (this.#arrivals.isAwaited) this.#tellOfArrivals();
  }

  #writeCheckpoint(): void {
    this.#parts.checkpoint.write({
      physicMsgTimestampMs: this.#syncedTimestampMs,
      logicsMsgTimestampMs: this.#queueFlush.syncedTimestampMs,
      indexMsgTimestampMs: this.#parts.keyIndex?.fullUntilMs ?? 0,
    });
  }

  #markClean(): void {
    const { storage, root } = this.#parts;
    if (!this.#hasMetDamage) this.#describe();
    storage.remove(`${root}/${ABORT_FILE}`);
    storage.syncDirectory(root);
  }

  /** So that the next opening has to read nothing. */
  #describe(): void {
    const { storage, root, keyIndex, recovered } = this.#parts;
    const damaged = recovered.damaged.filter(({ to }) => to > this.#log.startOffset);
    writeCleanShutdown(storage, root, {
      formatVersion: 1,
      logEndOffset: this.#log.endOffset,
      ...(this.#log.files.length === 0 ? {} : { logStartOffset: this.#log.startOffset }),
      storeTimestampMs: this.#storeTimestampMs,
      queues: this.#queues.queues.map(({ topic, queueId, startOffset, nextOffset }) => [
        topic,
        queueId,
        startOffset,
        nextOffset,
      ]),
      ...(keyIndex === null ? {} : { keyIndex: keyIndex.state() }),
      ...(damaged.length === 0 ? {} : { damaged: damaged.map(({ from, to }): [number, number] => [from, to]) }),
    });
  }

  #releaseMemory(): void {
    this.#sharing?.release();
    this.#batches?.release();
    this.#appender.release();
    this.#log.release();
    this.#encoder.release();
    this.#reader.release();
    this.#parts.parser.release();
    this.#parts.dispatcher.release();
    this.#queues.release();
  }
}
