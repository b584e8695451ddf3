import { MAX_V1_TOPIC_LENGTH } from "../codec/commitlog-message.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { Kernel } from "../kernel/kernel.js";
import type { OpenBatch } from "./batches.js";
import type { Consumequeue } from "./consumequeue.js";
import { type ConsumequeueUnit, encodeUnit, UNIT_SIZE_BYTES } from "./consumequeue-unit.js";

const BLOCK_SIZE_BYTES = 320;
const BLOCKS_PER_SLAB = 256;
/** A gathered write of a page or a little less. */
const BUFFER_UNITS = 204;
const BUFFERS_PER_SLAB = 64;
const FIRST_TABLE_ENTRIES = 1_024;

// The queue block's layout, documented in kernel/assembly/commitlog-message.ts.
const DISPATCHED_OFFSET_AT = 0;
const UNITS_ADDRESS_AT = 8;
const UNIT_COUNT_AT = 12;
const UNIT_CAPACITY_AT = 16;
const HANDLE_AT = 20;
const QUEUE_ID_AT = 28;
const TOPIC_SIZE_AT = 32;
const IS_LISTED_AT = 36;
const IS_V2_AT = 40;
const TOPIC_AT = 48;

/**
 * One queue of one topic: where appends, dispatch and reads of it stand.
 *
 *   queue offsets   startOffset ... | in the files | in the unit buffer | appended, not dispatched |
 *                                   files.writtenUnits       dispatchedOffset            nextOffset
 */
export class Queue {
  /** Queue offset of the oldest message kept. */
  startOffset = 0;
  /** What the next message gets. */
  nextOffset = 0;
  /** Messages from here on have units, perhaps, but are not to be seen yet. */
  hiddenFrom = Number.POSITIVE_INFINITY;
  /** Messages that wait to be appended together. */
  openBatch: OpenBatch | null = null;
  readonly topicSizeBytes: number;
  readonly isV2: boolean;

  constructor(
    private readonly heap: Heap,
    readonly handle: number,
    readonly topic: string,
    readonly queueId: number,
    /** Heap address of the block that the kernel works on. */
    readonly block: number,
    readonly files: Consumequeue,
  ) {
    const topicBytes = new TextEncoder().encode(topic);
    const { view, bytes } = heap;
    this.topicSizeBytes = topicBytes.length;
    this.isV2 = topic.length > MAX_V1_TOPIC_LENGTH;
    bytes.fill(0, block, block + BLOCK_SIZE_BYTES);
    view.setUint32(block + HANDLE_AT, handle, true);
    view.setInt32(block + QUEUE_ID_AT, queueId, true);
    view.setUint32(block + TOPIC_SIZE_AT, topicBytes.length, true);
    view.setUint32(block + IS_V2_AT, this.isV2 ? 1 : 0, true);
    bytes.set(topicBytes, block + TOPIC_AT);
  }

  /** Readers see what lies below. */
  get visibleOffset(): number {
    return Math.min(this.dispatchedOffset, this.hiddenFrom);
  }

  /** Queue offset behind the last unit. */
  get dispatchedOffset(): number {
    const { view } = this.heap;
    const at = this.block + DISPATCHED_OFFSET_AT;
    return view.getUint32(at, true) + view.getInt32(at + 4, true) * 4_294_967_296;
  }

  set dispatchedOffset(queueOffset: number) {
    const { view } = this.heap;
    const at = this.block + DISPATCHED_OFFSET_AT;
    view.setUint32(at, queueOffset >>> 0, true);
    view.setInt32(at + 4, Math.floor(queueOffset / 4_294_967_296), true);
  }

  /** Heap address of the units not yet in the files. */
  get unitsAddress(): number {
    return this.heap.view.getUint32(this.block + UNITS_ADDRESS_AT, true);
  }

  get unitCount(): number {
    return this.heap.view.getUint32(this.block + UNIT_COUNT_AT, true);
  }

  /** Writes the gathered units to the files. */
  drain(): void {
    const unitCount = this.unitCount;
    if (unitCount === 0) return;
    invariant(
      this.files.writtenUnits + unitCount === this.dispatchedOffset,
      "a queue's buffered units follow those in its files",
    );
    this.files.append(this.heap.bytes, this.unitsAddress, unitCount);
    this.heap.view.setUint32(this.block + UNIT_COUNT_AT, 0, true);
  }

  get hasRoom(): boolean {
    return this.unitCount < this.heap.view.getUint32(this.block + UNIT_CAPACITY_AT, true);
  }

  /** Puts a unit behind the others. The buffer must have room. */
  pushUnit(unit: ConsumequeueUnit): void {
    invariant(this.hasRoom, "the unit buffer has room");
    encodeUnit(unit, this.heap.view, this.unitsAddress + this.unitCount * UNIT_SIZE_BYTES);
    this.heap.view.setUint32(this.block + UNIT_COUNT_AT, this.unitCount + 1, true);
    this.dispatchedOffset++;
  }

  /** Forgets the gathered units. */
  clearUnits(): void {
    this.heap.view.setUint32(this.block + UNIT_COUNT_AT, 0, true);
  }

  /** The kernel may put the queue into the list of queues with units again. */
  unlist(): void {
    this.heap.view.setUint32(this.block + IS_LISTED_AT, 0, true);
  }

  get hasBuffer(): boolean {
    return this.heap.view.getUint32(this.block + UNIT_CAPACITY_AT, true) > 0;
  }

  giveBuffer(address: number): void {
    this.heap.view.setUint32(this.block + UNITS_ADDRESS_AT, address, true);
    this.heap.view.setUint32(this.block + UNIT_CAPACITY_AT, BUFFER_UNITS, true);
  }
}

/** All queues, by handle, by name, and for the kernel by a hash table in the heap. */
export class QueueTable {
  readonly queues: Queue[] = [];
  /** Heap address of the hash table and its mask, for the kernel. */
  tableAddress: number;
  tableMask = FIRST_TABLE_ENTRIES - 1;
  readonly #topics = new Map<string, Map<number, Queue>>();
  readonly #byBlock = new Map<number, Queue>();
  readonly #allocations: number[] = [];
  #freeBlocks: number[] = [];
  #freeBuffers: number[] = [];

  constructor(
    private readonly heap: Heap,
    private readonly kernel: Kernel,
    private readonly openConsumequeue: (topic: string, queueId: number) => Consumequeue,
  ) {
    this.tableAddress = this.#allocateTable(FIRST_TABLE_ENTRIES);
  }

  find(topic: string, queueId: number): Queue | undefined {
    return this.#topics.get(topic)?.get(queueId);
  }

  /** Queues of a topic by queueId, ascending only if they were added so. */
  ofTopic(topic: string): ReadonlyMap<number, Queue> | undefined {
    return this.#topics.get(topic);
  }

  atBlock(block: number): Queue {
    const queue = this.#byBlock.get(block);
    invariant(queue !== undefined, "the kernel names only queues that exist");
    return queue;
  }

  add(topic: string, queueId: number): Queue {
    invariant(this.find(topic, queueId) === undefined, "a queue is added once");
    const block = this.#takeBlock();
    const queue = new Queue(
      this.heap,
      this.queues.length,
      topic,
      queueId,
      block,
      this.openConsumequeue(topic, queueId),
    );
    this.queues.push(queue);
    this.#byBlock.set(block, queue);
    let ofTopic = this.#topics.get(topic);
    if (ofTopic === undefined) {
      ofTopic = new Map();
      this.#topics.set(topic, ofTopic);
    }
    ofTopic.set(queueId, queue);
    if (this.queues.length * 2 > this.tableMask) this.#growTable();
    else this.kernel.registerCommitlogQueue(this.tableAddress, this.tableMask, block);
    return queue;
  }

  /** Gives a queue room for units: a buffer when it has none yet, else by writing out what it has. */
  makeUnitRoom(queue: Queue): void {
    if (queue.hasBuffer) queue.drain();
    else queue.giveBuffer(this.#takeBuffer());
  }

  /** Gives the heap back what the queues took. */
  release(): void {
    this.heap.release(this.tableAddress);
    for (const address of this.#allocations) this.heap.release(address);
  }

  #growTable(): void {
    this.heap.release(this.tableAddress);
    const entries = (this.tableMask + 1) * 4;
    this.tableAddress = this.#allocateTable(entries);
    this.tableMask = entries - 1;
    for (const { block } of this.queues) {
      this.kernel.registerCommitlogQueue(this.tableAddress, this.tableMask, block);
    }
  }

  #allocateTable(entries: number): number {
    const address = this.heap.allocate(entries * 4, 64);
    this.heap.bytes.fill(0, address, address + entries * 4);
    return address;
  }

  #takeBlock(): number {
    if (this.#freeBlocks.length === 0) this.#freeBlocks = this.#allocateSlab(BLOCK_SIZE_BYTES, BLOCKS_PER_SLAB);
    return this.#freeBlocks.pop()!;
  }

  #takeBuffer(): number {
    if (this.#freeBuffers.length === 0) {
      this.#freeBuffers = this.#allocateSlab(BUFFER_UNITS * UNIT_SIZE_BYTES, BUFFERS_PER_SLAB);
    }
    return this.#freeBuffers.pop()!;
  }

  #allocateSlab(itemSizeBytes: number, itemCount: number): number[] {
    const address = this.heap.allocate(itemSizeBytes * itemCount, 64);
    this.#allocations.push(address);
    return Array.from({ length: itemCount }, (_, i) => address + (itemCount - 1 - i) * itemSizeBytes);
  }
}

/** Syncs under way at once: enough to keep the pool's threads busy, so that journal commits are shared. */
const PARALLEL_SYNCS = 16;

/** Makes the queues' files durable, as far as they were written. */
export async function syncQueues(queues: readonly Queue[]): Promise<void> {
  const unsynced = queues.filter(({ files }) => !files.isSynced);
  const lane = async () => {
    for (let queue = unsynced.pop(); queue !== undefined; queue = unsynced.pop()) await queue.files.sync();
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL_SYNCS, unsynced.length) }, lane));
}
