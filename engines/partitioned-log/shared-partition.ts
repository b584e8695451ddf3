import type { Heap } from "../heap.js";
import type { SegmentLimits } from "./segment.js";

// What the writers of a partition share, 256 bytes, read and written by whoever holds the lock:
//
//    0  i32 lock             4  i32 failed          8  i32 descriptor of the active segment's log
//   12  i32 batchBudget      batches that may be written before the owner looks at the indexes again
//   16  f64 endOffset       24  f64 sizeBytes      of the active segment
//   32  f64 lastOffset      the largest that the segment takes
//   40  f64 latestMs        the largest timestamp of a batch that it takes
//   56  i32 size of the text                       64  text: why it failed, UTF-8
const FAILED_AT = 4;
const DESCRIPTOR_AT = 8;
const BUDGET_AT = 12;
const END_AT = 16;
const SIZE_AT = 24;
const LAST_OFFSET_AT = 32;
const LATEST_AT = 40;
const TEXT_SIZE_AT = 56;
const TEXT_AT = 64;
const MAX_TEXT_BYTES = 192;
export const SHARED_PARTITION_SIZE_BYTES = 256;

const NOT_FAILED = 0;
const BEING_TOLD = 1;
const HAS_FAILED = 2;

/** The shared end of a partition's log, seen by one thread. All but the failure needs the lock. */
export class SharedPartition {
  readonly lockWord: number;
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #word: number;
  readonly #number: number;

  constructor(
    private readonly heap: Heap,
    private readonly address: number,
  ) {
    this.#words = heap.words;
    this.#numbers = heap.numbers;
    this.#word = address / 4;
    this.#number = address / 8;
    this.lockWord = this.#word;
  }

  get hasFailed(): boolean {
    return Atomics.load(this.#words, this.#word + FAILED_AT / 4) !== NOT_FAILED;
  }

  /** Why it failed. */
  get failureText(): string {
    const word = this.#word + FAILED_AT / 4;
    while (Atomics.load(this.#words, word) === BEING_TOLD) Atomics.wait(this.#words, word, BEING_TOLD, 1);
    const sizeBytes = this.#words[this.#word + TEXT_SIZE_AT / 4]!;
    return new TextDecoder().decode(this.heap.bytes.slice(this.address + TEXT_AT, this.address + TEXT_AT + sizeBytes));
  }

  /** Nothing is written to this partition any more, by nobody. The first cause stays. */
  fail(cause: string): void {
    const word = this.#word + FAILED_AT / 4;
    if (Atomics.compareExchange(this.#words, word, NOT_FAILED, BEING_TOLD) !== NOT_FAILED) return;
    const text = new TextEncoder().encode(cause).subarray(0, MAX_TEXT_BYTES);
    this.heap.bytes.set(text, this.address + TEXT_AT);
    this.#words[this.#word + TEXT_SIZE_AT / 4] = text.length;
    Atomics.store(this.#words, word, HAS_FAILED);
    Atomics.notify(this.#words, word);
  }

  get descriptor(): number {
    return this.#words[this.#word + DESCRIPTOR_AT / 4]!;
  }

  get endOffset(): number {
    return this.#numbers[this.#number + END_AT / 8]!;
  }

  get sizeBytes(): number {
    return this.#numbers[this.#number + SIZE_AT / 8]!;
  }

  /** The owner's view of the active segment becomes everybody's. */
  publish(descriptor: number, endOffset: number, sizeBytes: number, limits: SegmentLimits): void {
    this.#words[this.#word + DESCRIPTOR_AT / 4] = descriptor;
    this.#words[this.#word + BUDGET_AT / 4] = Math.min(limits.batchCount, 0x7fff_ffff);
    this.#numbers[this.#number + END_AT / 8] = endOffset;
    this.#numbers[this.#number + SIZE_AT / 8] = sizeBytes;
    this.#numbers[this.#number + LAST_OFFSET_AT / 8] = limits.lastOffset;
    this.#numbers[this.#number + LATEST_AT / 8] = limits.latestMs;
  }

  /** Whether the next batch goes to the active segment without a question to the owner. */
  hasRoomFor(batchSizeBytes: number, messageCount: number, maxTimestamp: number, segmentSizeBytes: number): boolean {
    const numbers = this.#numbers;
    return (
      this.#words[this.#word + BUDGET_AT / 4]! > 0 &&
      this.sizeBytes + batchSizeBytes <= segmentSizeBytes &&
      this.endOffset + messageCount - 1 <= numbers[this.#number + LAST_OFFSET_AT / 8]! &&
      maxTimestamp <= numbers[this.#number + LATEST_AT / 8]!
    );
  }

  /** A batch stands behind the others. */
  advance(batchSizeBytes: number, messageCount: number, maxTimestamp: number, segmentMs: number): void {
    const numbers = this.#numbers;
    // A segment's time runs from its first batch, if that has a time.
    if (this.sizeBytes === 0 && maxTimestamp >= 0) numbers[this.#number + LATEST_AT / 8] = maxTimestamp + segmentMs;
    numbers[this.#number + SIZE_AT / 8]! += batchSizeBytes;
    numbers[this.#number + END_AT / 8]! += messageCount;
    this.#words[this.#word + BUDGET_AT / 4]!--;
  }
}
