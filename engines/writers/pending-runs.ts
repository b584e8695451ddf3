import type { EngineListener, PartitionHandle } from "../engine.js";

const FIRST_CAPACITY = 64;

/**
 * What a writer has appended and not acknowledged, oldest first: (partition, base offset, message count, mark), consecutive
 * runs of one partition merged. A run is acknowledged when the log has got to its mark, whatever the engine counts in.
 *
 * Runs are merged only until the next `acknowledgeTo`: a run that grew for ever would never be reached.
 */
export class PendingRuns {
  #partitions = new Int32Array(FIRST_CAPACITY);
  #baseOffsets = new Float64Array(FIRST_CAPACITY);
  #messageCounts = new Float64Array(FIRST_CAPACITY);
  #marks = new Float64Array(FIRST_CAPACITY);
  #head = 0;
  #count = 0;
  /** Of the runs, those that may still grow. */
  #open = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Mark of the oldest run; there is one. */
  get firstMark(): number {
    return this.#marks[this.#head]!;
  }

  push(partition: PartitionHandle, baseOffset: number, messageCount: number, mark: number): void {
    const mask = this.#marks.length - 1;
    if (this.#open > 0) {
      const last = (this.#head + this.#count - 1) & mask;
      if (
        this.#partitions[last] === partition &&
        this.#baseOffsets[last]! + this.#messageCounts[last]! === baseOffset
      ) {
        this.#messageCounts[last]! += messageCount;
        this.#marks[last] = mark;
        return;
      }
    }
    if (this.#count === this.#marks.length) this.#grow();
    const at = (this.#head + this.#count) & (this.#marks.length - 1);
    this.#partitions[at] = partition;
    this.#baseOffsets[at] = baseOffset;
    this.#messageCounts[at] = messageCount;
    this.#marks[at] = mark;
    this.#count++;
    this.#open++;
  }

  /** Acknowledges the runs whose mark is not beyond `mark`. @returns messages acknowledged */
  acknowledgeTo(mark: number, listener: EngineListener): number {
    let messageCount = 0;
    this.#open = 0;
    while (this.#count > 0 && this.firstMark <= mark) {
      const at = this.#take();
      const count = this.#messageCounts[at]!;
      messageCount += count;
      listener.acknowledged(this.#partitions[at]!, this.#baseOffsets[at]!, count);
    }
    return messageCount;
  }

  /** Reports all runs as failed: nothing of them is acknowledged any more. */
  failAll(listener: EngineListener, error: Error): void {
    this.#open = 0;
    while (this.#count > 0) {
      const at = this.#take();
      listener.failed(this.#partitions[at]!, this.#messageCounts[at]!, error);
    }
  }

  #take(): number {
    const at = this.#head;
    this.#head = (at + 1) & (this.#marks.length - 1);
    this.#count--;
    return at;
  }

  #grow(): void {
    const rotated = <T extends Int32Array | Float64Array>(ring: T): T => {
      const larger = new (ring.constructor as new (length: number) => T)(ring.length * 2);
      larger.set(ring.subarray(this.#head));
      larger.set(ring.subarray(0, this.#head), ring.length - this.#head);
      return larger;
    };
    this.#partitions = rotated(this.#partitions);
    this.#baseOffsets = rotated(this.#baseOffsets);
    this.#messageCounts = rotated(this.#messageCounts);
    this.#marks = rotated(this.#marks);
    this.#head = 0;
  }
}
