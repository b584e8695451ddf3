import type { PartitionHandle } from "../engine.js";
import { UnrepresentableError } from "../errors.js";

/** Kafka's rule for topic names, so that what a baseline takes the engines take too. */
const TOPIC_PATTERN = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/;
const MAX_PARTITIONS = 1_000_000;

export interface BaselinePartition {
  readonly topic: string;
  readonly index: number;
}

/** A baseline's topics: a partition's handle is its place in the order of creation. */
export class Topics {
  readonly partitions: BaselinePartition[] = [];
  readonly #handles = new Map<string, PartitionHandle[]>();

  /**
   * Adds what the topic lacks. @returns the handles of its first `partitionCount` partitions
   * @throws UnrepresentableError
   */
  create(topic: string, partitionCount: number): readonly PartitionHandle[] {
    if (!TOPIC_PATTERN.test(topic)) {
      throw new UnrepresentableError(
        `The topic name ${JSON.stringify(topic)} cannot be used. Take 1 to 249 of a-z, A-Z, 0-9, ".", "_" and "-", and not "." or "..".`,
      );
    }
    if (!Number.isInteger(partitionCount) || partitionCount < 1 || partitionCount > MAX_PARTITIONS) {
      throw new UnrepresentableError(`A topic has 1 to ${MAX_PARTITIONS} partitions, not ${partitionCount}.`);
    }
    const handles = this.#handles.get(topic) ?? [];
    for (let index = handles.length; index < partitionCount; index++) this.add({ topic, index });
    return this.#handles.get(topic)!.slice(0, partitionCount);
  }

  /** Adds a topic's next partition. */
  add(partition: BaselinePartition): void {
    const handles = this.#handles.get(partition.topic) ?? [];
    handles.push(this.partitions.length);
    this.#handles.set(partition.topic, handles);
    this.partitions.push(partition);
  }
}
