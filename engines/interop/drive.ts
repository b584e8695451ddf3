import type { EngineDefinition, PartitionHandle, StorageEngine, StoredMessage } from "../engine.js";
import { Message } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { heap } from "../heap.js";
import { invariant } from "../invariant.js";
import { DiskStorage } from "../storage/disk-storage.js";
import type { InteropMessage } from "./messages.js";

/** Small, so that a partition is read in many fetches, most of which begin away from a segment's start. */
const FETCH_SIZE_BYTES = 4_096;

export interface ReadMessage extends InteropMessage {
  readonly offset: number;
}

/** An engine of ours on a directory, driven the plain way: one thread, appends and polls in turn. */
export class Driven {
  #acknowledged = 0;
  #appended = 0;

  private constructor(readonly engine: StorageEngine) {}

  static async open(
    definition: EngineDefinition,
    directory: string,
    settings: Readonly<Record<string, unknown>>,
  ): Promise<Driven> {
    let driven: Driven | undefined;
    const engine = await definition.open({
      directory,
      storage: new DiskStorage(heap),
      heap,
      settings,
      listener: {
        acknowledged: (_partition, _baseOffset, messageCount) => {
          driven!.#acknowledged += messageCount;
        },
        failed: (_partition, _messageCount, error) => {
          throw error;
        },
      },
    });
    driven = new Driven(engine);
    return driven;
  }

  /** Appends, polling after every `messagesPerPoll` messages, which without linger ends a batch. `flush` is yours to call. */
  append(partition: PartitionHandle, messages: readonly InteropMessage[], messagesPerPoll: number): void {
    for (const [i, message] of messages.entries()) {
      const entry = new Message(
        heap,
        message.value,
        message.key,
        message.headers.map(([key, value]) => ({ key, value })),
      );
      while (!this.engine.append(partition, entry, message.timestampMs)) this.engine.poll();
      this.#appended++;
      if ((i + 1) % messagesPerPoll === 0) this.engine.poll();
    }
    this.engine.poll();
  }

  async flush(): Promise<void> {
    await this.engine.flush();
    invariant(this.#acknowledged === this.#appended, "flush acknowledges all that was appended");
  }

  handle(topic: string, index: number): PartitionHandle {
    const found = this.engine.partitions().find((partition) => partition.topic === topic && partition.index === index);
    if (found === undefined) throw new Error(`The engine knows no ${topic}-${index}.`);
    return found.handle;
  }

  /** All that the partition holds, copied. */
  async read(partition: PartitionHandle): Promise<ReadMessage[]> {
    const { startOffset, endOffset } = this.engine.partitionInfo(partition);
    const messages: ReadMessage[] = [];
    for (let next = startOffset; next < endOffset; ) {
      const { nextOffset } = await this.engine.fetch(partition, next, FETCH_SIZE_BYTES, (stored) => {
        messages.push(copyOf(stored));
      });
      if (nextOffset <= next) throw new Error(`A fetch from ${next} made no progress (end offset ${endOffset}).`);
      next = nextOffset;
    }
    return messages;
  }

  /** All messages of the partition but those whose fetch is refused as damaged. */
  async readSound(partition: PartitionHandle): Promise<ReadMessage[]> {
    const { startOffset, endOffset } = this.engine.partitionInfo(partition);
    const messages: ReadMessage[] = [];
    for (let offset = startOffset; offset < endOffset; offset++) {
      await this.engine
        .fetch(partition, offset, 1, (stored) => messages.push(copyOf(stored)))
        .catch((error: unknown) => {
          if (!(error instanceof CorruptDataError)) throw error;
        });
    }
    return messages;
  }

  /** The first message that a fetch from `offset` yields. */
  async readAt(partition: PartitionHandle, offset: number): Promise<number | undefined> {
    let first: number | undefined;
    await this.engine.fetch(partition, offset, 1, (stored) => {
      first ??= stored.offset;
    });
    return first;
  }
}

function copyOf({ offset, timestampMs, key, value, headers }: StoredMessage): ReadMessage {
  return {
    ...{ offset, timestampMs, key: copy(key), value: copy(value) },
    headers: headers.map((header) => [header.key, copy(header.value)] as const),
  };
}

function copy(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes);
}
