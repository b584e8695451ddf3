import { BLANK_SIZE_BYTES } from "../codec/commitlog-message.js";
import type {
  EngineCounters,
  EngineDurability,
  EngineListener,
  FetchOutcome,
  Message,
  MessageVisitor,
  OpenOptions,
  PartitionHandle,
  PartitionInfo,
  RecoveryReport,
  StorageEngine,
} from "../engine.js";
import { ClosedError, LogFailedError, OffsetOutOfRangeError, OpenError, UnrepresentableError } from "../errors.js";
import { GroupCommit } from "../group-commit.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import { type Kernel, kernelOf } from "../kernel/kernel.js";
import { countersSince } from "../storage/counters.js";
import type { Storage, StorageCounters, StorageLock } from "../storage/storage.js";
import { Batches, type OpenBatch } from "./batches.js";
import { CheckpointFile } from "./checkpoint.js";
import { writeCleanShutdown } from "./clean-shutdown.js";
import { CommitLog } from "./commit-log.js";
import { Consumequeue } from "./consumequeue.js";
import { MessageEncoder } from "./message-encoder.js";
import { ABORT_FILE, COMMITLOG_DIRECTORY, CONSUMEQUEUE_DIRECTORY, checkTopicName, LOCK_FILE } from "./names.js";
import { OpenFiles } from "./open-files.js";
import { type Queue, QueueTable, syncQueues } from "./queue-table.js";
import { Reader } from "./reader.js";
import { highHalf, lowHalf, RecordParser } from "./record-parser.js";
import { type Recovered, recover } from "./recovery.js";
import { Dispatcher, DispatchOutcome } from "./reput.js";
import { type CommitlogSettings, settingsSchema } from "./settings.js";

/** A record's bytes beside its body: RocketMQ's limit for topic, properties and header. */
const MAX_FRAMING_BYTES = 65_536;
const MAP_GRAIN_BYTES = 65_536;
const PAGE_BYTES = 4_096;
const MAX_QUEUES_PER_TOPIC = 1_000_000;
const MAX_OPEN_CONSUMEQUEUE_FILES = 1_024;

/** The clock costs as much as an encode, so it is read every so many polls, and at every idle one. */
const POLLS_PER_CLOCK = 16;
/** RocketMQ's reput thread sleeps 1 ms between its rounds; much waiting log starts one sooner. */
const REPUT_INTERVAL_MS = 1;
const REPUT_AT_BYTES = 64 << 10;
const REPUT_STEP_BYTES = 1 << 20;
const DRAINED_QUEUES_PER_POLL = 16;
const CHECKPOINT_INTERVAL_MS = 1_000;

export async function openCommitlog(options: OpenOptions): Promise<StorageEngine> {
  const settings = settingsSchema.parse(options.settings);
  const { storage, directory } = options;
  storage.makeDirectory(directory);
  const lock = takeLock(storage, directory);
  try {
    return await CommitlogEngine.open(options, settings, lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

function takeLock(storage: Storage, directory: string): StorageLock {
  const path = `${directory}/${LOCK_FILE}`;
  if (!storage.exists(path)) {
    const file = storage.open(path, "create");
    const content = new TextEncoder().encode("lock");
    file.write(content, 0, content.length, 0);
    file.close();
  }
  const lock = storage.lock(path);
  if (lock !== null) return lock;
  throw new OpenError(`${directory} is open in another process (${LOCK_FILE} is held). Close it there first.`);
}

class CommitlogEngine implements StorageEngine {
  readonly durability: EngineDurability;
  readonly recovery: RecoveryReport;

  readonly #storage: Storage;
  readonly #heap: Heap;
  readonly #kernel: Kernel;
  readonly #root: string;
  readonly #settings: CommitlogSettings;
  readonly #listener: EngineListener;
  readonly #lock: StorageLock;
  readonly #queues: QueueTable;
  readonly #openFiles: OpenFiles;
  readonly #parser: RecordParser;
  readonly #dispatcher: Dispatcher;
  readonly #log: CommitLog;
  readonly #encoder: MessageEncoder;
  readonly #reader: Reader;
  readonly #batches: Batches | null;
  readonly #groupCommit: GroupCommit;
  readonly #checkpoint: CheckpointFile;
  readonly #indexCounter: { indexBytes: number };
  readonly #maxRecordBytes: number;
  readonly #hidesUnflushed: boolean;

  readonly #countersAtOpen: StorageCounters;

  #isClosed = false;
  #closing: Promise<void> | null = null;
  #appendedMessages = 0;
  #batchCount = 0;
  #logBytes = 0;

  #nowMs = Date.now();
  #polls = 0;
  #appendedAtPoll = 0;
  /** Store time of the newest record; never decreases, so that time and position agree. */
  #storeTimestampMs: number;
  #flushedTimestampMs: number;
  #logicsTimestampMs: number;

  #reputOffset: number;
  #lastReputMs = 0;
  #lastFlushMs = this.#nowMs;
  #lastThoroughFlushMs = this.#nowMs;
  #lastQueueFlushMs = this.#nowMs;
  #lastThoroughQueueFlushMs = this.#nowMs;
  #lastCheckpointMs = this.#nowMs;
  /** Queues whose gathered units are due to be written, a few a poll. */
  #draining: Queue[] = [];
  /** An append found no buffer: batches go out before their linger has passed. */
  #isMemoryShort = false;
  #queueFlush: Promise<void> | null = null;

  static async open(options: OpenOptions, settings: CommitlogSettings, lock: StorageLock): Promise<CommitlogEngine> {
    const { storage, heap, directory: root } = options;
    const kernel = kernelOf(heap);
    const openFiles = new OpenFiles(storage, MAX_OPEN_CONSUMEQUEUE_FILES);
    const indexCounter = { indexBytes: 0 };
    const queues = new QueueTable(
      heap,
      kernel,
      (topic, queueId) =>
        new Consumequeue(
          storage,
          openFiles,
          `${root}/${CONSUMEQUEUE_DIRECTORY}/${topic}/${queueId}`,
          settings.consumequeueFileSizeBytes,
          indexCounter,
        ),
    );
    const parser = new RecordParser(heap, kernel);
    const dispatcher = new Dispatcher(heap, kernel, queues);
    const maxRecordBytes = Math.max(settings.maxMessageSizeBytes + MAX_FRAMING_BYTES, settings.batchSizeBytes);
    const geometry = {
      windowBytes: settings.mapWindowBytes,
      overlapBytes: Math.ceil(maxRecordBytes / MAP_GRAIN_BYTES) * MAP_GRAIN_BYTES,
    };
    const parts = { storage, heap, kernel, root, settings, lock, openFiles, indexCounter, queues, parser, dispatcher };
    const fileSizeBytes = settings.segmentSizeBytes;
    const { preallocate } = settings;
    try {
      const recovered = await recover({
        storage,
        heap,
        root,
        fileSizeBytes,
        geometry,
        preallocate,
        maxRecordBytes,
        queues,
        parser,
        dispatcher,
      });
      const log = new CommitLog(
        {
          storage,
          heap,
          directory: `${root}/${COMMITLOG_DIRECTORY}`,
          fileSizeBytes,
          geometry,
          preallocate,
          syncsAhead: settings.flush === "sync",
          listener: options.listener,
        },
        recovered.files,
        recovered.endOffset,
      );
      await log.warm(Date.now());
      return new CommitlogEngine(options, parts, log, recovered);
    } catch (error) {
      openFiles.close();
      queues.release();
      parser.release();
      dispatcher.release();
      throw error;
    }
  }

  private constructor(
    options: OpenOptions,
    parts: {
      storage: Storage;
      heap: Heap;
      kernel: Kernel;
      root: string;
      settings: CommitlogSettings;
      lock: StorageLock;
      openFiles: OpenFiles;
      indexCounter: { indexBytes: number };
      queues: QueueTable;
      parser: RecordParser;
      dispatcher: Dispatcher;
    },
    log: CommitLog,
    recovered: Recovered,
  ) {
    const { settings, heap, kernel } = parts;
    this.#storage = parts.storage;
    this.#countersAtOpen = { ...parts.storage.counters };
    this.#heap = heap;
    this.#kernel = kernel;
    this.#root = parts.root;
    this.#settings = settings;
    this.#listener = options.listener;
    this.#lock = parts.lock;
    this.#queues = parts.queues;
    this.#openFiles = parts.openFiles;
    this.#parser = parts.parser;
    this.#dispatcher = parts.dispatcher;
    this.#indexCounter = parts.indexCounter;
    this.#indexCounter.indexBytes = 0;
    this.#log = log;
    this.#encoder = new MessageEncoder(heap, kernel, settings);
    this.#reader = new Reader(heap, log, parts.queues, parts.parser);
    const largestAppend = settings.segmentSizeBytes - BLANK_SIZE_BYTES;
    this.#batches =
      settings.batchSizeBytes === 0
        ? null
        : new Batches(heap, Math.min(settings.batchSizeBytes, largestAppend), settings.bufferMemoryBytes);
    this.#maxRecordBytes = Math.min(settings.maxMessageSizeBytes + MAX_FRAMING_BYTES, largestAppend);
    this.#hidesUnflushed = settings.flush === "sync";
    this.durability = settings.flush === "sync" ? "D2" : "D1";
    this.recovery = recovered.report;
    this.#storeTimestampMs = Math.max(recovered.storeTimestampMs, this.#nowMs);
    this.#encoder.setStoreTimestamp(this.#storeTimestampMs);
    this.#flushedTimestampMs = recovered.storeTimestampMs;
    this.#logicsTimestampMs = recovered.storeTimestampMs;
    this.#reputOffset = recovered.endOffset;
    this.#checkpoint = new CheckpointFile(parts.storage, parts.root);
    this.#writeCheckpoint();
    this.#groupCommit = new GroupCommit({
      policy: settings.flush,
      sync: () => this.#sync(),
      listener: options.listener,
    });
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
        queue = this.#queues.add(topic, queueId);
        queue.files.makeDirectory();
        isNew = true;
      }
      handles.push(queue.handle);
    }
    if (isNew) {
      this.#storage.syncDirectory(`${this.#root}/${CONSUMEQUEUE_DIRECTORY}/${topic}`);
      this.#storage.syncDirectory(`${this.#root}/${CONSUMEQUEUE_DIRECTORY}`);
    }
    return handles;
  }

  partitions(): readonly PartitionInfo[] {
    return this.#queues.queues.map(infoOf);
  }

  partitionInfo(partition: PartitionHandle): PartitionInfo {
    return infoOf(this.#queueOf(partition));
  }

  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean {
    this.#checkOpen();
    const queue = this.#queueOf(partition);
    this.#groupCommit.checkNotFailed();
    const encoder = this.#encoder;
    const sizeBytes = encoder.prepare(queue, message);
    if (sizeBytes > this.#maxRecordBytes) this.#refuseSize(sizeBytes);
    if (this.#batches !== null && !this.#writesAlone(this.#batches, queue, sizeBytes)) {
      return this.#accumulate(this.#batches, queue, message, sizeBytes, timestampMs);
    }
    const log = this.#log;
    const target = this.#begin(sizeBytes);
    encoder.encode(target, queue, message, queue.nextOffset, log.endOffset, timestampMs);
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
    const isIdle = this.#appendedAtPoll === this.#appendedMessages;
    this.#appendedAtPoll = this.#appendedMessages;
    let isTick = false;
    if (isIdle || ++this.#polls >= POLLS_PER_CLOCK) {
      this.#polls = 0;
      const nowMs = Date.now();
      isTick = nowMs !== this.#nowMs;
      this.#nowMs = nowMs;
      if (nowMs > this.#storeTimestampMs) {
        this.#storeTimestampMs = nowMs;
        this.#encoder.setStoreTimestamp(nowMs);
      }
    }
    if (this.#batches !== null && !this.#batches.isEmpty) this.#drainDue(this.#batches);
    if (!this.#groupCommit.isIdle) this.#groupCommit.poll(this.#nowMs);
    this.#reputStep(isTick);
    if (this.#log.endOffset >= this.#log.prepareAt) this.#log.prepare(this.#nowMs);
    if (isTick) this.#runBackground();
    if (this.#draining.length > 0) this.#drainSome();
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
  ): Promise<FetchOutcome> {
    this.#checkOpen();
    const queue = this.#queueOf(partition);
    if (!(fromOffset >= queue.startOffset && fromOffset <= queue.nextOffset)) {
      throw new OffsetOutOfRangeError(fromOffset, queue.startOffset, queue.nextOffset);
    }
    return this.#reader.fetch(queue, fromOffset, maxBytes, visit);
  }

  counters(): EngineCounters {
    return {
      ...countersSince(this.#storage.counters, this.#countersAtOpen),
      appendedMessages: this.#appendedMessages,
      acknowledgedMessages: this.#groupCommit.acknowledgedMessages,
      batches: this.#batchCount,
      logBytes: this.#logBytes,
      indexEntries: this.#dispatcher.unitCount,
      indexBytes: this.#indexCounter.indexBytes,
      filesRolled: this.#log.filesRolled,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    let failure: unknown;
    try {
      await this.#flush();
      await this.#queueFlush;
      this.#drainAll();
      await syncQueues(this.#queues.queues);
      this.#logicsTimestampMs = this.#storeTimestampMs;
      this.#writeCheckpoint();
      this.#checkpoint.syncNow();
    } catch (error) {
      failure = error; // abort stays, so the next opening recovers
    }
    await this.#queueFlush;
    await this.#log.close();
    this.#checkpoint.close();
    this.#openFiles.close();
    if (failure === undefined) this.#markClean();
    this.#lock.release();
    this.#releaseMemory();
    // A failed log has told its listener already.
    if (failure !== undefined && !(failure instanceof LogFailedError)) throw failure;
  }

  #queueOf(partition: PartitionHandle): Queue {
    const queue = this.#queues.queues[partition];
    invariant(queue !== undefined, "a partition handle comes from createTopic or partitions");
    return queue;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError("The engine is closed.");
  }

  #refuseSize(sizeBytes: number): never {
    throw new UnrepresentableError(
      `A message that takes ${sizeBytes} bytes in the log does not fit: at most ${this.#maxRecordBytes} do, by maxMessageSizeBytes and segmentSizeBytes.`,
    );
  }

  /** The address for the next `sizeBytes` of the log. A new file that cannot be made fails the log. */
  #begin(sizeBytes: number): number {
    try {
      return this.#log.begin(sizeBytes);
    } catch (error) {
      this.#groupCommit.fail(error as Error);
      this.#groupCommit.checkNotFailed();
      throw error;
    }
  }

  /** A record larger than a batch goes into the log on its own, behind what its queue has waiting. */
  #writesAlone(batches: Batches, queue: Queue, sizeBytes: number): boolean {
    const batch = batches.of(queue);
    if (batch !== undefined && batch.sizeBytes + sizeBytes > batches.batchSizeBytes) {
      // The batch's append uses no state of the encoder, so the prepared message stays prepared.
      this.#writeBatch(batches, batch);
      this.#groupCommit.checkNotFailed();
    }
    return sizeBytes > batches.batchSizeBytes;
  }

  #accumulate(batches: Batches, queue: Queue, message: Message, sizeBytes: number, timestampMs: number): boolean {
    const batch = batches.of(queue) ?? batches.tryOpen(queue, this.#nowMs);
    if (batch === undefined) {
      this.#isMemoryShort = true;
      return false;
    }
    // Position and store time are filled in when the batch gets its place.
    this.#encoder.encode(batch.address + batch.sizeBytes, queue, message, queue.nextOffset, 0, timestampMs);
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

  /** Appends the batch's records in one go: RocketMQ puts a batch into one file, all or nothing. */
  #writeBatch(batches: Batches, batch: OpenBatch): void {
    const { queue, sizeBytes, messageCount } = batch;
    batches.close(batch);
    try {
      this.#groupCommit.checkNotFailed();
      const target = this.#begin(sizeBytes);
      this.#kernel.placeCommitlogBatch(
        target,
        batch.address,
        sizeBytes,
        highHalf(this.#log.endOffset),
        lowHalf(this.#log.endOffset),
        this.#storeTimestampMs,
      );
      if (this.#encoder.appendsCrc) this.#writeBatchCrcs(target, sizeBytes);
    } catch (error) {
      this.#listener.failed(queue.handle, messageCount, error as Error);
      return;
    }
    this.#log.advance(sizeBytes);
    this.#batchCount++;
    this.#logBytes += sizeBytes;
    this.#groupCommit.written(queue.handle, batch.baseOffset, messageCount);
  }

  #writeBatchCrcs(address: number, sizeBytes: number): void {
    const end = address + sizeBytes;
    for (let at = address; at < end; ) {
      const recordSize = this.#heap.view.getInt32(at);
      this.#encoder.writeCrc(at, recordSize);
      at += recordSize;
    }
  }

  async #sync(): Promise<void> {
    const timestampMs = this.#storeTimestampMs;
    await this.#log.sync();
    this.#flushedTimestampMs = timestampMs;
  }

  /** Up to here records are dispatched: under `sync` consumers do not see what is not flushed. */
  get #reputLimit(): number {
    return this.#hidesUnflushed ? this.#log.flushedOffset : this.#log.endOffset;
  }

  #reputStep(isTick: boolean): void {
    const limit = this.#reputLimit;
    const waiting = limit - this.#reputOffset;
    if (waiting >= REPUT_AT_BYTES || (waiting > 0 && isTick && this.#nowMs - this.#lastReputMs >= REPUT_INTERVAL_MS)) {
      this.#lastReputMs = this.#nowMs;
      this.#reput(limit, this.#reputOffset + Math.max(REPUT_STEP_BYTES, waiting / 2));
    }
  }

  /** Makes units of the records below `limit`, which ends one, until `enough` is passed. */
  #reput(limit: number, enough: number): void {
    const log = this.#log;
    while (this.#reputOffset < Math.min(limit, enough)) {
      const from = this.#reputOffset;
      const file = log.fileOf(from);
      const window = file.mapWindow(from);
      const windowStart = file.windowStart(from);
      // Long enough for any record, so that each round gets on.
      const to = Math.min(limit, windowStart + window.sizeBytes, from + REPUT_STEP_BYTES + this.#maxRecordBytes);
      const outcome = this.#dispatcher.run(window.address + (from - windowStart), to - from, from);
      const { consumedBytes } = this.#dispatcher;
      this.#reputOffset = outcome === DispatchOutcome.AT_BLANK ? file.endOffset : from + consumedBytes;
      // A record that `to` cuts in two comes whole in the next round.
      const isCut = outcome === DispatchOutcome.NO_RECORD && consumedBytes > 0;
      invariant(
        outcome === DispatchOutcome.AT_END || outcome === DispatchOutcome.AT_BLANK || isCut,
        "what was appended lies in the log in its queue's order",
      );
    }
    log.dispatchedOffset = this.#reputOffset;
  }

  #runBackground(): void {
    const nowMs = this.#nowMs;
    const settings = this.#settings;
    if (settings.flush === "async" && nowMs - this.#lastFlushMs >= settings.flushIntervalMs) this.#flushInBackground();
    if (nowMs - this.#lastQueueFlushMs >= settings.consumequeueFlushIntervalMs && this.#queueFlush === null) {
      this.#flushQueuesInBackground();
    }
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

  /** RocketMQ's FlushConsumeQueueService; the gathered units are written first. */
  #flushQueuesInBackground(): void {
    const { consumequeueFlushLeastPages, consumequeueFlushThoroughIntervalMs } = this.#settings;
    this.#lastQueueFlushMs = this.#nowMs;
    const isThorough = this.#nowMs - this.#lastThoroughQueueFlushMs >= consumequeueFlushThoroughIntervalMs;
    let leastBytes = consumequeueFlushLeastPages * PAGE_BYTES;
    if (isThorough) {
      this.#lastThoroughQueueFlushMs = this.#nowMs;
      this.#drainAll();
      leastBytes = 1;
    } else {
      this.#draining.push(...this.#dispatcher.takeListed());
    }
    const dispatchedMs = this.#dispatcher.storeTimestampMs;
    this.#queueFlush = this.#syncQueuesOf(leastBytes)
      .then(() => {
        if (isThorough) this.#logicsTimestampMs = dispatchedMs;
      })
      .catch((error: Error) => this.#groupCommit.fail(error))
      .finally(() => {
        this.#queueFlush = null;
      });
  }

  /** One after the other, as RocketMQ's thread does. */
  async #syncQueuesOf(leastBytes: number): Promise<void> {
    for (const queue of this.#queues.queues) {
      if (queue.files.unsyncedBytes >= leastBytes) await queue.files.sync();
    }
  }

  #drainSome(): void {
    for (let i = 0; i < DRAINED_QUEUES_PER_POLL && this.#draining.length > 0; i++) this.#draining.pop()!.drain();
  }

  #drainAll(): void {
    for (const queue of this.#queues.queues) queue.drain();
    this.#draining.length = 0;
    this.#dispatcher.takeListed();
  }

  async #flush(): Promise<void> {
    if (this.#batches !== null) {
      for (let batch = this.#batches.oldest(); batch !== undefined; batch = this.#batches.oldest()) {
        this.#writeBatch(this.#batches, batch);
      }
    }
    await this.#groupCommit.flush();
    this.#reput(this.#reputLimit, Number.POSITIVE_INFINITY);
  }

  #writeCheckpoint(): void {
    this.#checkpoint.write({
      physicMsgTimestampMs: this.#flushedTimestampMs,
      logicsMsgTimestampMs: this.#logicsTimestampMs,
    });
  }

  #markClean(): void {
    const queues: Record<string, [number, number, number][]> = {};
    for (const { topic, queueId, startOffset, nextOffset } of this.#queues.queues) {
      queues[topic] ??= [];
      queues[topic].push([queueId, startOffset, nextOffset]);
    }
    writeCleanShutdown(this.#storage, this.#root, {
      formatVersion: 1,
      logEndOffset: this.#log.endOffset,
      storeTimestampMs: this.#storeTimestampMs,
      queues,
    });
    this.#storage.remove(`${this.#root}/${ABORT_FILE}`);
    this.#storage.syncDirectory(this.#root);
  }

  #releaseMemory(): void {
    this.#batches?.release();
    this.#encoder.release();
    this.#reader.release();
    this.#parser.release();
    this.#dispatcher.release();
    this.#queues.release();
  }
}

function infoOf(queue: Queue): PartitionInfo {
  return {
    handle: queue.handle,
    topic: queue.topic,
    index: queue.queueId,
    startOffset: queue.startOffset,
    endOffset: queue.nextOffset,
  };
}
