import { type CommitlogMessage, decodeMessage, parseProperties, tagsCodeOf } from "../codec/commitlog-message.js";
import type { Heap } from "../heap.js";
import type { Kernel } from "../kernel/kernel.js";
import type { KeyIndex } from "./key-index.js";
import type { Queue, QueueTable } from "./queue-table.js";
import { highHalf, lowHalf } from "./record-parser.js";

// Layout of the progress block and outcomes, documented in kernel/assembly/commitlog-message.ts.
const PROGRESS_SIZE_BYTES = 48;
const CONSUMED_AT = 0;
const QUEUE_AT = 4;
const LISTED_AT = 8;
const UNITS_AT = 12;
const STORE_TIMESTAMP_AT = 16;
const HAS_TAGS_CODE_AT = 24;
const KEYED_AT = 28;
const TAGS_CODE_AT = 32;
const KEYED_COUNT_AT = 40;
const KEYED_CAPACITY_AT = 44;
const KEYED_CAPACITY = 1_024;

export const DispatchOutcome = {
  AT_END: 0,
  AT_BLANK: 1,
  UNITS_FULL: 2,
  UNUSUAL: 3,
  UNKNOWN_QUEUE: 4,
  OUT_OF_ORDER: 5,
  NO_RECORD: 6,
  KEYED_FULL: 7,
} as const;

const SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX";
const DELAY_PROPERTY = "DELAY";
const UNKNOWN_LEVEL_DELAY_MS = 1_000;
const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000];
/** RocketMQ's default messageDelayLevel, 1s to 2h; level 1 is the first. */
const DELAY_LEVELS_MS = [
  ...[1, 5, 10, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2].map((hours) => hours * HOUR),
];

/**
 * Makes consumequeue units of the commitlog's records: the step of the reput loop, and of recovery. The kernel walks the
 * records and fills the queues' buffers; what it leaves to JavaScript is rare.
 */
export class Dispatcher {
  /** Bytes that the last `run` got through. */
  consumedBytes = 0;
  #unitCount = 0;
  #listCapacity = 0;
  #listAddress = 0;
  readonly #progress: number;
  readonly #keyedAddress: number;

  constructor(
    private readonly heap: Heap,
    private readonly kernel: Kernel,
    private readonly queues: QueueTable,
    /** Gets the records that have keys, in the order of the log; null = no index. */
    private readonly keyIndex: KeyIndex | null,
  ) {
    this.#progress = heap.allocate(PROGRESS_SIZE_BYTES, 64);
    heap.bytes.fill(0, this.#progress, this.#progress + PROGRESS_SIZE_BYTES);
    this.#keyedAddress = heap.allocate(KEYED_CAPACITY * 4, 64);
    heap.view.setUint32(this.#progress + KEYED_AT, this.#keyedAddress, true);
    heap.view.setUint32(this.#progress + KEYED_CAPACITY_AT, keyIndex === null ? 0 : KEYED_CAPACITY, true);
  }

  /** Units made since the start. */
  get unitCount(): number {
    return this.#unitCount;
  }

  /** Store time of the last record dispatched, 0 before the first. */
  get storeTimestampMs(): number {
    return this.heap.view.getFloat64(this.#progress + STORE_TIMESTAMP_AT, true);
  }

  /**
   * Dispatches the records in `sizeBytes` bytes at `address`, which is byte `physicalOffset` of the log.
   * @returns why it stopped: AT_END, AT_BLANK, UNKNOWN_QUEUE, OUT_OF_ORDER or NO_RECORD; `consumedBytes` says where
   */
  run(address: number, sizeBytes: number, physicalOffset: number): number {
    const { kernel, queues, heap } = this;
    this.consumedBytes = 0;
    if (queues.queues.length > this.#listCapacity) this.#growList();
    while (true) {
      const outcome = kernel.dispatchCommitlog(
        address + this.consumedBytes,
        sizeBytes - this.consumedBytes,
        highHalf(physicalOffset + this.consumedBytes),
        lowHalf(physicalOffset + this.consumedBytes),
        queues.tableAddress,
        queues.tableMask,
        this.#listAddress,
        this.#progress,
      );
      this.consumedBytes += heap.view.getUint32(this.#progress + CONSUMED_AT, true);
      this.#unitCount += heap.view.getUint32(this.#progress + UNITS_AT, true);
      heap.view.setUint32(this.#progress + UNITS_AT, 0, true);
      if (this.keyIndex !== null) this.#indexKeys(this.keyIndex);
      if (outcome === DispatchOutcome.KEYED_FULL) continue;
      if (outcome === DispatchOutcome.UNITS_FULL) {
        queues.makeUnitRoom(queues.atBlock(heap.view.getUint32(this.#progress + QUEUE_AT, true)));
      } else if (outcome === DispatchOutcome.UNUSUAL) {
        this.#findTagsCode(address + this.consumedBytes, address + sizeBytes, physicalOffset + this.consumedBytes);
      } else {
        return outcome;
      }
    }
  }

  #indexKeys(keyIndex: KeyIndex): void {
    const { view } = this.heap;
    const keyedCount = view.getUint32(this.#progress + KEYED_COUNT_AT, true);
    // First, so that none is added twice should the index's next file not be had.
    view.setUint32(this.#progress + KEYED_COUNT_AT, 0, true);
    for (let i = 0; i < keyedCount; i++) keyIndex.addRecord(view.getUint32(this.#keyedAddress + i * 4, true));
  }

  /** The queues that have got units since they were last taken so. */
  takeListed(): Queue[] {
    const { view } = this.heap;
    const listed = view.getUint32(this.#progress + LISTED_AT, true);
    const queues: Queue[] = [];
    for (let i = 0; i < listed; i++) {
      const queue = this.queues.atBlock(view.getUint32(this.#listAddress + i * 4, true));
      queue.unlist();
      queues.push(queue);
    }
    view.setUint32(this.#progress + LISTED_AT, 0, true);
    return queues;
  }

  release(): void {
    this.heap.release(this.#progress);
    this.heap.release(this.#keyedAddress);
    if (this.#listAddress !== 0) this.heap.release(this.#listAddress);
  }

  #growList(): void {
    const capacity = Math.max(1_024, this.queues.queues.length * 2);
    const address = this.heap.allocate(capacity * 4, 64);
    if (this.#listAddress !== 0) {
      this.heap.bytes.copyWithin(address, this.#listAddress, this.#listAddress + this.#listCapacity * 4);
      this.heap.release(this.#listAddress);
    }
    this.#listAddress = address;
    this.#listCapacity = capacity;
  }

  /** Finds the tagsCode of a record that the kernel left to the plain code, for its next call. */
  #findTagsCode(address: number, limit: number, physicalOffset: number): void {
    const { bytes, view } = this.heap;
    const message = decodeMessage(bytes, address, limit, physicalOffset, "the commitlog", false);
    view.setUint32(this.#progress + HAS_TAGS_CODE_AT, 1, true);
    view.setFloat64(this.#progress + TAGS_CODE_AT, tagsCodeOfMessage(message), true);
  }
}

/** The hash of the tags, or for a message that waits for its delay level the time when it is due. */
export function tagsCodeOfMessage(message: CommitlogMessage): number {
  const level = Number(
    message.topic === SCHEDULE_TOPIC
      ? parseProperties(message.properties).find(({ name }) => name === DELAY_PROPERTY)?.value
      : 0,
  );
  if (!(level > 0)) return tagsCodeOf(message.properties);
  const delayMs = DELAY_LEVELS_MS[Math.min(level, DELAY_LEVELS_MS.length) - 1] ?? UNKNOWN_LEVEL_DELAY_MS;
  return message.storeTimestampMs + delayMs;
}
