import { writeSync } from "node:fs";
import type { EngineListener, PartitionHandle } from "../engine.js";
import { LogFailedError } from "../errors.js";
import type { Heap } from "../heap.js";
import { type Board, SlotCounts } from "../writers/board.js";
import { SharedLock } from "../writers/lock.js";
import { PendingRuns } from "../writers/pending-runs.js";
import type { BatchLog } from "./accumulator.js";
import type { PartitionedLogSettings } from "./settings.js";
import { SHARED_PARTITION_SIZE_BYTES, SharedPartition } from "./shared-partition.js";
import { WrittenBatches } from "./written-batches.js";

const ROOM_WAIT_MS = 20;

export interface BatchWriterParts {
  readonly heap: Heap;
  readonly settings: PartitionedLogSettings;
  readonly board: Board;
  /** The writer's number; 0 is the owner's thread. */
  readonly writer: number;
  /** Address of the partitions' shared blocks, by handle. */
  readonly blocks: number;
  /** Address of this writer's ring of written batches. */
  readonly ring: number;
  readonly listener: EngineListener;
  /** Does what the owner's poll does for writers, on the owner's thread; elsewhere the owner is asked and waited for. */
  readonly serve?: () => void;
}

/**
 * One thread's way of writing sealed batches to partitions that several threads append to: under the partition's lock a
 * batch gets its base offset, is written, and is told to the owner, who keeps the indexes. Compression and checksum are
 * done by then: the checksum does not cover the base offset.
 */
export class BatchWriter {
  readonly batches: WrittenBatches;
  readonly slot: SlotCounts;
  readonly #pending = new PendingRuns();
  readonly #waitsForSync: boolean;
  /** Hears of runs that came to their end: well, unless the partition has failed meanwhile. */
  readonly #ends: EngineListener;
  readonly #partitions: LockedPartition[] = [];
  #pushed = 0;
  #durable = 0;

  constructor(readonly parts: BatchWriterParts) {
    const { heap, board, writer, listener } = parts;
    const slot = board.slotOf(writer);
    this.slot = new SlotCounts(heap, slot);
    this.batches = new WrittenBatches(heap, slot, parts.ring);
    this.#waitsForSync = parts.settings.flush === "sync";
    this.#ends = {
      acknowledged: (partition, baseOffset, messageCount) => {
        const { failure } = this.#partitions[partition]!;
        if (failure !== null) {
          listener.failed(partition, messageCount, failure);
          return;
        }
        this.slot.acknowledged(messageCount);
        listener.acknowledged(partition, baseOffset, messageCount);
      },
      failed: (partition, messageCount, error) => listener.failed(partition, messageCount, error),
    };
  }

  /** Partitions are added in the order of their handles. */
  addPartition(name: string, leaderEpoch: number): LockedPartition {
    const partition = new LockedPartition(this, this.#partitions.length, name, leaderEpoch);
    this.#partitions.push(partition);
    return partition;
  }

  get isIdle(): boolean {
    return this.#pending.isEmpty;
  }

  /** The first failed partition's failure. */
  get failure(): LogFailedError | null {
    return this.#partitions.find(({ failure }) => failure !== null)?.failure ?? null;
  }

  /** The batch stands in the log; the partition's lock is held. */
  pushed(
    partition: PartitionHandle,
    sizeBytes: number,
    messageCount: number,
    baseOffset: number,
    maxTimestamp: number,
  ) {
    this.batches.push(partition, sizeBytes, messageCount, baseOffset, maxTimestamp);
    this.#pushed++;
  }

  /** Acknowledges a batch that was pushed, or puts it among those that wait for a sync. */
  settle(partition: PartitionHandle, baseOffset: number, messageCount: number): void {
    if (this.#waitsForSync) this.#pending.push(partition, baseOffset, messageCount, this.#pushed);
    else this.#ends.acknowledged(partition, baseOffset, messageCount);
  }

  /** @returns whether anything came to its end */
  acknowledge(): boolean {
    if (this.#pending.isEmpty) return false;
    this.#durable += (this.batches.durable - this.#durable) | 0;
    return this.#pending.acknowledgeTo(this.#durable, this.#ends) > 0;
  }

  /** Returns when it is worth looking again whether there is room. */
  awaitRoom(seen: number): void {
    const { board, serve } = this.parts;
    board.request();
    if (serve !== undefined) serve();
    else board.awaitProgress(seen, ROOM_WAIT_MS);
  }
}

/** A partition's log as one writer writes to it. */
export class LockedPartition implements BatchLog {
  /** Not known before the lock is held: the batch gets it then. */
  readonly endOffset = 0;
  readonly #shared: SharedPartition;
  readonly #lock: SharedLock;
  #failure: LogFailedError | null = null;

  constructor(
    private readonly owner: BatchWriter,
    readonly handle: PartitionHandle,
    readonly name: string,
    readonly leaderEpoch: number,
  ) {
    const { heap, blocks, settings, writer } = owner.parts;
    const shared = new SharedPartition(heap, blocks + handle * SHARED_PARTITION_SIZE_BYTES);
    this.#shared = shared;
    this.#lock = new SharedLock(heap.words, shared.lockWord, writer + 1, settings.lock, () => shared.hasFailed);
  }

  get failure(): LogFailedError | null {
    if (this.#failure === null && this.#shared.hasFailed) {
      this.#failure = new LogFailedError(
        `A write or sync of ${this.name} failed (${this.#shared.failureText}). Reopen the directory to go on.`,
      );
    }
    return this.#failure;
  }

  /** For all writers. The first cause stays. */
  fail(cause: Error): void {
    this.#shared.fail(cause.message);
  }

  /** @throws LogFailedError: this partition takes nothing more */
  write(address: number, batchSizeBytes: number, messageCount: number, maxTimestamp: number): void {
    const { owner } = this;
    const { heap, settings, board } = owner.parts;
    const shared = this.#shared;
    this.#acquire();
    while (
      owner.batches.isFull ||
      !shared.hasRoomFor(batchSizeBytes, messageCount, maxTimestamp, settings.segmentSizeBytes)
    ) {
      owner.batches.wantRoom(this.handle, batchSizeBytes, messageCount, maxTimestamp);
      const seen = board.progress;
      this.#lock.release();
      owner.awaitRoom(seen);
      this.#acquire();
    }
    const baseOffset = shared.endOffset;
    heap.view.setUint32(address, Math.floor(baseOffset / 4_294_967_296));
    heap.view.setUint32(address + 4, baseOffset >>> 0);
    try {
      owner.slot.written(batchSizeBytes, writeAll(heap, shared, address, batchSizeBytes));
    } catch (error) {
      shared.fail((error as Error).message);
      this.#lock.release();
      board.request();
      throw this.failure;
    }
    shared.advance(batchSizeBytes, messageCount, maxTimestamp, settings.segmentMs);
    owner.pushed(this.handle, batchSizeBytes, messageCount, baseOffset, maxTimestamp);
    this.#lock.release();
    owner.settle(this.handle, baseOffset, messageCount);
  }

  #acquire(): void {
    if (this.#lock.acquire()) {
      if (!this.#shared.hasFailed) return;
      this.#lock.release();
    } else if (!this.#shared.hasFailed) {
      this.#shared.fail(`writer ${this.#lock.holder - 1} has kept the lock for half a minute`);
    }
    throw this.failure;
  }
}

/** Writes behind the active segment's log. @returns calls */
function writeAll(heap: Heap, shared: SharedPartition, address: number, sizeBytes: number): number {
  const { descriptor, sizeBytes: position } = shared;
  let calls = 0;
  for (let done = 0; done < sizeBytes; calls++) {
    done += writeSync(descriptor, heap.bytes, address + done, sizeBytes - done, position + done);
  }
  return calls;
}
