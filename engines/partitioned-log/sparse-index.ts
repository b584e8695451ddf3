/**
 * The two indexes of a segment, in memory. Derived data without a checksum: they are written to disk when the segment is
 * rolled or closed and rebuilt from the log after a crash.
 *
 * Kafka maps preallocated 10 MiB files and trims them on roll and close; a crash leaves a zero-filled tail that reads as
 * entries. Here the entries of an open segment stay in memory, so that a thousand partitions need neither mappings nor
 * descriptors for them, and the file appears complete and trimmed, as Kafka's does after roll or close.
 *
 *   .index      8 bytes an entry: relativeOffset i32 BE (of the last record of the batch at position), position i32 BE
 *   .timeindex 12 bytes an entry: timestamp i64 BE (ms), relativeOffset i32 BE (of the last record of the batch that holds it)
 *
 * Offsets are relative to the segment's base. Source: Kafka, storage/…/log/OffsetIndex.java, TimeIndex.java.
 */

export const OFFSET_ENTRY_SIZE_BYTES = 4 + 4;
export const TIME_ENTRY_SIZE_BYTES = 8 + 4;

const FIRST_CAPACITY = 64;

export class OffsetIndex {
  entryCount = 0;
  /** Pairs: relative offset, position. */
  #pairs = new Int32Array(2 * FIRST_CAPACITY);

  /** @param maxEntries what fits into `segment.index.bytes` */
  constructor(readonly maxEntries: number) {}

  get isFull(): boolean {
    return !this.hasRoomFor(1);
  }

  hasRoomFor(entries: number): boolean {
    return entries <= this.freeEntries;
  }

  get freeEntries(): number {
    return this.maxEntries - this.entryCount;
  }

  append(relativeOffset: number, position: number): void {
    const at = this.entryCount * 2;
    if (at === this.#pairs.length) this.#pairs = doubled(this.#pairs);
    this.#pairs[at] = relativeOffset;
    this.#pairs[at + 1] = position;
    this.entryCount++;
  }

  /** Number of the last entry with an offset below `relativeOffset`, or -1. */
  lastBelow(relativeOffset: number): number {
    let low = 0;
    let high = this.entryCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#pairs[middle * 2]! < relativeOffset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Number of the last entry with a position of at most `position`, or -1. */
  lastUpTo(position: number): number {
    let low = 0;
    let high = this.entryCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#pairs[middle * 2 + 1]! <= position) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  relativeOffset(entry: number): number {
    return this.#pairs[entry * 2]!;
  }

  position(entry: number): number {
    return this.#pairs[entry * 2 + 1]!;
  }

  encode(): Uint8Array {
    const view = new DataView(new ArrayBuffer(this.entryCount * OFFSET_ENTRY_SIZE_BYTES));
    for (let i = 0; i < this.entryCount * 2; i++) view.setInt32(i * 4, this.#pairs[i]!);
    return new Uint8Array(view.buffer);
  }

  /** @returns the index, or undefined if the bytes cannot be the index of a log of `logSizeBytes` */
  static decode(bytes: Uint8Array, maxEntries: number, logSizeBytes: number): OffsetIndex | undefined {
    if (bytes.byteLength % OFFSET_ENTRY_SIZE_BYTES !== 0) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const index = new OffsetIndex(maxEntries);
    let previousOffset = -1;
    // The first batch of a segment never gets an entry, so no position is 0.
    let previousPosition = 0;
    for (let at = 0; at < bytes.byteLength; at += OFFSET_ENTRY_SIZE_BYTES) {
      const relativeOffset = view.getInt32(at);
      const position = view.getInt32(at + 4);
      if (relativeOffset <= previousOffset || position <= previousPosition || position >= logSizeBytes)
        return undefined;
      index.append(relativeOffset, position);
      previousOffset = relativeOffset;
      previousPosition = position;
    }
    return index;
  }
}

export class TimeIndex {
  entryCount = 0;
  /** Timestamp of the last entry, -1 before the first. */
  lastTimestamp = -1;
  #timestamps = new Float64Array(FIRST_CAPACITY);
  #relativeOffsets = new Int32Array(FIRST_CAPACITY);

  /** @param maxEntries what fits into `segment.index.bytes` */
  constructor(readonly maxEntries: number) {}

  /** One slot is kept for the entry that the roll adds. */
  get isFull(): boolean {
    return !this.hasRoomFor(1);
  }

  hasRoomFor(entries: number): boolean {
    return entries <= this.freeEntries;
  }

  get freeEntries(): number {
    return this.maxEntries - 1 - this.entryCount;
  }

  /** Adds an entry unless its timestamp is no news. */
  maybeAppend(timestampMs: number, relativeOffset: number): boolean {
    if (timestampMs <= this.lastTimestamp) return false;
    if (this.entryCount === this.#timestamps.length) {
      this.#timestamps = doubled(this.#timestamps);
      this.#relativeOffsets = doubled(this.#relativeOffsets);
    }
    this.#timestamps[this.entryCount] = timestampMs;
    this.#relativeOffsets[this.entryCount] = relativeOffset;
    this.lastTimestamp = timestampMs;
    this.entryCount++;
    return true;
  }

  /** Number of the last entry with a timestamp of at most `timestampMs`, or -1. */
  lastUpTo(timestampMs: number): number {
    let low = 0;
    let high = this.entryCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#timestamps[middle]! <= timestampMs) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  relativeOffset(entry: number): number {
    return this.#relativeOffsets[entry]!;
  }

  encode(): Uint8Array {
    const view = new DataView(new ArrayBuffer(this.entryCount * TIME_ENTRY_SIZE_BYTES));
    for (let i = 0; i < this.entryCount; i++) {
      const at = i * TIME_ENTRY_SIZE_BYTES;
      view.setBigInt64(at, BigInt(this.#timestamps[i]!));
      view.setInt32(at + 8, this.#relativeOffsets[i]!);
    }
    return new Uint8Array(view.buffer);
  }

  /** @returns the index, or undefined if the bytes cannot be a time index */
  static decode(bytes: Uint8Array, maxEntries: number): TimeIndex | undefined {
    if (bytes.byteLength % TIME_ENTRY_SIZE_BYTES !== 0) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const index = new TimeIndex(maxEntries);
    for (let at = 0; at < bytes.byteLength; at += TIME_ENTRY_SIZE_BYTES) {
      const relativeOffset = view.getInt32(at + 8);
      if (relativeOffset < 0 || !index.maybeAppend(Number(view.getBigInt64(at)), relativeOffset)) return undefined;
    }
    return index;
  }
}

function doubled<T extends Int32Array | Float64Array>(array: T): T {
  const larger = new (array.constructor as new (length: number) => T)(array.length * 2);
  larger.set(array);
  return larger;
}
