import type { PartitionHandle } from "../engine.js";
import { invariant } from "../invariant.js";

/**
 * Counts messages by partition until they are taken, partition by partition in the order of their first message. A
 * partition is in the ring exactly while its count is not zero, so the ring needs one place for each.
 */
export class PendingCounts {
  #counts = new Float64Array(0);
  #ring = new Int32Array(0);
  #head = 0;
  #size = 0;

  /** Partitions that have messages pending. */
  get size(): number {
    return this.#size;
  }

  /** Makes room for partitions 0 to `partitionCount` - 1. */
  resize(partitionCount: number): void {
    const counts = new Float64Array(partitionCount);
    counts.set(this.#counts);
    const ring = new Int32Array(partitionCount);
    for (let i = 0; i < this.#size; i++) ring[i] = this.#ring[(this.#head + i) % this.#ring.length]!;
    this.#counts = counts;
    this.#ring = ring;
    this.#head = 0;
  }

  add(partition: PartitionHandle): void {
    invariant(partition >= 0 && partition < this.#counts.length, "a partition handle is one that createTopic gave out");
    if (this.#counts[partition]!++ > 0) return;
    let at = this.#head + this.#size++;
    if (at >= this.#ring.length) at -= this.#ring.length;
    this.#ring[at] = partition;
  }

  /** The partition that `take` takes next. */
  first(): PartitionHandle {
    invariant(this.#size > 0, "something is pending when it is asked for");
    return this.#ring[this.#head]!;
  }

  /** Removes the first partition. @returns its message count */
  take(): number {
    const partition = this.first();
    const messageCount = this.#counts[partition]!;
    this.#counts[partition] = 0;
    this.#size--;
    if (++this.#head === this.#ring.length) this.#head = 0;
    return messageCount;
  }
}
