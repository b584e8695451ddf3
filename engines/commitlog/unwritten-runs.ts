import type { PartitionHandle } from "../engine.js";

/** Messages that wait for the write that carries them, as runs: consecutive ones of a partition are one. */
export class UnwrittenRuns {
  #partitions: PartitionHandle[] = [];
  #baseOffsets: number[] = [];
  #messageCounts: number[] = [];

  get isEmpty(): boolean {
    return this.#partitions.length === 0;
  }

  add(partition: PartitionHandle, baseOffset: number, messageCount: number): void {
    const last = this.#partitions.length - 1;
    if (this.#partitions[last] === partition && this.#baseOffsets[last]! + this.#messageCounts[last]! === baseOffset) {
      this.#messageCounts[last]! += messageCount;
      return;
    }
    this.#partitions.push(partition);
    this.#baseOffsets.push(baseOffset);
    this.#messageCounts.push(messageCount);
  }

  /** Takes all, the oldest first; what `visit` adds waits for the next time. */
  take(visit: (partition: PartitionHandle, baseOffset: number, messageCount: number) => void): void {
    const [partitions, baseOffsets, messageCounts] = [this.#partitions, this.#baseOffsets, this.#messageCounts];
    this.#partitions = [];
    this.#baseOffsets = [];
    this.#messageCounts = [];
    for (const [i, partition] of partitions.entries()) visit(partition, baseOffsets[i]!, messageCounts[i]!);
  }
}
