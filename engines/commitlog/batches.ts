import type { Heap } from "../heap.js";
import type { Queue } from "./queue-table.js";

/** Messages of one queue, framed or encoded back to back, that are appended together: RocketMQ's batch. */
export interface OpenBatch {
  readonly queue: Queue;
  /** Heap address of the first message. */
  readonly address: number;
  /** When it was opened. */
  readonly openedMs: number;
  readonly baseOffset: number;
  /** Bytes of its records in the log. */
  sizeBytes: number;
  /** Bytes taken of its buffer. */
  bufferedBytes: number;
  messageCount: number;
}

/**
 * The producer's side of batching: what is appended waits here for company, in user memory, until its batch is full or
 * its linger has passed. The buffers together take at most `memoryBytes`.
 */
export class Batches {
  /** In the order in which they were opened. */
  readonly #open = new Set<OpenBatch>();
  readonly #free: number[] = [];
  readonly #buffers: number[] = [];
  readonly #maxBuffers: number;

  constructor(
    private readonly heap: Heap,
    readonly batchSizeBytes: number,
    memoryBytes: number,
  ) {
    this.#maxBuffers = Math.max(1, Math.floor(memoryBytes / batchSizeBytes));
  }

  get isEmpty(): boolean {
    return this.#open.size === 0;
  }

  /** The batch that was opened first. */
  oldest(): OpenBatch | undefined {
    return this.#open.values().next().value;
  }

  /** Opens a batch for a queue without one, or says that the memory is used up by returning undefined. */
  tryOpen(queue: Queue, nowMs: number): OpenBatch | undefined {
    const address = this.#takeBuffer();
    if (address === undefined) return undefined;
    const empty = { sizeBytes: 0, bufferedBytes: 0, messageCount: 0 };
    const batch = { queue, address, openedMs: nowMs, baseOffset: queue.nextOffset, ...empty };
    this.#open.add(batch);
    queue.openBatch = batch;
    return batch;
  }

  /** The batch has been written, or given up. */
  close(batch: OpenBatch): void {
    this.#open.delete(batch);
    batch.queue.openBatch = null;
    this.#free.push(batch.address);
  }

  release(): void {
    for (const address of this.#buffers) this.heap.release(address);
  }

  #takeBuffer(): number | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#buffers.length >= this.#maxBuffers) return free;
    const address = this.heap.allocate(this.batchSizeBytes, 64);
    this.#buffers.push(address);
    return address;
  }
}
