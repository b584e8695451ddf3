import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";

const CACHE_LINE_BYTES = 64;

/**
 * The producer's buffer memory: buffers of one size for batches, recycled last in, first out, so that the one taken next
 * is the one still in the processor's caches; larger messages get a buffer of their own, charged to the same total.
 * Source of the rule: Kafka, clients/…/producer/internals/BufferPool.java.
 */
export class BatchBuffers {
  readonly #strideBytes: number;
  readonly #region: number;
  readonly #free: number[] = [];
  /** Buffers of the region handed out at least once. */
  #carved = 0;
  #takenBytes = 0;

  /**
   * @param expansion heap that a buffer takes, as a multiple of what it is charged
   * @throws RangeError if the heap has no `totalBytes` left
   */
  constructor(
    private readonly heap: Heap,
    readonly bufferSizeBytes: number,
    readonly totalBytes: number,
    private readonly expansion: number,
  ) {
    // An odd number of cache lines apart: at a power of two, the ends of a thousand open batches share a few cache sets.
    this.#strideBytes = (Math.ceil((bufferSizeBytes * expansion) / CACHE_LINE_BYTES) | 1) * CACHE_LINE_BYTES;
    this.#region = heap.allocate(
      Math.max(1, Math.floor(totalBytes / bufferSizeBytes)) * this.#strideBytes,
      CACHE_LINE_BYTES,
    );
  }

  /** @returns the address of a buffer of at least `sizeBytes`, or 0 when the memory is exhausted */
  take(sizeBytes: number): number {
    const chargedBytes = Math.max(sizeBytes, this.bufferSizeBytes);
    if (this.#takenBytes + chargedBytes > this.totalBytes) return 0;
    this.#takenBytes += chargedBytes;
    if (sizeBytes > this.bufferSizeBytes)
      return this.heap.allocate(Math.ceil(sizeBytes * this.expansion), CACHE_LINE_BYTES);
    return this.#free.pop() ?? this.#region + this.#strideBytes * this.#carved++;
  }

  /** @param sizeBytes as it was taken with */
  giveBack(address: number, sizeBytes: number): void {
    this.#takenBytes -= Math.max(sizeBytes, this.bufferSizeBytes);
    invariant(this.#takenBytes >= 0, "a buffer is given back once");
    if (sizeBytes > this.bufferSizeBytes) this.heap.release(address);
    else this.#free.push(address);
  }

  /** Gives the region back to the heap; every buffer must have been given back. */
  release(): void {
    invariant(this.#takenBytes === 0, "no batch buffer is in use when the pool is released");
    this.heap.release(this.#region);
  }
}
