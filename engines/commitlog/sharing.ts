import type { EngineListener, PartitionHandle, WriterThread, WriterTicket } from "../engine.js";
import type { GroupCommit } from "../group-commit.js";
import type { Heap } from "../heap.js";
import type { Kernel } from "../kernel/kernel.js";
import { Board, SlotState, type WriterCounts } from "../writers/board.js";
import { type SharedLock, STALL_LIMIT_MS } from "../writers/lock.js";
import { WriterDesk } from "../writers/writer-desk.js";
import type { MappedLog } from "./mapped-log.js";
import type { QueueTable } from "./queue-table.js";
import type { CommitlogSettings } from "./settings.js";
import { SharedTail } from "./shared-tail.js";
import { CommitlogWriter, lockOf, type WriterQueue } from "./writer.js";

/** Besides a body: properties and the like. */
const ENCODER_MEMORY_BYTES = 1 << 20;
/** Others fill their records in less; whoever is interrupted in the middle takes longer. */
const FILL_WAIT_MS = 0.1;

/** What a worker thread needs to append to this log. */
export interface CommitlogTicket extends WriterTicket {
  readonly writer: number;
  readonly memory: { readonly address: number; readonly sizeBytes: number };
  readonly board: number;
  readonly tail: number;
  readonly settings: CommitlogSettings;
  readonly queues: readonly WriterQueue[];
  readonly maxRecordBytes: number;
}

export interface SharingParts {
  readonly heap: Heap;
  readonly kernel: Kernel;
  readonly settings: CommitlogSettings;
  readonly log: MappedLog;
  readonly queues: QueueTable;
  readonly groupCommit: GroupCommit;
  readonly maxRecordBytes: number;
  readonly storeTimestampMs: number;
  readonly listener: EngineListener;
}

/**
 * The owner's side of a commitlog with several writers: brings the engine's `log` up to what all have written, gives them
 * windows and files, and tells them what is durable. From the first writer on until the engine is closed.
 */
export class LogSharing {
  /** The owner's thread as one of the writers. */
  readonly own: CommitlogWriter;
  /** No record that is written later is older than this: all the others are below the log's end. */
  settledTimestampMs: number;

  readonly #parts: SharingParts;
  readonly #board: Board;
  readonly #tail: SharedTail;
  readonly #lock: SharedLock;
  readonly #desk: WriterDesk;
  readonly #queues: readonly WriterQueue[];
  readonly #waitsForSync: boolean;
  #requests = 0;
  /** The log's end and its message count when they were last looked at, and the messages counted as written so far. */
  #markOffset = 0;
  #markMessages = 0;
  #countedMessages = 0;
  /** Where the oldest unfinished record has begun for longer than one poll, and since when. */
  #stuckOffset = -1;
  #stuckSinceMs = 0;

  constructor(parts: SharingParts) {
    const { heap, log, queues, settings } = parts;
    this.#parts = parts;
    this.#waitsForSync = settings.flush === "sync";
    this.#board = Board.allocate(heap);
    this.#queues = queues.queues.map(({ block, topicSizeBytes, isV2 }) => ({ block, topicSizeBytes, isV2 }));
    const tail = SharedTail.allocate(heap, this.#board.slotOf(0), this.#queues.length);
    tail.endOffset = log.endOffset;
    tail.flushedOffset = log.flushedOffset;
    tail.storeTimestampMs = parts.storeTimestampMs;
    for (const { handle, nextOffset } of queues.queues) tail.setNextOffset(handle, nextOffset);
    this.#tail = tail;
    this.settledTimestampMs = parts.storeTimestampMs;
    this.#lock = lockOf(heap, tail, 0, settings.lock, this.#board);
    this.#desk = new WriterDesk(heap, this.#board, (writer, isAbandoned) => this.#ended(writer, isAbandoned));
    this.own = new CommitlogWriter({
      ...{ heap, kernel: parts.kernel, settings, board: this.#board, tail, writer: 0, queues: this.#queues },
      ...{ maxRecordBytes: parts.maxRecordBytes, listener: parts.listener, makeRoom: () => this.#makeRoomNow() },
    });
    this.#desk.slots[0]!.state = SlotState.OPEN;
    this.#makeRoom(1);
  }

  openWriter(thread: WriterThread): CommitlogTicket {
    const { settings, maxRecordBytes } = this.#parts;
    const engineMemoryBytes = settings.maxMessageSizeBytes + ENCODER_MEMORY_BYTES;
    const { writer, memory } = this.#desk.open(thread, engineMemoryBytes);
    // Nothing reads it beyond the number of writers that there were; a new one counts before it gets its ticket.
    this.#tail.highestWriter = Math.max(this.#tail.highestWriter, writer);
    return {
      engine: "commitlog",
      ...{ writer, memory, settings, maxRecordBytes },
      board: this.#board.address,
      tail: this.#tail.address,
      queues: this.#queues,
    };
  }

  get attachedCount(): number {
    return this.#desk.attachedCount;
  }

  counts(): WriterCounts {
    return this.#desk.counts();
  }

  /** Messages that a queue will have when all is written that was begun. */
  nextOffset(queue: PartitionHandle): number {
    return this.#tail.nextOffset(queue);
  }

  /** Brings log and writers up to each other; never waits for the lock. */
  poll(): void {
    const { groupCommit } = this.#parts;
    if (groupCommit.failure !== null) this.#board.fail(groupCommit.failure.message);
    if (this.#board.hasFailed) {
      if (groupCommit.failure === null) groupCommit.fail(new Error(this.#board.failureText));
    } else if (this.#lock.tryAcquire()) {
      this.#exchange();
    }
    this.own.poll();
  }

  /** Resolves when all that was begun before the call is on the device and acknowledged here. @throws LogFailedError */
  async flush(): Promise<void> {
    const { log, groupCommit } = this.#parts;
    const end = this.#tail.endOffset;
    await this.#pollUntil(() => log.endOffset >= end);
    await groupCommit.flush();
    await this.#pollUntil(() => this.#tail.flushedOffset >= end);
    for (const queue of this.#parts.queues.queues) {
      if (queue.handle < this.#queues.length) queue.nextOffset = this.#tail.nextOffset(queue.handle);
    }
  }

  async #pollUntil(isDone: () => boolean): Promise<void> {
    const startedMs = performance.now();
    while (true) {
      this.poll();
      if (this.#board.hasFailed) throw this.#board.failure();
      if (isDone()) return;
      if (performance.now() - startedMs > STALL_LIMIT_MS) this.#board.fail("a writer does not finish its record");
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Once nobody writes: the log ends where the last writer has, also behind what was known when it failed. */
  settle(): void {
    const { log } = this.#parts;
    log.endOffset = Math.max(log.endOffset, this.#tail.endOffset);
  }

  /** Gives the memory back, once no writer is attached. */
  release(): void {
    this.#desk.release();
    this.#parts.heap.release(this.#tail.address);
  }

  /** With the lock, which it gives back. */
  #exchange(): void {
    const { log, groupCommit } = this.#parts;
    const tail = this.#tail;
    const { endOffset, messages } = tail;
    const written = tail.writtenOffset;
    if (written < endOffset) this.#watchUnfinished(written);
    const isNews = tail.flushedOffset !== log.flushedOffset || (!this.#waitsForSync && log.endOffset !== written);
    tail.flushedOffset = log.flushedOffset;
    log.endOffset = written;
    if (written === endOffset) {
      this.#markOffset = endOffset;
      this.#markMessages = messages;
      this.settledTimestampMs = tail.storeTimestampMs;
    }
    if (written >= this.#markOffset) {
      const newMessages = this.#markMessages - this.#countedMessages;
      if (newMessages > 0) groupCommit.writtenElsewhere(newMessages);
      this.#countedMessages = this.#markMessages;
      this.#markOffset = endOffset;
      this.#markMessages = messages;
    }
    const { requests } = this.#board;
    const isAsked = requests !== this.#requests;
    let roomMade = false;
    if (isAsked && written === endOffset) {
      this.#requests = requests;
      const wanted = tail.takeWanted();
      if (wanted > 0) roomMade = this.#makeRoom(wanted);
    }
    this.#lock.release();
    if (isNews || roomMade) this.#board.noteProgress();
    if (isAsked) this.#beginWantedSyncs();
  }

  /** A thread that hangs in the middle of a record holds up all: the log fails, and nobody waits for ever. */
  #watchUnfinished(offset: number): void {
    if (offset !== this.#stuckOffset) {
      this.#stuckOffset = offset;
      this.#stuckSinceMs = performance.now();
    } else if (performance.now() - this.#stuckSinceMs > STALL_LIMIT_MS) {
      this.#board.fail("a writer does not finish its record");
    }
  }

  #beginWantedSyncs(): void {
    for (const slot of this.#desk.slots) {
      if (!slot.wantsSync) continue;
      slot.wantsSync = false;
      this.#parts.groupCommit.flush().catch(() => undefined); // the writers learn it from the board
    }
  }

  /** With the lock, and nobody filling a record. A file or window that cannot be had fails the log. */
  #makeRoom(sizeBytes: number): boolean {
    const { log, groupCommit } = this.#parts;
    const tail = this.#tail;
    try {
      log.endOffset = tail.endOffset;
      log.begin(sizeBytes);
      tail.endOffset = log.endOffset;
      tail.room = log.room;
      return true;
    } catch (error) {
      groupCommit.fail(error as Error);
      this.#board.fail((error as Error).message);
      return false;
    }
  }

  /** For an append on this thread that found no room. */
  #makeRoomNow(): void {
    const startedMs = performance.now();
    while (!this.#board.hasFailed && this.#lock.acquire()) {
      if (this.#tail.writtenOffset === this.#tail.endOffset) {
        const wanted = this.#tail.takeWanted();
        if (wanted > 0) this.#makeRoom(wanted);
        this.#lock.release();
        this.#board.noteProgress();
        return;
      }
      this.#lock.release();
      if (performance.now() - startedMs > STALL_LIMIT_MS) this.#board.fail("a writer does not finish its record");
      this.#board.awaitProgress(this.#board.progress, FILL_WAIT_MS);
    }
  }

  /** What was begun in a record or in the lock stays so: nothing behind it can be acknowledged any more. */
  #ended(writer: number, isAbandoned: boolean): void {
    if (!isAbandoned || (this.#lock.holder !== writer + 1 && !this.#tail.isWriting(writer))) return;
    this.#board.fail(`the thread of writer ${writer} ended in the middle of an append`);
  }
}
