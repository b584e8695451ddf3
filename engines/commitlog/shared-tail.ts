import type { Heap } from "../heap.js";
import { ENGINE_SLOT_AT, SLOT_SIZE_BYTES } from "../writers/board.js";
import type { LogRoom } from "./mapped-log.js";

// The log's end as its writers share it, one cache line, read and written by whoever holds the lock:
//
//    0  i32 lock             4  i32 number of the highest writer
//    8  f64 endOffset        where the next record goes: what lies below has been given out
//   16  f64 shift            address of a record = its position + this
//   24  f64 limit            where a record ends at the latest: the file ends behind it
//   32  f64 storeTimestamp   of the newest record, ms
//   40  f64 messages         appended by all writers together
//   48  f64 flushedOffset    what lies below is on the device
//   56  f64 windowEnd        where a record starts at the latest, less one
//
// and behind it the next offset of each queue (f64), by handle. A writer's slot has, from ENGINE_SLOT_AT on:
//
//    0  i32 isWriting        1 while the writer fills what it was given; only it sets this to 0, without the lock
//    4  i32 wantedBytes      a record that found no room; 0 = none
//    8  f64 position         of what it is filling
const LOCK_AT = 0;
const HIGHEST_WRITER_AT = 4;
const END_AT = 8;
const SHIFT_AT = 16;
const LIMIT_AT = 24;
const STORE_TIMESTAMP_AT = 32;
const MESSAGES_AT = 40;
const FLUSHED_AT = 48;
const WINDOW_END_AT = 56;
const NEXT_OFFSETS_AT = 64;

const IS_WRITING_AT = ENGINE_SLOT_AT;
const WANTED_AT = ENGINE_SLOT_AT + 4;
const POSITION_AT = ENGINE_SLOT_AT + 8;

/** The shared end of the commitlog, seen by one thread. All but `finished` and `isWriting` need the lock. */
export class SharedTail {
  readonly lockWord: number;
  readonly #numbers: Float64Array;
  readonly #words: Int32Array;
  readonly #at: number;

  constructor(
    heap: Heap,
    readonly address: number,
    /** Address of the first writer's slot on the board, the owner's. */
    private readonly slots: number,
  ) {
    this.#numbers = heap.numbers;
    this.#words = heap.words;
    this.#at = address / 8;
    this.lockWord = (address + LOCK_AT) / 4;
  }

  static allocate(heap: Heap, slots: number, queueCount: number): SharedTail {
    const sizeBytes = NEXT_OFFSETS_AT + queueCount * 8;
    const address = heap.allocate(sizeBytes, 64);
    heap.bytes.fill(0, address, address + sizeBytes);
    return new SharedTail(heap, address, slots);
  }

  get endOffset(): number {
    return this.#numbers[this.#at + END_AT / 8]!;
  }

  set endOffset(position: number) {
    this.#numbers[this.#at + END_AT / 8] = position;
  }

  get shift(): number {
    return this.#numbers[this.#at + SHIFT_AT / 8]!;
  }

  /** Whether the next record, of that size, has its place in the current window. */
  hasRoomFor(sizeBytes: number): boolean {
    const numbers = this.#numbers;
    const at = this.#at;
    const end = numbers[at + END_AT / 8]!;
    return end < numbers[at + WINDOW_END_AT / 8]! && end + sizeBytes <= numbers[at + LIMIT_AT / 8]!;
  }

  set room({ shift, to, limit }: LogRoom) {
    this.#numbers[this.#at + SHIFT_AT / 8] = shift;
    this.#numbers[this.#at + LIMIT_AT / 8] = limit;
    this.#numbers[this.#at + WINDOW_END_AT / 8] = to;
  }

  get storeTimestampMs(): number {
    return this.#numbers[this.#at + STORE_TIMESTAMP_AT / 8]!;
  }

  set storeTimestampMs(timestampMs: number) {
    this.#numbers[this.#at + STORE_TIMESTAMP_AT / 8] = timestampMs;
  }

  get messages(): number {
    return this.#numbers[this.#at + MESSAGES_AT / 8]!;
  }

  get flushedOffset(): number {
    return this.#numbers[this.#at + FLUSHED_AT / 8]!;
  }

  set flushedOffset(position: number) {
    this.#numbers[this.#at + FLUSHED_AT / 8] = position;
  }

  nextOffset(queue: number): number {
    return this.#numbers[this.#at + NEXT_OFFSETS_AT / 8 + queue]!;
  }

  setNextOffset(queue: number, offset: number): void {
    this.#numbers[this.#at + NEXT_OFFSETS_AT / 8 + queue] = offset;
  }

  /** Gives a writer the next `sizeBytes` of the log, to fill without the lock. @returns the message's queue offset */
  take(writer: number, queue: number, sizeBytes: number): number {
    const numbers = this.#numbers;
    const at = this.#at;
    const slot = this.slots + writer * SLOT_SIZE_BYTES;
    const end = numbers[at + END_AT / 8]!;
    numbers[(slot + POSITION_AT) / 8] = end;
    this.#words[(slot + IS_WRITING_AT) / 4] = 1;
    numbers[at + END_AT / 8] = end + sizeBytes;
    numbers[at + MESSAGES_AT / 8]! += 1;
    const next = at + NEXT_OFFSETS_AT / 8 + queue;
    const queueOffset = numbers[next]!;
    numbers[next] = queueOffset + 1;
    return queueOffset;
  }

  /** What the writer was given is filled. */
  finished(writer: number): void {
    Atomics.store(this.#words, (this.slots + writer * SLOT_SIZE_BYTES + IS_WRITING_AT) / 4, 0);
  }

  isWriting(writer: number): boolean {
    return Atomics.load(this.#words, (this.slots + writer * SLOT_SIZE_BYTES + IS_WRITING_AT) / 4) === 1;
  }

  /** What lies below is written: the log's end, or where the oldest record begins that is still being filled. */
  get writtenOffset(): number {
    let written = this.endOffset;
    for (let writer = this.highestWriter; writer >= 0; writer--) {
      if (!this.isWriting(writer)) continue;
      written = Math.min(written, this.#numbers[(this.slots + writer * SLOT_SIZE_BYTES + POSITION_AT) / 8]!);
    }
    return written;
  }

  get highestWriter(): number {
    return this.#words[(this.address + HIGHEST_WRITER_AT) / 4]!;
  }

  set highestWriter(writer: number) {
    this.#words[(this.address + HIGHEST_WRITER_AT) / 4] = writer;
  }

  /** Notes, without the lock, that a record of this size found no room. */
  want(writer: number, sizeBytes: number): void {
    Atomics.store(this.#words, (this.slots + writer * SLOT_SIZE_BYTES + WANTED_AT) / 4, sizeBytes);
  }

  /** The largest record that found no room, 0 if there is none; they are forgotten. */
  takeWanted(): number {
    let wanted = 0;
    for (let writer = this.highestWriter; writer >= 0; writer--) {
      const word = (this.slots + writer * SLOT_SIZE_BYTES + WANTED_AT) / 4;
      wanted = Math.max(wanted, Atomics.exchange(this.#words, word, 0));
    }
    return wanted;
  }
}
