/**
 * What the threads of a process that is to be killed do: append for ever, and write down each acknowledgement on file
 * descriptor 3, a line each, before they go on:
 *
 *   acknowledged <index> <base offset> <count>
 */

import { writeSync } from "node:fs";
import { keyAt, START_MS, turn, valueAt } from "../engine.contract-driver.js";
import { type EngineListener, Message, type PartitionHandle, type StorageEngine } from "../engine.js";
import { heap } from "../heap.js";
import { seededRandom } from "../storage/seeded-random.js";

/** A partition that one thread alone appends to, so that it knows each message's offset. */
export interface OwnPartition {
  readonly index: number;
  readonly handle: PartitionHandle;
  readonly endOffset: number;
}

/** A line is short enough for a pipe to take it whole, whatever other threads write. */
export const LINES = 3;
/** Should nobody kill the process: it must not fill the disk. */
const LIFETIME_MS = 60_000;
const MAX_IN_FLIGHT = 200;
const LONGEST_BURST = 60;

export class Appending {
  readonly listener: EngineListener;
  readonly #indexes = new Map<PartitionHandle, number>();
  #inFlight = 0;

  constructor(
    private readonly topic: string,
    private readonly hasKeys: boolean,
  ) {
    this.listener = {
      acknowledged: (partition, baseOffset, messageCount) => {
        this.#inFlight -= messageCount;
        writeSync(LINES, `acknowledged ${this.#indexes.get(partition)} ${baseOffset} ${messageCount}\n`);
      },
      failed: (_partition, _messageCount, error) => {
        throw error;
      },
    };
  }

  /** Runs until the process is killed. */
  async run(
    log: Pick<StorageEngine, "append" | "poll">,
    partitions: readonly OwnPartition[],
    seed: number,
  ): Promise<never> {
    const random = seededRandom(seed);
    for (const { index, handle } of partitions) this.#indexes.set(handle, index);
    const next = partitions.map(({ endOffset }) => endOffset);
    while (performance.now() < LIFETIME_MS) {
      const which = Math.floor(random() * partitions.length);
      const wanted = partitions.length === 0 ? 0 : 1 + Math.floor(random() * LONGEST_BURST);
      for (let left = wanted; left > 0 && this.#inFlight < MAX_IN_FLIGHT; left--) {
        const { index, handle } = partitions[which]!;
        const key = this.hasKeys ? keyAt(next[which]!) : null;
        const message = new Message(heap, valueAt(this.topic, index, next[which]!), key);
        this.#inFlight++;
        if (log.append(handle, message, START_MS + next[which]!)) next[which]!++;
        else this.#inFlight--;
      }
      const isFull = this.#inFlight >= MAX_IN_FLIGHT;
      if (random() < 0.5 || isFull || wanted === 0) log.poll();
      if (random() < 0.2 || isFull || wanted === 0) await turn();
    }
    process.exit(1);
  }
}
