import type { AttachOptions, Message, PartitionHandle, Writer } from "../engine.js";
import { ClosedError } from "../errors.js";
import { Board, SlotState } from "../writers/board.js";
import { Accumulator } from "./accumulator.js";
import { BatchWriter, type LockedPartition } from "./batch-writer.js";
import type { PartitionedLogTicket } from "./sharing.js";

const TURN_MS = 1;

/** In a worker thread: the writer that `openWriter` of the engine has made the ticket for. */
export function attachPartitionedLogWriter(options: AttachOptions): Writer {
  return new PartitionedLogWriter(options);
}

/** One thread's producer: batches of its own, and the partitions' locks to write them. */
class PartitionedLogWriter implements Writer {
  readonly #accumulator: Accumulator<LockedPartition>;
  readonly #batchWriter: BatchWriter;
  readonly #board: Board;
  #countedMessages = 0;
  #isClosed = false;
  #flushing: Promise<void> = Promise.resolve();

  constructor({ ticket, heap, listener }: AttachOptions) {
    const { memory, board, partitions, ...rest } = ticket as PartitionedLogTicket;
    heap.lend(memory.address, memory.sizeBytes);
    this.#board = new Board(heap, board);
    this.#batchWriter = new BatchWriter({ ...rest, heap, board: this.#board, listener });
    this.#accumulator = new Accumulator(heap, rest.settings, listener, () => undefined);
    for (const { name, leaderEpoch } of partitions) {
      this.#accumulator.addPartition(this.#batchWriter.addPartition(name, leaderEpoch));
    }
  }

  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean {
    if (this.#isClosed) throw new ClosedError("The writer is closed.");
    return this.#accumulator.append(partition, message, timestampMs);
  }

  poll(waitMs = 0): void {
    this.#accumulator.drain();
    this.#countAppended();
    const seen = this.#board.progress;
    if (this.#batchWriter.acknowledge() || waitMs === 0 || this.#batchWriter.isIdle) return;
    this.#board.awaitProgress(seen, waitMs);
    this.#batchWriter.acknowledge();
  }

  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flush());
    return this.#flushing;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#accumulator.drainAll();
    this.#countAppended();
    while (!this.#batchWriter.isIdle) {
      this.#batchWriter.acknowledge();
      await turn();
    }
    this.#accumulator.release();
    this.#batchWriter.slot.state = SlotState.CLOSED;
    this.#board.noteProgress();
  }

  async #flush(): Promise<void> {
    const { batches, slot } = this.#batchWriter;
    this.#accumulator.drainAll();
    const before = batches.flushes;
    slot.wantsSync = true;
    this.#board.request();
    while (batches.flushes === before) {
      this.poll();
      await turn();
    }
    this.#batchWriter.acknowledge();
    const { failure } = this.#batchWriter;
    if (failure !== null) throw failure;
  }

  #countAppended(): void {
    const { appendedMessages } = this.#accumulator;
    this.#batchWriter.slot.appended(appendedMessages - this.#countedMessages);
    this.#countedMessages = appendedMessages;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, TURN_MS));
}
