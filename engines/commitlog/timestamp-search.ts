import type { Queue } from "./queue-table.js";
import type { Reader } from "./reader.js";

/**
 * RocketMQ's lookup by store time with the boundary LOWER: the queue offset of the first message, of those kept and
 * visible, stored at `timestampMs` or later; behind the last one if all are older. A binary search that reads the store
 * time of a record for each of its steps; of equal times the first is found.
 *
 * A message that is damaged is passed over: the next one behind it stands for it, so the search neither fails nor strays.
 *
 * Source: RocketMQ, store/ConsumeQueue.java (getOffsetInQueueByTime).
 */
export function offsetForTimestamp(reader: Reader, queue: Queue, timestampMs: number): number {
  let low = queue.startOffset;
  let high = queue.visibleOffset;
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    let probe = middle;
    let storedMs = reader.storeTimestampMs(queue, probe);
    while (storedMs === undefined && ++probe < high) storedMs = reader.storeTimestampMs(queue, probe);
    if (storedMs === undefined || storedMs >= timestampMs) high = middle;
    else low = probe + 1;
  }
  return low;
}
