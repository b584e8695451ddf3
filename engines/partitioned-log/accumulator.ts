import { crc32c } from "../codec/checksums.js";
import { compress } from "../codec/compression.js";
import {
  ATTRIBUTES_AT,
  BATCH_HEADER_SIZE_BYTES,
  BATCH_PREFIX_SIZE_BYTES,
  CHECKED_AT,
  COMPRESSIONS,
  CRC_AT,
  encodeHeaders,
  firstRecordSizeBytes,
  LENGTH_AT,
} from "../codec/record-batch.js";
import { type EngineListener, type Message, type PartitionHandle, STAGE_BROKER } from "../engine.js";
import { LogFailedError, UnrepresentableError } from "../errors.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import { type Kernel, kernelOf } from "../kernel/kernel.js";
import { BatchBuffers } from "./batch-buffers.js";
import type { PartitionedLogSettings } from "./settings.js";

/** See kernel/assembly/record-batch.ts and framed-batch.ts. */
const CONTROL_BLOCK_SIZE_BYTES = 64;
const RECORD_COUNT_AT = 8;
const SEALED_MAX_TIMESTAMP_AT = 32;

/** Room for control blocks; address space only, until touched. */
const MAX_PARTITIONS = 65_536;
/** Smaller batches (down to one message each) still share buffers of this size. */
const SMALLEST_BUFFER_BYTES = 4_096;
const FIRST_SCRATCH_SIZE_BYTES = 4_096;

/** A batch of one record has no more bytes than this, besides key, value and headers (a null counts as -1). */
const MOST_FRAMING_BYTES = BATCH_HEADER_SIZE_BYTES + 5 + 3 + 2 * (5 + 1) + 1;

/**
 * Heap that frames take, for each byte of the batch that they make: at most the 20 fixed bytes of a frame where a record
 * has 7.
 */
const FRAME_EXPANSION = 20 / 7;

/** Memory of an accumulator besides buffers and scratch: control blocks, and what is lost to alignment. */
export const MEMORY_BESIDE_BUFFERS_BYTES = MAX_PARTITIONS * CONTROL_BLOCK_SIZE_BYTES + (1 << 20);

/** Where a partition's batches are written. */
export interface BatchLog {
  readonly handle: PartitionHandle;
  /** For error texts. */
  readonly name: string;
  readonly endOffset: number;
  readonly leaderEpoch: number;
  /** Why nothing can be written any more. */
  readonly failure: Error | null;
  /** Writes a sealed batch and passes it on to the flush policy. @throws, having set `failure` */
  write(address: number, batchSizeBytes: number, messageCount: number, maxTimestamp: number): void;
}

/** What a partition collects before it is written. */
interface OpenBatch<Log extends BatchLog> {
  readonly log: Log;
  readonly control: number;
  /** 0 while no batch is open. */
  address: number;
  capacityBytes: number;
  openedAtMs: number;
  /** Neighbours among the open batches, in the order in which they were opened. */
  older: OpenBatch<Log> | null;
  newer: OpenBatch<Log> | null;
}

/**
 * The producer's side: collects messages into a record batch per partition and hands full or due ones to their logs.
 *
 *   append ─ kernel: one record into the open batch ─┬─ fits: done
 *                                                    └─ does not: write that batch, open the next, once more
 *   drain  ─ oldest open batch first, while its linger has passed (or the memory is exhausted, or all is flushed)
 *
 * A message is encoded once, into the buffer that is written; with `assembly: "broker"` the buffers hold the messages as a
 * client would send them, charged as if encoded, and the batch is encoded when it is written. Rules as in Kafka's RecordAccumulator: the first record
 * always fits, a larger one in a buffer of its own; when the memory is exhausted nothing is taken, and the next drain
 * writes what is open, whatever its age. One differs: a batch counts as full when a record of the last one's size would
 * not fit any more, and is written at once, while its bytes are still in the processor's caches. Kafka finds that out
 * from the next record, for which a full batch may wait as long as it lingers.
 */
export class Accumulator<Log extends BatchLog> {
  appendedMessages = 0;
  readonly #batches: OpenBatch<Log>[] = [];
  readonly #buffers: BatchBuffers;
  readonly #controls: number;
  readonly #kernel: Kernel;
  /** Kernel functions, held apart: one load less for each message. */
  readonly #appendRecord: Kernel["appendRecord"];
  readonly #appendValue: Kernel["appendValue"];
  readonly #assemblesLate: boolean;
  readonly #batchLimitBytes: number;
  #partitionCount = 0;
  #oldest: OpenBatch<Log> | null = null;
  #newest: OpenBatch<Log> | null = null;
  #isExhausted = false;
  #scratch = 0;
  #scratchSizeBytes = 0;
  /** Where a batch is encoded that was kept as frames. */
  #assembled = 0;
  #assembledSizeBytes = 0;

  /** @throws RangeError if the heap has no room for the buffer memory */
  constructor(
    private readonly heap: Heap,
    private readonly settings: PartitionedLogSettings,
    private readonly listener: EngineListener,
    private readonly written: (log: Log) => void,
    /** See `OpenOptions`; it rests at the producer's. */
    private readonly stage: Int32Array = new Int32Array(1),
  ) {
    const { batchSizeBytes, bufferMemoryBytes, maxMessageBytes, segmentSizeBytes } = settings;
    this.#kernel = kernelOf(heap);
    this.#assemblesLate = settings.assembly === "broker";
    this.#appendRecord = this.#assemblesLate ? this.#kernel.frameRecord : this.#kernel.appendRecord;
    this.#appendValue = this.#assemblesLate ? this.#kernel.frameValue : this.#kernel.appendValue;
    this.#batchLimitBytes = Math.min(batchSizeBytes, maxMessageBytes, segmentSizeBytes);
    this.#buffers = new BatchBuffers(
      heap,
      Math.min(bufferMemoryBytes, Math.max(batchSizeBytes, SMALLEST_BUFFER_BYTES)),
      bufferMemoryBytes,
      this.#assemblesLate ? FRAME_EXPANSION : 1,
    );
    this.#controls = heap.allocate(MAX_PARTITIONS * CONTROL_BLOCK_SIZE_BYTES, CONTROL_BLOCK_SIZE_BYTES);
  }

  /** Partitions are added in the order of their handles. @throws UnrepresentableError when there are too many */
  addPartition(log: Log): void {
    if (this.#partitionCount === MAX_PARTITIONS) {
      throw new UnrepresentableError(`An engine holds ${MAX_PARTITIONS} partitions at most. Spread the topics.`);
    }
    invariant(log.handle === this.#partitionCount, "handles are dense");
    const control = this.#controls + log.handle * CONTROL_BLOCK_SIZE_BYTES;
    this.#kernel.openRecordBatch(control, 0, 0);
    this.heap.view.setUint32(control, 0);
    this.#batches.push({ log, control, address: 0, capacityBytes: 0, openedAtMs: 0, older: null, newer: null });
    this.#partitionCount++;
  }

  /** @returns false when the buffer memory is exhausted @throws UnrepresentableError, LogFailedError */
  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean {
    invariant(partition >= 0 && partition < this.#partitionCount, "a partition handle comes from this engine");
    if (message.headers.length === 0) {
      const control = this.#controls + partition * CONTROL_BLOCK_SIZE_BYTES;
      const { keySizeBytes, valueAddress, valueSizeBytes } = message;
      const appended =
        keySizeBytes === -1
          ? this.#appendValue(control, timestampMs, valueAddress, valueSizeBytes)
          : this.#appendRecord(control, timestampMs, message.keyAddress, keySizeBytes, valueAddress, valueSizeBytes);
      if (appended === 1) {
        this.appendedMessages++;
        return true;
      }
      if (appended === 2) {
        this.appendedMessages++;
        this.#write(this.#batches[partition]!);
        return true;
      }
    }
    return this.#appendSlowly(this.#batches[partition]!, message, timestampMs);
  }

  /** Writes the batches that are due. */
  drain(): void {
    if (this.#oldest === null) return;
    const { lingerMs } = this.settings;
    if (lingerMs === 0 || this.#isExhausted) {
      this.drainAll();
      return;
    }
    const openedBeforeMs = performance.now() - lingerMs;
    while (this.#oldest !== null && this.#oldest.openedAtMs <= openedBeforeMs) this.#write(this.#oldest);
  }

  /** Writes all open batches, oldest first. */
  drainAll(): void {
    this.#isExhausted = false;
    while (this.#oldest !== null) this.#write(this.#oldest);
  }

  /** Gives the memory back; no batch may be open. */
  release(): void {
    this.#buffers.release();
    this.heap.release(this.#controls);
    if (this.#scratch !== 0) this.heap.release(this.#scratch);
    if (this.#assembled !== 0) this.heap.release(this.#assembled);
  }

  #appendSlowly(batch: OpenBatch<Log>, message: Message, timestampMs: number): boolean {
    if (batch.log.failure !== null) {
      throw new LogFailedError(
        `A write or sync of ${batch.log.name} failed (${batch.log.failure.message}). Reopen the directory to go on.`,
        { cause: batch.log.failure },
      );
    }
    const headers = message.headers.length === 0 ? NO_HEADERS : encodeHeaders(message.headers);
    const capacityBytes = this.#capacityFor(message, headers);
    this.#place(message, headers);

    if (batch.address !== 0) {
      const appended = this.#encode(batch, message, timestampMs, headers);
      if (appended !== 0) return this.#appended(batch, appended);
      this.#write(batch);
      if (batch.log.failure !== null) return this.#appendSlowly(batch, message, timestampMs);
    }
    const address = this.#buffers.take(capacityBytes);
    if (address === 0) {
      this.#isExhausted = true;
      return false;
    }
    this.#open(batch, address, capacityBytes);
    const appended = this.#encode(batch, message, timestampMs, headers);
    invariant(appended !== 0, "the first record fits into its batch");
    return this.#appended(batch, appended);
  }

  /** Bytes of the batch that the message may begin. @throws UnrepresentableError if none may be so large */
  #capacityFor(message: Message, headers: Uint8Array): number {
    const { keySizeBytes, valueSizeBytes } = message;
    if (keySizeBytes + valueSizeBytes + headers.byteLength + MOST_FRAMING_BYTES <= this.#batchLimitBytes) {
      return this.#batchLimitBytes;
    }
    const sizeBytes =
      BATCH_HEADER_SIZE_BYTES + firstRecordSizeBytes(keySizeBytes, valueSizeBytes, headers.byteLength || 1);
    this.#checkSize(sizeBytes);
    return Math.max(sizeBytes, this.#batchLimitBytes);
  }

  #appended(batch: OpenBatch<Log>, appended: number): true {
    this.appendedMessages++;
    if (appended === 2) this.#write(batch);
    return true;
  }

  #checkSize(firstSizeBytes: number): void {
    const { maxMessageBytes, segmentSizeBytes, bufferMemoryBytes } = this.settings;
    if (firstSizeBytes <= Math.min(maxMessageBytes, segmentSizeBytes, bufferMemoryBytes)) return;
    const limits = Object.entries({ maxMessageBytes, segmentSizeBytes, bufferMemoryBytes });
    const [name, limit] = limits.find(([, each]) => firstSizeBytes > each)!;
    throw new UnrepresentableError(
      `The message takes ${firstSizeBytes} bytes as a record batch, more than ${name} (${limit}) allows. Send smaller messages or raise it.`,
    );
  }

  /** Copies what lies outside the heap, and the headers, into scratch memory: value, key, headers. */
  #place(message: Message, headers: Uint8Array): void {
    const valueSizeBytes = message.valueAddress < 0 ? Math.max(0, message.valueSizeBytes) : 0;
    const keySizeBytes = message.keyAddress < 0 ? Math.max(0, message.keySizeBytes) : 0;
    const sizeBytes = valueSizeBytes + keySizeBytes + headers.byteLength;
    if (sizeBytes > this.#scratchSizeBytes) {
      if (this.#scratch !== 0) this.heap.release(this.#scratch);
      this.#scratchSizeBytes = Math.max(FIRST_SCRATCH_SIZE_BYTES, sizeBytes);
      this.#scratch = this.heap.allocate(this.#scratchSizeBytes);
    }
    const { bytes } = this.heap;
    if (valueSizeBytes > 0) bytes.set(message.value!, this.#scratch);
    if (keySizeBytes > 0) bytes.set(message.key!, this.#scratch + valueSizeBytes);
    if (headers.byteLength > 0) bytes.set(headers, this.#scratch + valueSizeBytes + keySizeBytes);
  }

  /** Encodes a message whose parts `#place` has put into the heap. @returns as `appendRecord` of the kernel */
  #encode(batch: OpenBatch<Log>, message: Message, timestampMs: number, headers: Uint8Array): number {
    let scratch = this.#scratch;
    let { keyAddress, valueAddress } = message;
    const { keySizeBytes, valueSizeBytes } = message;
    if (valueAddress < 0 && valueSizeBytes > 0) {
      valueAddress = scratch;
      scratch += valueSizeBytes;
    }
    if (keyAddress < 0 && keySizeBytes > 0) {
      keyAddress = scratch;
      scratch += keySizeBytes;
    }
    const { control } = batch;
    if (headers.byteLength === 0) {
      return this.#appendRecord(control, timestampMs, keyAddress, keySizeBytes, valueAddress, valueSizeBytes);
    }
    const append = this.#assemblesLate ? this.#kernel.frameRecordWithHeaders : this.#kernel.appendRecordWithHeaders;
    return append(
      control,
      timestampMs,
      keyAddress,
      keySizeBytes,
      valueAddress,
      valueSizeBytes,
      scratch,
      headers.byteLength,
    );
  }

  #open(batch: OpenBatch<Log>, address: number, capacityBytes: number): void {
    const open = this.#assemblesLate ? this.#kernel.openFramedBatch : this.#kernel.openRecordBatch;
    open(batch.control, address, address + capacityBytes);
    batch.address = address;
    batch.capacityBytes = capacityBytes;
    if (this.settings.lingerMs > 0) batch.openedAtMs = performance.now();
    batch.older = this.#newest;
    batch.newer = null;
    if (this.#newest === null) this.#oldest = batch;
    else this.#newest.newer = batch;
    this.#newest = batch;
  }

  /** Seals and writes an open batch. If that fails, its messages are reported failed. */
  #write(batch: OpenBatch<Log>): void {
    const found = this.stage[0]!;
    if (this.#assemblesLate) this.stage[0] = STAGE_BROKER;
    try {
      this.#sealAndWrite(batch);
    } finally {
      this.stage[0] = found;
    }
  }

  #sealAndWrite(batch: OpenBatch<Log>): void {
    const { log, control, capacityBytes } = batch;
    const address = this.#assemblesLate ? this.#assemble(control, capacityBytes) : batch.address;
    const { view } = this.heap;
    const appendTimeMs = this.settings.timestampType === "log-append" ? Date.now() : -1;
    const messageCount = view.getInt32(control + RECORD_COUNT_AT, true);
    let sizeBytes = this.#kernel.sealRecordBatch(control, log.endOffset, log.leaderEpoch, appendTimeMs);
    invariant(messageCount > 0 && sizeBytes <= capacityBytes, "a sealed batch holds messages and fits its buffer");
    if (this.settings.compression !== "none") sizeBytes = this.#compress(address, sizeBytes);
    view.setUint32(address + CRC_AT, this.settings.checksum ? crc32c(address + CHECKED_AT, sizeBytes - CHECKED_AT) : 0);
    this.#unlink(batch);
    const buffer = batch.address;
    batch.address = 0;
    this.stage[0] = STAGE_BROKER;
    try {
      if (log.failure !== null) throw log.failure;
      log.write(address, sizeBytes, messageCount, view.getFloat64(control + SEALED_MAX_TIMESTAMP_AT, true));
    } catch (error) {
      if (log.failure === null) throw error;
      this.listener.failed(log.handle, messageCount, log.failure);
    } finally {
      this.#buffers.giveBack(buffer, capacityBytes);
    }
    this.written(log);
  }

  /** Encodes the frames of an open batch. @returns the batch's address */
  #assemble(control: number, capacityBytes: number): number {
    if (capacityBytes > this.#assembledSizeBytes) {
      if (this.#assembled !== 0) this.heap.release(this.#assembled);
      this.#assembledSizeBytes = capacityBytes;
      this.#assembled = this.heap.allocate(capacityBytes);
    }
    this.#kernel.assembleRecordBatch(control, this.#assembled);
    return this.#assembled;
  }

  /**
   * Compresses the records of a sealed batch in place, unless that would make them larger. (Kafka's producer keeps the
   * larger form too.)
   * @returns size of the whole batch
   */
  #compress(address: number, sizeBytes: number): number {
    const { bytes, view } = this.heap;
    const { compression } = this.settings;
    const records = address + BATCH_HEADER_SIZE_BYTES;
    const compressed = compress(compression, bytes.slice(records, address + sizeBytes));
    const compressedSizeBytes = BATCH_HEADER_SIZE_BYTES + compressed.byteLength;
    if (compressedSizeBytes >= sizeBytes) return sizeBytes;
    bytes.set(compressed, records);
    view.setInt32(address + LENGTH_AT, compressedSizeBytes - BATCH_PREFIX_SIZE_BYTES);
    view.setInt16(address + ATTRIBUTES_AT, view.getInt16(address + ATTRIBUTES_AT) | COMPRESSIONS.indexOf(compression));
    return compressedSizeBytes;
  }

  #unlink(batch: OpenBatch<Log>): void {
    if (batch.older === null) this.#oldest = batch.newer;
    else batch.older.newer = batch.newer;
    if (batch.newer === null) this.#newest = batch.older;
    else batch.newer.older = batch.older;
    batch.older = null;
    batch.newer = null;
  }
}

const NO_HEADERS = new Uint8Array(0);
