import { LogFailedError } from "../errors.js";
import type { Heap } from "../heap.js";

export const MAX_WRITERS = 64;

// Layout of a board, in cache lines that are written by different threads:
//
//     0  i32 failed (0 no, 1 being told, 2 yes)   4  i32 size of the text   8  text: why it failed, UTF-8
//   512  i32 progress                             counts what the owner has done that a writer may wait for
//   576  i32 requests                             counts what writers have asked the owner for
//   640  a slot of 128 bytes for each writer:
//          0  i32 state, then counts that the writer alone adds to (f64):
//          8  appended   16  acknowledged   24  appends to the log   32  bytes of log   40  write calls
//         48  i32 wantsSync   64  what the engine needs
const FAILED_AT = 0;
const TEXT_SIZE_AT = 4;
const TEXT_AT = 8;
const MAX_TEXT_BYTES = 500;
const PROGRESS_AT = 512;
const REQUESTS_AT = 576;
const SLOTS_AT = 640;
export const SLOT_SIZE_BYTES = 128;
export const ENGINE_SLOT_AT = 64;
const BOARD_SIZE_BYTES = SLOTS_AT + (MAX_WRITERS + 1) * SLOT_SIZE_BYTES;

const NOT_FAILED = 0;
const BEING_TOLD = 1;
const HAS_FAILED = 2;

export const SlotState = { FREE: 0, OPEN: 1, CLOSED: 2 } as const;

/** What a writer has done since it was opened. */
export interface WriterCounts {
  appendedMessages: number;
  acknowledgedMessages: number;
  batches: number;
  logBytes: number;
  writeCalls: number;
}

const COUNTS = ["appendedMessages", "acknowledgedMessages", "batches", "logBytes", "writeCalls"] as const;

/**
 * What the thread that owns a log and its writers tell each other, in shared memory: that it failed and why, that the
 * owner got on, that a writer needs the owner. Each side has a `Board` over the same address.
 */
export class Board {
  readonly #failed: number;
  readonly #progress: number;
  readonly #requests: number;

  constructor(
    readonly heap: Heap,
    readonly address: number,
  ) {
    this.#failed = (address + FAILED_AT) / 4;
    this.#progress = (address + PROGRESS_AT) / 4;
    this.#requests = (address + REQUESTS_AT) / 4;
  }

  static allocate(heap: Heap): Board {
    const address = heap.allocate(BOARD_SIZE_BYTES, 64);
    heap.bytes.fill(0, address, address + BOARD_SIZE_BYTES);
    return new Board(heap, address);
  }

  /** Address of a writer's slot; number 0 is the owner's. */
  slotOf(writer: number): number {
    return this.address + SLOTS_AT + writer * SLOT_SIZE_BYTES;
  }

  get hasFailed(): boolean {
    return Atomics.load(this.heap.words, this.#failed) !== NOT_FAILED;
  }

  /** The log failed, for all: nothing is acknowledged any more. The first cause stays. */
  fail(cause: string): void {
    const { words, bytes } = this.heap;
    if (Atomics.compareExchange(words, this.#failed, NOT_FAILED, BEING_TOLD) !== NOT_FAILED) return;
    const text = new TextEncoder().encode(cause).subarray(0, MAX_TEXT_BYTES);
    bytes.set(text, this.address + TEXT_AT);
    words[(this.address + TEXT_SIZE_AT) / 4] = text.length;
    Atomics.store(words, this.#failed, HAS_FAILED);
    Atomics.notify(words, this.#failed);
    this.noteProgress();
  }

  /** Why the log failed. */
  get failureText(): string {
    const { words, bytes } = this.heap;
    while (Atomics.load(words, this.#failed) === BEING_TOLD) Atomics.wait(words, this.#failed, BEING_TOLD, 1);
    const sizeBytes = words[(this.address + TEXT_SIZE_AT) / 4]!;
    return new TextDecoder().decode(bytes.slice(this.address + TEXT_AT, this.address + TEXT_AT + sizeBytes));
  }

  failure(): LogFailedError {
    return new LogFailedError(
      `This log takes and acknowledges nothing more (${this.failureText}). Close its writers and reopen the directory.`,
    );
  }

  get progress(): number {
    return Atomics.load(this.heap.words, this.#progress);
  }

  /** The owner got on: whoever waits looks again. */
  noteProgress(): void {
    Atomics.add(this.heap.words, this.#progress, 1);
    Atomics.notify(this.heap.words, this.#progress);
  }

  /** Sleeps until the owner has got on from where `progress` said it was, or the time is over. */
  awaitProgress(seen: number, limitMs: number): void {
    Atomics.wait(this.heap.words, this.#progress, seen, limitMs);
  }

  get requests(): number {
    return Atomics.load(this.heap.words, this.#requests);
  }

  /** Asks the owner to look what this writer wants. */
  request(): void {
    Atomics.add(this.heap.words, this.#requests, 1);
  }

  /** Adds a writer's counts to `sum`. They are exact while the writer is at rest. */
  addCounts(writer: number, sum: WriterCounts): void {
    const at = this.slotOf(writer) / 8 + 1;
    for (const [i, name] of COUNTS.entries()) sum[name] += this.heap.numbers[at + i]!;
  }

  /** Makes a writer's slot free, with counts of zero. */
  clearSlot(writer: number): void {
    const at = this.slotOf(writer);
    this.heap.bytes.fill(0, at, at + SLOT_SIZE_BYTES);
  }

  release(): void {
    this.heap.release(this.address);
  }
}

/** A writer's own counts, which it alone changes. */
export class SlotCounts {
  readonly #at: number;

  constructor(
    private readonly heap: Heap,
    private readonly slot: number,
  ) {
    this.#at = slot / 8 + 1;
  }

  appended(messageCount: number): void {
    this.heap.numbers[this.#at]! += messageCount;
  }

  acknowledged(messageCount: number): void {
    this.heap.numbers[this.#at + 1]! += messageCount;
  }

  written(logBytes: number, writeCalls: number): void {
    const { numbers } = this.heap;
    numbers[this.#at + 2]! += 1;
    numbers[this.#at + 3]! += logBytes;
    numbers[this.#at + 4]! += writeCalls;
  }

  get state(): number {
    return Atomics.load(this.heap.words, this.slot / 4);
  }

  set state(state: number) {
    Atomics.store(this.heap.words, this.slot / 4, state);
  }

  /** The writer has asked for a sync of all that is written, and the owner not begun one since. */
  get wantsSync(): boolean {
    return Atomics.load(this.heap.words, this.slot / 4 + 12) !== 0;
  }

  set wantsSync(wants: boolean) {
    Atomics.store(this.heap.words, this.slot / 4 + 12, wants ? 1 : 0);
  }
}
