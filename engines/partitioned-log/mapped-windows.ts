import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import { type Kernel, kernelOf } from "../kernel/kernel.js";
import type { MappedRegion, StorageFile } from "../storage/storage.js";

/** Heap that the windows of an engine take together, whatever the number of its partitions. */
const ALL_WINDOWS_BYTES = 256 << 20;
/** What `StorageFile.map` can begin at. */
const SMALLEST_WINDOW_BYTES = 65_536;

interface Window {
  readonly address: number;
  /** Position in the file of the window's first byte. */
  readonly positionBytes: number;
  readonly region: MappedRegion;
}

/**
 * How active segments are written under `writePath: "mmap"`: one window of each is mapped, the one that its log ends in,
 * and batches are copied into it.
 *
 *   file    |batch|batch|bat ch|batch|0000000|          <- reserved to the end of the window
 *           |     window 0     |  window 1   |
 *
 * All windows lie in one area of the heap, taken when the engine opens. They are of one size, the larger the fewer
 * partitions there are: a change of windows costs as much as some hundred KiB written. When even the smallest do not
 * suffice, the window that was written longest ago is given up, and mapped again when its partition is written next. What
 * was stored stays in the page cache either way, so `StorageFile.sync` makes it durable.
 */
export class MappedWindows {
  readonly #area: number;
  readonly #copyBytes: Kernel["copyBytes"];
  #windowBytes: number;
  readonly #free: number[] = [];
  /** Windows of the area used at least once. */
  #carved = 0;
  /** In order of use, oldest first. */
  readonly #windows = new Map<StorageFile, Window>();

  /** @throws RangeError if the heap has no room for them */
  constructor(
    private readonly heap: Heap,
    largestWindowBytes: number,
    private readonly allWindowsBytes = ALL_WINDOWS_BYTES,
  ) {
    this.#windowBytes = Math.min(largestWindowBytes, allWindowsBytes);
    this.#area = heap.reserveWindow(allWindowsBytes);
    this.#copyBytes = kernelOf(heap).copyBytes;
  }

  /** Windows that so many partitions have mapped at once, at most; each has a file descriptor of its own. */
  countFor(partitionCount: number): number {
    return Math.min(partitionCount, Math.floor(this.allWindowsBytes / SMALLEST_WINDOW_BYTES));
  }

  /** Makes the windows so small that each of these partitions can have one, as far as that goes. */
  makeRoomFor(partitionCount: number): void {
    let windowBytes = this.#windowBytes;
    while (windowBytes * partitionCount > this.allWindowsBytes && windowBytes >= 2 * SMALLEST_WINDOW_BYTES) {
      windowBytes = Math.ceil(windowBytes / (2 * SMALLEST_WINDOW_BYTES)) * SMALLEST_WINDOW_BYTES;
    }
    if (windowBytes === this.#windowBytes) return;
    for (const file of this.#windows.keys()) this.drop(file);
    this.#windowBytes = windowBytes;
    this.#free.length = 0;
    this.#carved = 0;
  }

  /**
   * Stores heap bytes into the file at `positionBytes`. Their blocks are reserved before the first of them is stored: a
   * store into a hole of a full disk would end the process.
   * @param mostFileBytes what the file is never extended beyond
   * @throws whatever the storage throws
   */
  store(file: StorageFile, mostFileBytes: number, address: number, sizeBytes: number, positionBytes: number): void {
    const end = positionBytes + sizeBytes;
    invariant(end <= mostFileBytes, "a segment takes what it has room for");
    for (let position = positionBytes; position < end; ) {
      const window = this.#windowAt(file, position, end, mostFileBytes);
      const at = position - window.positionBytes;
      const step = Math.min(end - position, window.region.sizeBytes - at);
      this.#copyBytes(window.address + at, address + position - positionBytes, step);
      position += step;
    }
  }

  /** Unmaps what is mapped of the file; before it is truncated or closed. */
  drop(file: StorageFile): void {
    const window = this.#windows.get(file);
    if (window === undefined) return;
    this.#windows.delete(file);
    window.region.unmap();
    this.#free.push(window.address);
  }

  /** Gives the area back to the heap. */
  release(): void {
    for (const file of this.#windows.keys()) this.drop(file);
    this.heap.release(this.#area);
  }

  #windowAt(file: StorageFile, positionBytes: number, end: number, mostFileBytes: number): Window {
    const mapped = this.#windows.get(file);
    if (mapped !== undefined && positionBytes < mapped.positionBytes + mapped.region.sizeBytes) {
      this.#windows.delete(file);
      this.#windows.set(file, mapped);
      return mapped;
    }
    this.drop(file);
    const windowBytes = this.#windowBytes;
    const start = positionBytes - (positionBytes % windowBytes);
    reserve(file, Math.min(mostFileBytes, Math.ceil(end / windowBytes) * windowBytes));
    const address = this.#takeAddress();
    let region: MappedRegion;
    try {
      region = file.map(address, Math.min(windowBytes, mostFileBytes - start), start);
    } catch (error) {
      this.#free.push(address);
      throw error;
    }
    const window = { address, positionBytes: start, region };
    this.#windows.set(file, window);
    return window;
  }

  #takeAddress(): number {
    if (this.#free.length === 0 && (this.#carved + 1) * this.#windowBytes > this.allWindowsBytes) {
      for (const oldest of this.#windows.keys()) {
        this.drop(oldest);
        break;
      }
    }
    return this.#free.pop() ?? this.#area + this.#windowBytes * this.#carved++;
  }
}

/** Extends the file to `sizeBytes`, every block of it there. */
function reserve(file: StorageFile, sizeBytes: number): void {
  const from = file.sizeBytes();
  if (from >= sizeBytes || file.allocate(sizeBytes)) return;
  for (let at = from; at < sizeBytes; at += ZEROS.byteLength) {
    file.write(ZEROS, 0, Math.min(ZEROS.byteLength, sizeBytes - at), at);
  }
}

const ZEROS = new Uint8Array(65_536);
