import type {
  EngineCounters,
  EngineDefinition,
  FetchOutcome,
  Message,
  MessageVisitor,
  OpenOptions,
  PartitionHandle,
  PartitionInfo,
  RecoveryReport,
  StorageEngine,
} from "../engine.js";
import { ClosedError, OffsetOutOfRangeError } from "../errors.js";
import { zeroCounters } from "../storage/counters.js";
import { PendingCounts } from "./pending-counts.js";
import { baselineSettingsSchema } from "./settings.js";
import { Topics } from "./topics.js";

const INITIAL_PARTITIONS = 16;

/**
 * Takes messages, acknowledges them at the next `poll` and keeps nothing: what is measured with it is the harness. No
 * setting means anything to it. A partition is a log that forgets at once: it starts where it ends.
 */
class NullEngine implements StorageEngine {
  readonly durability = "D0";
  readonly recovery: RecoveryReport = {
    wasCleanShutdown: true,
    durationMs: 0,
    scannedBytes: 0,
    truncatedBytes: 0,
    rebuiltIndexes: 0,
    droppedFiles: 0,
    repairs: [],
  };
  readonly #listener: OpenOptions["listener"];
  readonly #topics = new Topics();
  readonly #pending = new PendingCounts();
  #endOffsets = new Float64Array(INITIAL_PARTITIONS);
  #acknowledgedOffsets = new Float64Array(INITIAL_PARTITIONS);
  #isClosed = false;

  constructor(options: OpenOptions) {
    this.#listener = options.listener;
  }

  async createTopic(topic: string, partitionCount: number): Promise<readonly PartitionHandle[]> {
    this.#checkOpen();
    const handles = this.#topics.create(topic, partitionCount);
    const total = this.#topics.partitions.length;
    this.#pending.resize(total);
    this.#endOffsets = grown(this.#endOffsets, total);
    this.#acknowledgedOffsets = grown(this.#acknowledgedOffsets, total);
    return handles;
  }

  partitions(): readonly PartitionInfo[] {
    return this.#topics.partitions.map((_, handle) => this.partitionInfo(handle));
  }

  partitionInfo(partition: PartitionHandle): PartitionInfo {
    const endOffset = this.#endOffsets[partition]!;
    return { handle: partition, ...this.#topics.partitions[partition]!, startOffset: endOffset, endOffset };
  }

  append(partition: PartitionHandle, _message: Message, _timestampMs: number): boolean {
    this.#checkOpen();
    this.#pending.add(partition);
    this.#endOffsets[partition]!++;
    return true;
  }

  poll(): void {
    this.#checkOpen();
    // Only what is pending now: a listener that appends from its acknowledgement would keep this going for ever.
    for (let left = this.#pending.size; left > 0; left--) {
      const partition = this.#pending.first();
      const messageCount = this.#pending.take();
      const baseOffset = this.#acknowledgedOffsets[partition]!;
      this.#acknowledgedOffsets[partition] = baseOffset + messageCount;
      this.#listener.acknowledged(partition, baseOffset, messageCount);
    }
  }

  async flush(): Promise<void> {
    this.poll();
  }

  async fetch(
    partition: PartitionHandle,
    fromOffset: number,
    _maxBytes: number,
    _visit: MessageVisitor,
  ): Promise<FetchOutcome> {
    this.#checkOpen();
    const endOffset = this.#endOffsets[partition]!;
    if (fromOffset !== endOffset) throw new OffsetOutOfRangeError(fromOffset, endOffset, endOffset);
    return { nextOffset: endOffset, messageCount: 0, sizeBytes: 0 };
  }

  counters(): EngineCounters {
    return {
      ...zeroCounters(),
      appendedMessages: sum(this.#endOffsets),
      acknowledgedMessages: sum(this.#acknowledgedOffsets),
      batches: 0,
      logBytes: 0,
      indexEntries: 0,
      indexBytes: 0,
      filesRolled: 0,
    };
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.poll();
    this.#isClosed = true;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError("The engine has been closed. Open it again to use it.");
  }
}

function grown(values: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  if (values.length >= length) return values;
  const longer = new Float64Array(Math.max(length, values.length * 2));
  longer.set(values);
  return longer;
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

export const nullEngine: EngineDefinition = {
  name: "null",
  description: "Accepts and discards: the harness's own ceiling.",
  settingsSchema: baselineSettingsSchema,
  storesMessages: false,
  async open(options) {
    baselineSettingsSchema.parse(options.settings);
    return new NullEngine(options);
  },
};
