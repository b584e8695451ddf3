import {
  type EngineDefinition,
  type EngineListener,
  Message,
  type PartitionHandle,
  type StorageEngine,
  type StoredMessage,
} from "./engine.js";
import { UnsupportedError } from "./errors.js";
import { heap } from "./heap.js";
import type { Storage } from "./storage/storage.js";

/** The message at offset n has the timestamp `START_MS + n`, which lies far ahead: no retention by time takes it. */
export const START_MS = 4_000_000_000_000;
const SCRATCH_BYTES = 65_536;
const MAX_TURNS = 100_000;
const NO_KEY = Buffer.from("\0none");
/** A baseline may forget timestamps. */
const NO_TIMESTAMP = -1;

/** What the conformance suite appends at `offset` of a partition: its size and bytes follow from where it belongs. */
export function valueAt(topic: string, index: number, offset: number): Uint8Array {
  const mixed = Math.imul(offset + 1, 0x9e3779b1) ^ Math.imul(index + 7, 0x85ebca6b);
  const spread = (mixed ^ (mixed >>> 15)) >>> 0;
  const sizeBytes = spread % 40 === 0 ? 2_000 : spread % 41 === 0 ? 0 : spread % 500;
  const name = `${topic}/${index}/${offset};`;
  return Buffer.from(name.repeat(Math.ceil(sizeBytes / name.length))).subarray(0, sizeBytes);
}

const KEYS = ["k0", "k1", "k2", "k3", "k4"];

/** The key of what `valueAt` says, where keys are appended, too: every third message has none. */
export function keyAt(offset: number): Uint8Array | null {
  return offset % 3 === 0 ? null : Buffer.from(KEYS[offset % KEYS.length]!);
}

interface Progress {
  readonly topic: string;
  readonly index: number;
  /** Offset that the next message gets, and offset up to which messages are acknowledged. */
  appendedTo: number;
  acknowledgedTo: number;
  failedCount: number;
  /** In order: when the messages below `toOffset` had been acknowledged, by `performance.now`. */
  readonly acknowledgements: { readonly toOffset: number; readonly atMs: number }[];
}

/** The next turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * An engine, driven and watched: it remembers what was appended, acknowledged and failed, and writes down whatever the
 * engine does against the contract (`faults`), because an exception from a listener might be swallowed.
 */
export class Driven {
  readonly faults: string[] = [];
  readonly errors: Error[] = [];
  readonly progress = new Map<PartitionHandle, Progress>();
  /** Heap memory that is overwritten after every append: an engine has copied what it was given, or is found out. */
  readonly #scratch = heap.allocate(SCRATCH_BYTES);

  private constructor(
    readonly engine: StorageEngine,
    private readonly hasKeys: boolean,
  ) {}

  static async open(
    definition: EngineDefinition,
    options: { directory: string; storage: Storage; settings: Readonly<Record<string, unknown>> },
    /** Messages have keys (`keyAt`). */
    hasKeys = false,
  ): Promise<Driven> {
    let driven: Driven | undefined;
    const listener: EngineListener = {
      acknowledged: (partition, baseOffset, messageCount) => {
        driven!.#acknowledged(partition, baseOffset, messageCount);
      },
      failed: (partition, messageCount, error) => {
        driven!.#failed(partition, messageCount, error);
      },
      event: () => {},
    };
    driven = new Driven(await definition.open({ ...options, heap, listener }), hasKeys);
    driven.#watchPartitions();
    return driven;
  }

  async createTopic(topic: string, partitionCount: number): Promise<readonly PartitionHandle[]> {
    const handles = await this.engine.createTopic(topic, partitionCount);
    this.#watchPartitions();
    return handles;
  }

  handleOf(topic: string, index: number): PartitionHandle | undefined {
    return this.engine.partitions().find((partition) => partition.topic === topic && partition.index === index)?.handle;
  }

  /** Appends the message that belongs at the partition's end. @returns false when the engine's memory is exhausted */
  append(partition: PartitionHandle): boolean {
    const progress = this.progress.get(partition)!;
    const value = valueAt(progress.topic, progress.index, progress.appendedTo);
    const isInHeap = progress.appendedTo % 2 === 0;
    if (isInHeap) heap.bytes.set(value, this.#scratch);
    const bytes = isInHeap ? heap.bytes.subarray(this.#scratch, this.#scratch + value.byteLength) : value.slice();
    const key = this.hasKeys ? keyAt(progress.appendedTo) : null;
    // Counted first: the acknowledgement may come from within `append`.
    progress.appendedTo++;
    let isTaken = false;
    try {
      isTaken = this.engine.append(partition, new Message(heap, bytes, key), START_MS + progress.appendedTo - 1);
    } finally {
      bytes.fill(0xee);
      if (!isTaken) progress.appendedTo--;
    }
    return isTaken;
  }

  /** Appends `count` messages, polling whenever the engine is full. */
  async appendMany(partition: PartitionHandle, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      while (!this.append(partition)) {
        this.engine.poll();
        await turn();
      }
    }
  }

  /** Polls until it is so. @throws if it never is */
  async pollUntil(what: string, isSo: () => boolean): Promise<void> {
    for (let turns = 0; !isSo(); turns++) {
      if (turns === MAX_TURNS) throw new Error(`Polled for ever: ${what} never came.`);
      this.engine.poll();
      await turn();
    }
  }

  async pollUntilAcknowledged(): Promise<void> {
    await this.pollUntil("the acknowledgement of everything", () =>
      [...this.progress.values()].every(({ acknowledgedTo, appendedTo }) => acknowledgedTo === appendedTo),
    );
  }

  /**
   * Reads a partition to its end and compares each message with what belongs there.
   * @returns the offset after the last right message, and what was wrong with the next, or null
   */
  async read(partition: PartitionHandle, maxBytes = 10_000): Promise<{ rightTo: number; wrong: string | null }> {
    const { topic, index, startOffset } = this.engine.partitionInfo(partition);
    let next = startOffset;
    let wrong: string | null = null;
    for (;;) {
      const before = next;
      const outcome = await this.engine.fetch(partition, next, maxBytes, (message) => {
        wrong ??= this.#differenceAt(topic, index, next, message);
        if (wrong === null) next++;
      });
      if (wrong !== null) return { rightTo: next, wrong };
      if (outcome.nextOffset !== next || outcome.messageCount !== next - before) {
        return {
          rightTo: next,
          wrong: `a fetch from ${before} visited up to ${next} and said ${JSON.stringify(outcome)}`,
        };
      }
      if (next === before) return { rightTo: next, wrong: null };
    }
  }

  /** Reads everything, and looks up all keys. @returns what is not as appended: nothing, if all is well */
  async differences(): Promise<string[]> {
    const found = [...this.faults];
    for (const [partition, { topic, index, appendedTo }] of this.progress) {
      const { rightTo, wrong } = await this.read(partition);
      if (wrong !== null) found.push(`${topic}-${index}: ${wrong}`);
      else if (rightTo !== appendedTo) found.push(`${topic}-${index}: reads ${rightTo} of ${appendedTo} messages`);
    }
    for (const topic of new Set([...this.progress.values()].map((each) => each.topic))) {
      found.push(...(await this.differencesByKey(topic)));
    }
    return found;
  }

  /**
   * Looks up every key of a topic that can be read whole. @returns which messages are found that have not the key, or not
   * found that have; nothing where messages have no keys or the engine keeps no index of them
   */
  async differencesByKey(topic: string): Promise<string[]> {
    const { engine } = this;
    if (!this.hasKeys || engine.messagesByKey === undefined) return [];
    const expected = new Map<string, Set<string>>(KEYS.map((key) => [key, new Set()]));
    for (const { topic: of, index, startOffset, endOffset } of engine.partitions()) {
      if (of !== topic) continue;
      for (let offset = startOffset; offset < endOffset; offset++) {
        const key = keyAt(offset);
        if (key !== null) expected.get(Buffer.from(key).toString())!.add(`${index}/${offset}`);
      }
    }
    const found: string[] = [];
    const query = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, maxMessages: Number.MAX_SAFE_INTEGER };
    for (const [key, places] of expected) {
      try {
        await engine.messagesByKey(topic, key, query, ({ offset }, partition) => {
          const place = `${engine.partitionInfo(partition).index}/${offset}`;
          if (!places.delete(place)) found.push(`${topic}: the key ${key} is found at ${place}`);
        });
      } catch (error) {
        if (error instanceof UnsupportedError) return [];
        throw error;
      }
      if (places.size > 0) found.push(`${topic}: the key ${key} is not found at ${[...places].slice(0, 5).join(", ")}`);
    }
    return found;
  }

  /** Closes the engine, however it fares, and gives back the heap memory. */
  async dispose(): Promise<void> {
    await this.engine.close().catch(() => {});
    this.release();
  }

  async close(): Promise<void> {
    await this.engine.close();
    this.release();
  }

  release(): void {
    heap.release(this.#scratch);
  }

  #watchPartitions(): void {
    for (const { handle, topic, index, endOffset } of this.engine.partitions()) {
      if (this.progress.has(handle)) continue;
      this.progress.set(handle, {
        topic,
        index,
        appendedTo: endOffset,
        acknowledgedTo: endOffset,
        failedCount: 0,
        acknowledgements: [],
      });
    }
  }

  #acknowledged(partition: PartitionHandle, baseOffset: number, messageCount: number): void {
    const progress = this.progress.get(partition);
    if (progress === undefined) {
      this.faults.push(`acknowledged messages of ${partition}, which is no partition`);
      return;
    }
    const where = `${progress.topic}-${progress.index}`;
    if (progress.failedCount > 0) this.faults.push(`${where}: acknowledged after a failure`);
    if (baseOffset !== progress.acknowledgedTo) {
      this.faults.push(`${where}: acknowledged from ${baseOffset} on where ${progress.acknowledgedTo} was next`);
    }
    if (!(messageCount > 0)) this.faults.push(`${where}: acknowledged ${messageCount} messages`);
    progress.acknowledgedTo = baseOffset + messageCount;
    progress.acknowledgements.push({ toOffset: progress.acknowledgedTo, atMs: performance.now() });
    if (progress.acknowledgedTo > progress.appendedTo) {
      this.faults.push(`${where}: acknowledged to ${progress.acknowledgedTo} of ${progress.appendedTo}`);
    }
  }

  #failed(partition: PartitionHandle, messageCount: number, error: Error): void {
    const progress = this.progress.get(partition);
    if (progress === undefined) {
      this.faults.push(`failed messages of ${partition}, which is no partition`);
      return;
    }
    this.errors.push(error);
    progress.failedCount += messageCount;
    if (progress.acknowledgedTo + progress.failedCount > progress.appendedTo) {
      this.faults.push(`${progress.topic}-${progress.index}: failed more messages than waited`);
    }
  }

  #differenceAt(topic: string, index: number, offset: number, message: StoredMessage): string | null {
    if (message.offset !== offset) return `offset ${message.offset} where ${offset} was next`;
    const expected = valueAt(topic, index, offset);
    if (message.value === null || Buffer.compare(message.value, expected) !== 0) {
      const found = message.value === null ? "null" : Buffer.from(message.value.subarray(0, 40)).toString("latin1");
      return `other bytes at offset ${offset}: ${JSON.stringify(found)} (${message.value?.byteLength} of ${expected.byteLength} bytes)`;
    }
    const key = this.hasKeys ? keyAt(offset) : null;
    if (Buffer.compare(message.key ?? NO_KEY, key ?? NO_KEY) !== 0) return `another key at offset ${offset}`;
    if (message.headers.length > 0) return `headers at offset ${offset}`;
    if (message.timestampMs !== NO_TIMESTAMP && message.timestampMs !== START_MS + offset) {
      return `timestamp ${message.timestampMs} at offset ${offset}`;
    }
    return null;
  }
}
