import { type EngineListener, STAGE_BROKER } from "../engine.js";
import type { GroupCommit } from "../group-commit.js";
import type { Heap } from "../heap.js";
import { InvariantError, invariant } from "../invariant.js";
import type { Kernel } from "../kernel/kernel.js";
import type { OpenBatch } from "./batches.js";
import type { CommitLog } from "./commit-log.js";
import { type Dispatcher, DispatchOutcome } from "./dispatcher.js";
import type { MessageEncoder } from "./message-encoder.js";
import type { Queue } from "./queue-table.js";
import { highHalf, lowHalf } from "./record-parser.js";
import type { CommitlogSettings } from "./settings.js";
import { UnwrittenRuns } from "./unwritten-runs.js";

export interface LogAppenderParts {
  readonly heap: Heap;
  readonly kernel: Kernel;
  readonly settings: CommitlogSettings;
  readonly log: CommitLog;
  readonly encoder: MessageEncoder;
  readonly dispatcher: Dispatcher;
  readonly groupCommit: GroupCommit;
  readonly listener: EngineListener;
  /** Largest record that fits a file. */
  readonly maxRecordBytes: number;
  /** See `OpenOptions` of engine.ts. */
  readonly stage: Int32Array;
}

/**
 * The broker's step: gives records their place in the log, and has their messages acknowledged as soon as the kernel has
 * them, which under the write path `write` is when a write has returned.
 */
export class LogAppender {
  batchCount = 0;
  logBytes = 0;

  readonly #parts: LogAppenderParts;
  readonly #log: CommitLog;
  readonly #encoder: MessageEncoder;
  readonly #groupCommit: GroupCommit;
  readonly #isIndexedInline: boolean;
  /** Messages whose records are gathered only; null where the kernel has a record as soon as it is placed. */
  readonly #unwritten: UnwrittenRuns | null;
  /** Where a producer assembles a record that has no place yet; 0 = records are encoded in their place. */
  readonly #assembled: number;

  constructor(parts: LogAppenderParts) {
    const { settings, log } = parts;
    this.#parts = parts;
    this.#log = log;
    this.#encoder = parts.encoder;
    this.#groupCommit = parts.groupCommit;
    this.#isIndexedInline = settings.indexBuilding === "inline";
    this.#unwritten = settings.writePath === "write" ? new UnwrittenRuns() : null;
    this.#assembled = settings.assembly === "producer" ? parts.heap.allocate(parts.maxRecordBytes, 64) : 0;
    log.onWritten = (address, sizeBytes, position) => this.#written(address, sizeBytes, position);
  }

  /** Whether records are encoded into a mapping and nothing else is to be done about them. */
  get isPlain(): boolean {
    return this.#unwritten === null && this.#assembled === 0 && !this.#isIndexedInline;
  }

  /** The address for the next `sizeBytes` of the log. A new file that cannot be made fails the log. @throws LogFailedError */
  begin(sizeBytes: number): number {
    try {
      return this.#log.begin(sizeBytes);
    } catch (error) {
      this.fail(error as Error);
      this.#groupCommit.checkNotFailed();
      throw error;
    }
  }

  /** Appends the message that the encoder has prepared, alone. @throws LogFailedError */
  append(queue: Queue, sizeBytes: number, timestampMs: number): void {
    const queueOffset = queue.nextOffset;
    if (this.#assembled !== 0) this.#encoder.assemble(this.#assembled, queue, queueOffset, timestampMs);
    const { stage } = this.#parts;
    const found = stage[0]!;
    stage[0] = STAGE_BROKER;
    try {
      const target = this.begin(sizeBytes);
      if (this.#assembled === 0) {
        this.#encoder.encode(target, queue, queueOffset, this.#log.appendOffset, timestampMs);
      } else {
        this.#place(target, this.#assembled, sizeBytes);
      }
      this.#placed(queue, queueOffset, 1, target, sizeBytes);
    } finally {
      stage[0] = found;
    }
  }

  /**
   * Appends a batch's records in one go: RocketMQ puts a batch into one file, all or nothing. On a failure the messages
   * are reported as lost.
   */
  appendBatch(batch: OpenBatch): void {
    const { queue, sizeBytes, messageCount, baseOffset } = batch;
    const { stage } = this.#parts;
    const found = stage[0]!;
    stage[0] = STAGE_BROKER;
    try {
      this.#groupCommit.checkNotFailed();
      const target = this.begin(sizeBytes);
      if (this.#assembled === 0) {
        this.#encoder.encodeFrames(batch.address, target, queue, baseOffset, messageCount, this.#log.appendOffset);
      } else {
        this.#place(target, batch.address, sizeBytes);
      }
      this.#placed(queue, baseOffset, messageCount, target, sizeBytes);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      queue.nextOffset = baseOffset;
      this.#parts.listener.failed(queue.handle, messageCount, error as Error);
    } finally {
      stage[0] = found;
    }
  }

  /** Has the kernel given what is gathered, in one write, and acknowledges it. A failure fails the log. */
  writeOut(): void {
    if (this.#unwritten === null || this.#unwritten.isEmpty) return;
    try {
      this.#groupCommit.checkNotFailed();
      this.#log.writeOut();
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.fail(error as Error);
    }
  }

  /** Fails what waits, and the log for good. */
  fail(error: Error): void {
    this.#groupCommit.fail(error);
    this.#unwritten?.take((partition, _baseOffset, messageCount) =>
      this.#parts.listener.failed(partition, messageCount, error),
    );
  }

  release(): void {
    if (this.#assembled !== 0) this.#parts.heap.release(this.#assembled);
  }

  /** Copies assembled records to their place and fills in what is known only now: position, store time, CRC property. */
  #place(target: number, source: number, sizeBytes: number): void {
    const { appendOffset } = this.#log;
    this.#parts.kernel.placeCommitlogBatch(
      target,
      source,
      sizeBytes,
      highHalf(appendOffset),
      lowHalf(appendOffset),
      this.#encoder.storeTimestampMs,
    );
    if (this.#encoder.appendsCrc) this.#writeCrcs(target, sizeBytes);
  }

  #writeCrcs(address: number, sizeBytes: number): void {
    const end = address + sizeBytes;
    for (let at = address; at < end; ) {
      const recordSize = this.#parts.heap.view.getInt32(at);
      this.#encoder.writeCrc(at, recordSize);
      at += recordSize;
    }
  }

  #placed(queue: Queue, baseOffset: number, messageCount: number, address: number, sizeBytes: number): void {
    const position = this.#log.appendOffset;
    this.#log.advance(sizeBytes);
    queue.nextOffset = baseOffset + messageCount;
    this.batchCount++;
    this.logBytes += sizeBytes;
    if (this.#unwritten !== null) {
      this.#unwritten.add(queue.handle, baseOffset, messageCount);
      return;
    }
    if (this.#isIndexedInline) this.#indexNow(queue, baseOffset, address, sizeBytes, position);
    this.#groupCommit.written(queue.handle, baseOffset, messageCount);
  }

  /** @throws LogFailedError when the queue's full buffer could not be written out */
  #indexNow(queue: Queue, baseOffset: number, address: number, sizeBytes: number, position: number): void {
    try {
      this.#dispatch(address, sizeBytes, position);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      queue.nextOffset = baseOffset;
      this.fail(error as Error);
      this.#groupCommit.checkNotFailed();
    }
  }

  #dispatch(address: number, sizeBytes: number, position: number): void {
    const outcome = this.#parts.dispatcher.run(address, sizeBytes, position);
    invariant(outcome === DispatchOutcome.AT_END, "what was appended is dispatched at once");
    this.#log.dispatchedOffset = position + sizeBytes;
  }

  #written(address: number, sizeBytes: number, position: number): void {
    if (this.#isIndexedInline) this.#dispatch(address, sizeBytes, position);
    this.#unwritten!.take((partition, baseOffset, messageCount) =>
      this.#groupCommit.written(partition, baseOffset, messageCount),
    );
  }
}
