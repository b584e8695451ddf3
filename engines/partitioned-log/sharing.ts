import type { EngineListener, WriterThread, WriterTicket } from "../engine.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import { Board, SlotState, type WriterCounts } from "../writers/board.js";
import { SharedLock } from "../writers/lock.js";
import { WriterDesk } from "../writers/writer-desk.js";
import { MEMORY_BESIDE_BUFFERS_BYTES } from "./accumulator.js";
import { BatchWriter } from "./batch-writer.js";
import type { PartitionLog } from "./partition-log.js";
import type { PartitionedLogSettings } from "./settings.js";
import { SHARED_PARTITION_SIZE_BYTES, SharedPartition } from "./shared-partition.js";
import { RING_SIZE_BYTES, type WrittenBatch, WrittenBatches } from "./written-batches.js";

/** Batch buffers lie an odd number of cache lines apart. */
const BUFFERS_WITH_GAPS = 1.1;

/** What a worker thread needs to append to this directory's partitions. */
export interface PartitionedLogTicket extends WriterTicket {
  readonly writer: number;
  readonly memory: { readonly address: number; readonly sizeBytes: number };
  readonly board: number;
  readonly blocks: number;
  readonly ring: number;
  readonly settings: PartitionedLogSettings;
  readonly partitions: readonly { readonly name: string; readonly leaderEpoch: number }[];
}

/** A writer as the owner sees it. */
interface Inbox {
  readonly ring: number;
  readonly batches: WrittenBatches;
  /** Of the batches taken, those not known to be on the device, oldest first: log and end offset. Under `sync` only. */
  logs: PartitionLog[];
  ends: number[];
}

/**
 * The owner's side of partitions with several writers: takes note of what they have written (indexes, offsets, the group
 * commit), rolls segments for them and tells them what is durable. From the first writer on until the engine is closed.
 */
export class PartitionSharing {
  /** The owner's thread as one of the writers. */
  readonly own: BatchWriter;
  readonly #board: Board;
  readonly #desk: WriterDesk;
  readonly #blocks: number;
  readonly #partitions: SharedPartition[];
  readonly #locks: SharedLock[];
  readonly #inboxes: Inbox[] = [];
  readonly #waitsForSync: boolean;
  readonly #batch: WrittenBatch = { partition: 0, sizeBytes: 0, messageCount: 0, baseOffset: 0, maxTimestamp: 0 };
  #requests = 0;

  constructor(
    private readonly heap: Heap,
    private readonly settings: PartitionedLogSettings,
    private readonly logs: readonly PartitionLog[],
    listener: EngineListener,
    /** Called for each log that has got a batch. */
    private readonly written: (log: PartitionLog) => void,
    private readonly flushLogs: () => Promise<void>,
  ) {
    this.#waitsForSync = settings.flush === "sync";
    this.#board = Board.allocate(heap);
    const blocksSizeBytes = Math.max(1, logs.length) * SHARED_PARTITION_SIZE_BYTES;
    this.#blocks = heap.allocate(blocksSizeBytes, 64);
    heap.bytes.fill(0, this.#blocks, this.#blocks + blocksSizeBytes);
    this.#partitions = logs.map(
      ({ handle }) => new SharedPartition(heap, this.#blocks + handle * SHARED_PARTITION_SIZE_BYTES),
    );
    this.#locks = this.#partitions.map(
      (shared) => new SharedLock(heap.words, shared.lockWord, 1, settings.lock, () => shared.hasFailed),
    );
    for (const log of logs) this.#publish(log);
    this.#desk = new WriterDesk(heap, this.#board, (writer, isAbandoned) => this.#ended(writer, isAbandoned));
    const { ring } = this.#openInbox(0);
    this.own = new BatchWriter({
      ...{ heap, settings, board: this.#board, writer: 0, blocks: this.#blocks, ring, listener },
      serve: () => this.#serve(),
    });
    this.#desk.slots[0]!.state = SlotState.OPEN;
    for (const log of logs) log.share(this.own.addPartition(log.name, log.leaderEpoch));
  }

  openWriter(thread: WriterThread): PartitionedLogTicket {
    const { bufferMemoryBytes, maxMessageBytes } = this.settings;
    const scratchBytes = Math.min(bufferMemoryBytes, maxMessageBytes);
    const buffersBytes = Math.ceil(bufferMemoryBytes * BUFFERS_WITH_GAPS);
    const { writer, memory } = this.#desk.open(thread, buffersBytes + scratchBytes + MEMORY_BESIDE_BUFFERS_BYTES);
    const { ring } = this.#openInbox(writer);
    return {
      engine: "partitioned-log",
      ...{ writer, memory, ring, blocks: this.#blocks, board: this.#board.address, settings: this.settings },
      partitions: this.logs.map(({ name, leaderEpoch }) => ({ name, leaderEpoch })),
    };
  }

  get attachedCount(): number {
    return this.#desk.attachedCount;
  }

  counts(): WriterCounts {
    return this.#desk.counts();
  }

  /** Brings logs and writers up to each other; waits for nobody's lock. */
  poll(): void {
    this.#serve();
    this.own.acknowledge();
  }

  /** Gives the memory back, once no writer is attached. */
  release(): void {
    this.#desk.release();
    this.heap.release(this.#blocks);
    for (const { ring } of this.#inboxes) this.heap.release(ring);
  }

  #openInbox(writer: number): Inbox {
    const ring = this.#inboxes[writer]?.ring ?? this.heap.allocate(RING_SIZE_BYTES, 64);
    const batches = new WrittenBatches(this.heap, this.#board.slotOf(writer), ring);
    const inbox = { ring, batches, logs: [], ends: [] };
    this.#inboxes[writer] = inbox;
    return inbox;
  }

  #serve(): void {
    let isNews = this.#takeAll();
    const { requests } = this.#board;
    if (requests !== this.#requests) {
      this.#requests = requests;
      this.#learnFailures();
      if (!this.#makeRoom()) this.#requests = requests - 1; // once more at the next poll
      this.#beginFlushes();
      isNews = true;
    }
    if (this.#waitsForSync && this.#noteDurable()) isNews = true;
    if (isNews) this.#board.noteProgress();
  }

  /**
   * Takes note of all batches that have been written. Those of a partition come in the order of its offsets: a batch whose
   * predecessor is in another writer's ring waits for that one, which is there already.
   */
  #takeAll(): boolean {
    let hasTaken = false;
    for (let isGoingOn = true; isGoingOn; ) {
      isGoingOn = false;
      for (const inbox of this.#inboxes) {
        while (this.#takeOne(inbox)) isGoingOn = true;
      }
      hasTaken ||= isGoingOn;
    }
    return hasTaken;
  }

  #takeOne(inbox: Inbox): boolean {
    const batch = this.#batch;
    if (!inbox.batches.peek(batch)) return false;
    const log = this.logs[batch.partition]!;
    if (batch.baseOffset !== log.endOffset) return false;
    log.noteWritten(batch.sizeBytes, batch.messageCount, batch.maxTimestamp);
    if (this.#waitsForSync) {
      inbox.logs.push(log);
      inbox.ends.push(log.endOffset);
    }
    inbox.batches.take();
    this.written(log);
    return true;
  }

  #noteDurable(): boolean {
    let isNews = false;
    for (const inbox of this.#inboxes) {
      let count = 0;
      for (const log of inbox.logs) {
        if (log.recoveryPoint < inbox.ends[count]! && log.failure === null) break;
        count++;
      }
      if (count === 0) continue;
      inbox.logs = inbox.logs.slice(count);
      inbox.ends = inbox.ends.slice(count);
      inbox.batches.noteDurable(count);
      isNews = true;
    }
    return isNews;
  }

  /** What a writer has failed to write has failed for the owner. (The other way round the log tells itself.) */
  #learnFailures(): void {
    for (const log of this.logs) {
      const shared = this.#partitions[log.handle]!;
      if (shared.hasFailed && log.failure === null) log.fail(new Error(shared.failureText));
    }
  }

  /** Rolls segments that batches have found full. @returns false if a lock was not to be had */
  #makeRoom(): boolean {
    let isDone = true;
    for (const { batches } of this.#inboxes) {
      const { wanted } = batches;
      if (wanted === null) continue;
      const log = this.logs[wanted.partition]!;
      const lock = this.#locks[log.handle]!;
      if (log.failure === null && !lock.tryAcquire()) {
        isDone = false;
        continue;
      }
      if (log.failure === null) {
        this.#takeAll();
        this.#roll(log, wanted);
        lock.release();
      }
      batches.forgetWanted();
    }
    return isDone;
  }

  #roll(log: PartitionLog, { sizeBytes, messageCount, maxTimestamp }: Omit<WrittenBatch, "baseOffset">): void {
    const shared = this.#partitions[log.handle]!;
    invariant(log.endOffset === shared.endOffset, "under its lock all batches of a partition are known");
    try {
      log.rollFor(sizeBytes, messageCount, maxTimestamp);
      this.#publish(log);
    } catch (error) {
      if (log.failure === null) throw error;
    }
  }

  #publish(log: PartitionLog): void {
    const { active } = log;
    const descriptor = active.file!.descriptor;
    invariant(descriptor !== null, "only files of the system are written by several threads");
    this.#partitions[log.handle]!.publish(descriptor, log.endOffset, active.sizeBytes, active.limits());
  }

  #beginFlushes(): void {
    for (const [writer, slot] of this.#desk.slots.entries()) {
      if (!slot.wantsSync) continue;
      slot.wantsSync = false;
      const { batches } = this.#inboxes[writer]!;
      const done = () => {
        if (this.#waitsForSync) this.#noteDurable();
        batches.noteFlush();
        this.#board.noteProgress();
      };
      this.flushLogs().then(done, done); // a writer finds failures at their partitions
    }
  }

  #ended(writer: number, isAbandoned: boolean): void {
    this.#takeAll();
    this.#inboxes[writer]!.logs = [];
    this.#inboxes[writer]!.ends = [];
    if (!isAbandoned) return;
    for (const [handle, lock] of this.#locks.entries()) {
      if (lock.holder !== writer + 1) continue;
      this.logs[handle]!.fail(new Error(`the thread of writer ${writer} ended in the middle of a write`));
      this.#board.noteProgress();
    }
  }
}
