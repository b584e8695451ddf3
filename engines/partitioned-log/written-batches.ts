import type { Heap } from "../heap.js";
import { ENGINE_SLOT_AT } from "../writers/board.js";

// A writer's part of its slot on the board, from ENGINE_SLOT_AT on:
//
//    0  i32 pushed     batches written          4  i32 taken    by the owner: known to the log
//    8  i32 durable    batches on the device   12  i32 flushes  done for this writer
//   16  i32 wantsRoom  partition + 1; 0 = no   20  i32 of so many bytes
//   24  f64 and messages                       32  f64 and this largest timestamp
//
// and a ring of entries of 32 bytes:
//
//    0  i32 partition   4  i32 sizeBytes   8  i32 messageCount   16  f64 baseOffset   24  f64 maxTimestamp
const PUSHED = ENGINE_SLOT_AT / 4;
const TAKEN = PUSHED + 1;
const DURABLE = PUSHED + 2;
const FLUSHES = PUSHED + 3;
const WANTS_ROOM = PUSHED + 4;
const WANTED_SIZE = PUSHED + 5;
const WANTED_COUNT = ENGINE_SLOT_AT / 8 + 3;
const WANTED_TIMESTAMP = ENGINE_SLOT_AT / 8 + 4;
const ENTRIES = 16_384;
const ENTRY_SIZE_BYTES = 32;
export const RING_SIZE_BYTES = ENTRIES * ENTRY_SIZE_BYTES;

export interface WrittenBatch {
  partition: number;
  sizeBytes: number;
  messageCount: number;
  baseOffset: number;
  maxTimestamp: number;
}

/** The batches that one writer has written, in order, on their way to the owner: a ring between two threads. */
export class WrittenBatches {
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #slotWord: number;
  readonly #slotNumber: number;

  constructor(
    heap: Heap,
    slot: number,
    private readonly ring: number,
  ) {
    this.#words = heap.words;
    this.#numbers = heap.numbers;
    this.#slotWord = slot / 4;
    this.#slotNumber = slot / 8;
  }

  // The writer's side.

  get isFull(): boolean {
    const pushed = this.#words[this.#slotWord + PUSHED]!;
    return ((pushed - Atomics.load(this.#words, this.#slotWord + TAKEN)) | 0) >= ENTRIES;
  }

  /** While the partition's lock is held, so that whoever sees a partition's batch sees those before it. */
  push(partition: number, sizeBytes: number, messageCount: number, baseOffset: number, maxTimestamp: number): void {
    const pushed = this.#words[this.#slotWord + PUSHED]!;
    const at = this.#entry(pushed);
    this.#words[at / 4] = partition;
    this.#words[at / 4 + 1] = sizeBytes;
    this.#words[at / 4 + 2] = messageCount;
    this.#numbers[at / 8 + 2] = baseOffset;
    this.#numbers[at / 8 + 3] = maxTimestamp;
    Atomics.store(this.#words, this.#slotWord + PUSHED, (pushed + 1) | 0);
  }

  /** Batches on the device of those pushed, modulo 2^32. */
  get durable(): number {
    return Atomics.load(this.#words, this.#slotWord + DURABLE);
  }

  get flushes(): number {
    return Atomics.load(this.#words, this.#slotWord + FLUSHES);
  }

  wantRoom(partition: number, sizeBytes: number, messageCount: number, maxTimestamp: number): void {
    this.#words[this.#slotWord + WANTED_SIZE] = sizeBytes;
    this.#numbers[this.#slotNumber + WANTED_COUNT] = messageCount;
    this.#numbers[this.#slotNumber + WANTED_TIMESTAMP] = maxTimestamp;
    Atomics.store(this.#words, this.#slotWord + WANTS_ROOM, partition + 1);
  }

  // The owner's side.

  /** Fills `into` with the oldest batch not taken. @returns false if there is none */
  peek(into: WrittenBatch): boolean {
    const taken = this.#words[this.#slotWord + TAKEN]!;
    if (Atomics.load(this.#words, this.#slotWord + PUSHED) === taken) return false;
    const at = this.#entry(taken);
    into.partition = this.#words[at / 4]!;
    into.sizeBytes = this.#words[at / 4 + 1]!;
    into.messageCount = this.#words[at / 4 + 2]!;
    into.baseOffset = this.#numbers[at / 8 + 2]!;
    into.maxTimestamp = this.#numbers[at / 8 + 3]!;
    return true;
  }

  take(): void {
    Atomics.add(this.#words, this.#slotWord + TAKEN, 1);
  }

  noteDurable(batchCount: number): void {
    Atomics.add(this.#words, this.#slotWord + DURABLE, batchCount);
  }

  noteFlush(): void {
    Atomics.add(this.#words, this.#slotWord + FLUSHES, 1);
  }

  /** A batch that has found no room (its offset is not known yet), or null. */
  get wanted(): Omit<WrittenBatch, "baseOffset"> | null {
    const wants = Atomics.load(this.#words, this.#slotWord + WANTS_ROOM);
    if (wants === 0) return null;
    return {
      partition: wants - 1,
      sizeBytes: this.#words[this.#slotWord + WANTED_SIZE]!,
      messageCount: this.#numbers[this.#slotNumber + WANTED_COUNT]!,
      maxTimestamp: this.#numbers[this.#slotNumber + WANTED_TIMESTAMP]!,
    };
  }

  forgetWanted(): void {
    Atomics.store(this.#words, this.#slotWord + WANTS_ROOM, 0);
  }

  #entry(number: number): number {
    return this.ring + (number & (ENTRIES - 1)) * ENTRY_SIZE_BYTES;
  }
}
