import type { EngineListener, Message, PartitionHandle, Writer } from "../engine.js";
import { ClosedError, UnrepresentableError } from "../errors.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { Kernel } from "../kernel/kernel.js";
import { type Board, SlotCounts, SlotState } from "../writers/board.js";
import { type LockKind, SharedLock, STALL_LIMIT_MS } from "../writers/lock.js";
import { PendingRuns } from "../writers/pending-runs.js";
import { MessageEncoder } from "./message-encoder.js";
import type { CommitlogSettings } from "./settings.js";
import type { SharedTail } from "./shared-tail.js";

/** The clock is read every so many polls, and at every idle one. */
const POLLS_PER_CLOCK = 16;
/** How long to sleep before looking again whether there is room. */
const ROOM_WAIT_MS = 20;
const TURN_MS = 1;

/** What the encoder and the writer need of a queue. */
export interface WriterQueue {
  readonly block: number;
  readonly topicSizeBytes: number;
  readonly isV2: boolean;
}

export interface WriterParts {
  readonly heap: Heap;
  readonly kernel: Kernel;
  readonly settings: CommitlogSettings;
  readonly board: Board;
  readonly tail: SharedTail;
  /** The writer's number; 0 is the owner's thread. */
  readonly writer: number;
  readonly queues: readonly WriterQueue[];
  readonly maxRecordBytes: number;
  readonly listener: EngineListener;
  /** Makes room at once, on the owner's thread; elsewhere the owner is asked and waited for. */
  readonly makeRoom?: () => void;
}

/**
 * Appends to a commitlog that several threads share.
 *
 *   append ─ lock ─ position and queue offset taken ─ unlock ─ encoded into the mapping ─ marked as written
 *   poll   ─ lock ─ how far is all written (async) or on the device (sync)? ─ unlock ─ acknowledged up to there
 *
 * What takes long (copy, checksum, page faults) happens outside the lock, in parallel, and each message is still copied
 * once. (RocketMQ encodes into the thread's buffer first and copies under the lock.) A crash can therefore leave a record
 * unfinished before finished ones; so no record is acknowledged before all that precede it in the log are finished.
 */
export class CommitlogWriter implements Writer {
  readonly #parts: WriterParts;
  readonly #tail: SharedTail;
  readonly #board: Board;
  readonly #writer: number;
  readonly #queues: readonly WriterQueue[];
  readonly #encoder: MessageEncoder;
  readonly #lock: SharedLock;
  readonly #slot: SlotCounts;
  readonly #pending = new PendingRuns();
  readonly #waitsForSync: boolean;
  #nowMs = Date.now();
  #storeTimestampMs = 0;
  #pollsSinceClock = 0;
  #hasAppended = false;
  #isClosed = false;
  /** End of this writer's last record. */
  #ownEnd = 0;

  constructor(parts: WriterParts) {
    const { heap, kernel, settings, board, tail, writer } = parts;
    this.#parts = parts;
    this.#tail = tail;
    this.#board = board;
    this.#writer = writer;
    this.#queues = parts.queues;
    this.#encoder = new MessageEncoder(heap, kernel, settings);
    this.#lock = lockOf(heap, tail, writer, settings.lock, board);
    this.#slot = new SlotCounts(heap, board.slotOf(writer));
    this.#waitsForSync = settings.flush === "sync";
  }

  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean {
    if (this.#isClosed) throw new ClosedError("The writer is closed.");
    const queue = this.#queues[partition];
    invariant(queue !== undefined, "a partition handle was there when the writer was opened");
    const encoder = this.#encoder;
    const tail = this.#tail;
    const sizeBytes = encoder.prepare(queue, message);
    if (sizeBytes > this.#parts.maxRecordBytes) this.#refuseSize(sizeBytes);
    this.#acquire();
    while (!tail.hasRoomFor(sizeBytes)) this.#awaitRoom(sizeBytes);
    const position = tail.endOffset;
    const target = position + tail.shift;
    let storeTimestampMs = tail.storeTimestampMs;
    if (this.#nowMs > storeTimestampMs) {
      storeTimestampMs = this.#nowMs;
      tail.storeTimestampMs = storeTimestampMs;
    }
    const queueOffset = tail.take(this.#writer, partition, sizeBytes);
    this.#lock.release();
    if (storeTimestampMs !== this.#storeTimestampMs) {
      this.#storeTimestampMs = storeTimestampMs;
      encoder.setStoreTimestamp(storeTimestampMs);
    }
    encoder.encode(target, queue, queueOffset, position, timestampMs);
    tail.finished(this.#writer);
    this.#ownEnd = position + sizeBytes;
    this.#hasAppended = true;
    this.#slot.appended(1);
    this.#slot.written(sizeBytes, 0);
    this.#pending.push(partition, queueOffset, 1, this.#ownEnd);
    return true;
  }

  poll(waitMs = 0): void {
    this.#readClock();
    if (this.#pending.isEmpty) return;
    const seen = this.#board.progress;
    if (this.#acknowledge() || waitMs === 0) return;
    this.#board.awaitProgress(seen, waitMs);
    this.#acknowledge();
  }

  async flush(): Promise<void> {
    const end = this.#ownEnd;
    while (this.#flushedOffset() < end) {
      // Again and again: a sync takes along only what precedes every unfinished record.
      this.#slot.wantsSync = true;
      this.#board.request();
      this.poll();
      await turn();
    }
    while (!this.#pending.isEmpty && this.#pending.firstMark <= end) {
      this.poll();
      this.#checkNotFailed();
      await turn();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    while (!this.#pending.isEmpty) {
      this.poll();
      if (!this.#pending.isEmpty) await turn();
    }
    if (this.#slot.state !== SlotState.OPEN) return;
    this.#encoder.release();
    this.#slot.state = SlotState.CLOSED;
    this.#board.noteProgress();
  }

  /** @returns whether anything came to its end, well or ill */
  #acknowledge(): boolean {
    const { listener } = this.#parts;
    if (this.#board.hasFailed || !this.#lock.acquire()) {
      if (!this.#board.hasFailed) this.#failByStall();
      this.#pending.failAll(listener, this.#board.failure());
      return true;
    }
    const reached = this.#waitsForSync ? this.#tail.flushedOffset : this.#tail.writtenOffset;
    this.#lock.release();
    const messageCount = this.#pending.acknowledgeTo(reached, listener);
    this.#slot.acknowledged(messageCount);
    return messageCount > 0;
  }

  #flushedOffset(): number {
    this.#acquire();
    const { flushedOffset } = this.#tail;
    this.#lock.release();
    return flushedOffset;
  }

  #acquire(): void {
    if (!this.#board.hasFailed && this.#lock.acquire()) {
      if (!this.#board.hasFailed) return;
      this.#lock.release();
    }
    if (!this.#board.hasFailed) this.#failByStall();
    throw this.#board.failure();
  }

  #checkNotFailed(): void {
    if (this.#board.hasFailed) throw this.#board.failure();
  }

  /** Gives the lock back until there may be room. Only the owner can make it: the window or the file ends here. */
  #awaitRoom(sizeBytes: number): void {
    this.#tail.want(this.#writer, sizeBytes);
    const seen = this.#board.progress;
    this.#lock.release();
    if (this.#parts.makeRoom !== undefined) {
      this.#parts.makeRoom();
    } else {
      this.#board.request();
      this.#board.awaitProgress(seen, ROOM_WAIT_MS);
    }
    this.#acquire();
  }

  #failByStall(): void {
    this.#board.fail(`writer ${this.#lock.holder - 1} has kept the commitlog's lock for ${STALL_LIMIT_MS / 1_000} s`);
  }

  #readClock(): void {
    const isIdle = !this.#hasAppended;
    this.#hasAppended = false;
    if (!isIdle && ++this.#pollsSinceClock < POLLS_PER_CLOCK) return;
    this.#pollsSinceClock = 0;
    this.#nowMs = Date.now();
  }

  #refuseSize(sizeBytes: number): never {
    throw new UnrepresentableError(
      `A message that takes ${sizeBytes} bytes in the log does not fit: at most ${this.#parts.maxRecordBytes} do, by maxMessageSizeBytes and segmentSizeBytes.`,
    );
  }
}

export function lockOf(heap: Heap, tail: SharedTail, writer: number, kind: LockKind, board: Board): SharedLock {
  return new SharedLock(heap.words, tail.lockWord, writer + 1, kind, () => board.hasFailed);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, TURN_MS));
}
