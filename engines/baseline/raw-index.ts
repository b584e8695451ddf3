import type { Heap } from "../heap.js";
import type { StorageFile } from "../storage/storage.js";

/**
 * What `raw` puts before each value:
 *
 *   at  bytes  field      type    meaning
 *    0      4  partition  u32 LE  the partition's handle + 1; 0 = nothing was ever written here
 *    4      4  size       u32 LE  bytes of the value + 1; 0 = null
 *    8      …  value
 */
export const FRAME_HEADER_SIZE_BYTES = 4 + 4;
const SCAN_STEP_BYTES = 1 << 20;
const INITIAL_MESSAGES = 64;

/** Where each partition's messages lie in the one file: found by walking its frames, when somebody asks. */
export class RawIndex {
  /** The file has been walked up to here. */
  indexedBytes = 0;
  /** Index = partition, then offset. */
  readonly #positions: Float64Array<ArrayBuffer>[] = [];
  readonly #frameSizes: Uint32Array<ArrayBuffer>[] = [];
  readonly #messageCounts: number[] = [];

  resize(partitionCount: number): void {
    while (this.#positions.length < partitionCount) {
      this.#positions.push(new Float64Array(INITIAL_MESSAGES));
      this.#frameSizes.push(new Uint32Array(INITIAL_MESSAGES));
      this.#messageCounts.push(0);
    }
  }

  messageCount(partition: number): number {
    return this.#messageCounts[partition]!;
  }

  position(partition: number, offset: number): number {
    return this.#positions[partition]![offset]!;
  }

  frameSizeBytes(partition: number, offset: number): number {
    return this.#frameSizes[partition]![offset]!;
  }

  /**
   * Walks on to `endBytes`, or to the first bytes that are no frame of these partitions.
   * @returns where it stopped: what follows is torn, or was never written
   */
  extend(file: StorageFile, heap: Heap, endBytes: number): number {
    if (this.indexedBytes >= endBytes) return this.indexedBytes;
    const chunk = heap.allocate(SCAN_STEP_BYTES);
    try {
      while (this.indexedBytes + FRAME_HEADER_SIZE_BYTES <= endBytes) {
        const wanted = Math.min(SCAN_STEP_BYTES, endBytes - this.indexedBytes);
        const read = file.read(heap.bytes, chunk, wanted, this.indexedBytes);
        if (!this.#walk(heap.view, chunk, read, endBytes)) break;
      }
    } finally {
      heap.release(chunk);
    }
    return this.indexedBytes;
  }

  /** Walks the frames whose headers lie in the chunk. @returns false at what is no frame */
  #walk(view: DataView, chunk: number, chunkBytes: number, endBytes: number): boolean {
    const chunkStart = this.indexedBytes;
    const chunkEnd = chunkStart + chunkBytes;
    while (this.indexedBytes + FRAME_HEADER_SIZE_BYTES <= chunkEnd) {
      const at = chunk + (this.indexedBytes - chunkStart);
      const partition = view.getUint32(at, true) - 1;
      const sizeBytes = frameSizeBytes(view.getUint32(at + 4, true));
      if (partition < 0 || partition >= this.#positions.length) return false;
      if (this.indexedBytes + sizeBytes > endBytes) return false;
      this.#add(partition, this.indexedBytes, sizeBytes);
      this.indexedBytes += sizeBytes;
    }
    return this.indexedBytes > chunkStart;
  }

  #add(partition: number, positionBytes: number, sizeBytes: number): void {
    const offset = this.#messageCounts[partition]!++;
    if (offset === this.#positions[partition]!.length) {
      const positions = new Float64Array(offset * 2);
      positions.set(this.#positions[partition]!);
      this.#positions[partition] = positions;
      const frameSizes = new Uint32Array(offset * 2);
      frameSizes.set(this.#frameSizes[partition]!);
      this.#frameSizes[partition] = frameSizes;
    }
    this.#positions[partition]![offset] = positionBytes;
    this.#frameSizes[partition]![offset] = sizeBytes;
  }
}

/** Total size of the frame whose header's second field is `sizeField`. */
function frameSizeBytes(sizeField: number): number {
  return FRAME_HEADER_SIZE_BYTES + (sizeField === 0 ? 0 : sizeField - 1);
}
