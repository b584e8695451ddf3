import type { EngineListener } from "../engine.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KeyIndex } from "./key-index.js";
import { type Queue, type QueueTable, syncQueues } from "./queue-table.js";
import type { CommitlogSettings } from "./settings.js";

const PAGE_BYTES = 4_096;
const QUEUES_WRITTEN_PER_STEP = 16;

/**
 * RocketMQ's FlushConsumeQueueService: syncs the queues in which enough pages are dirty, now and then all of them. Before
 * that the units gathered in memory are written to the files, a few queues a step. The key index goes with them.
 */
export class ConsumequeueFlush {
  /** Up to this store time all units are on the device. */
  syncedTimestampMs: number;
  /** Queues whose gathered units are due to be written. */
  #due: Queue[] = [];
  #running: Promise<void> | null = null;
  #lastMs: number;
  #lastThoroughMs: number;

  constructor(
    private readonly queues: QueueTable,
    private readonly dispatcher: Dispatcher,
    private readonly settings: CommitlogSettings,
    private readonly fail: (error: Error) => void,
    nowMs: number,
    syncedTimestampMs: number,
    private readonly listener: EngineListener,
    private readonly keyIndex: KeyIndex | null,
  ) {
    this.syncedTimestampMs = syncedTimestampMs;
    this.#lastMs = nowMs;
    this.#lastThoroughMs = nowMs;
  }

  /** Starts what the intervals say is due. */
  tick(nowMs: number): void {
    const { consumequeueFlushIntervalMs, consumequeueFlushLeastPages, consumequeueFlushThoroughIntervalMs } =
      this.settings;
    if (this.#running !== null || nowMs - this.#lastMs < consumequeueFlushIntervalMs) return;
    this.#lastMs = nowMs;
    if (nowMs - this.#lastThoroughMs >= consumequeueFlushThoroughIntervalMs) {
      this.#lastThoroughMs = nowMs;
      this.#writeAll();
      const { storeTimestampMs } = this.dispatcher;
      this.#run(1, this.keyIndex, () => {
        this.syncedTimestampMs = Math.max(this.syncedTimestampMs, storeTimestampMs);
      });
    } else {
      this.keyIndex?.drain();
      this.#due.push(...this.dispatcher.takeListed());
      this.#run(consumequeueFlushLeastPages * PAGE_BYTES, null, () => undefined);
    }
  }

  /** Writes a few of the queues that are due. */
  step(): void {
    for (let i = 0; i < QUEUES_WRITTEN_PER_STEP && this.#due.length > 0; i++) this.#due.pop()!.drain();
    this.keyIndex?.step();
  }

  /** Writes and syncs all units that are dispatched. */
  async flushAll(): Promise<void> {
    await this.#running;
    this.#writeAll();
    await syncQueues(this.queues.queues);
    await this.keyIndex?.flushAll();
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#running;
  }

  #writeAll(): void {
    for (const queue of this.queues.queues) queue.drain();
    this.keyIndex?.drain();
    this.dispatcher.takeListed();
    this.#due.length = 0;
  }

  #run(leastBytes: number, keyIndex: KeyIndex | null, onSynced: () => void): void {
    this.#running = this.#syncQueues(leastBytes)
      .then(() => keyIndex?.sync())
      .then(onSynced, this.fail)
      .finally(() => {
        this.#running = null;
      });
  }

  /** One after the other, as RocketMQ's thread does. */
  async #syncQueues(leastBytes: number): Promise<void> {
    const startedNs = this.listener.event === undefined ? 0n : process.hrtime.bigint();
    let syncedQueues = 0;
    for (const { files } of this.queues.queues) {
      if (files.unsyncedBytes < leastBytes || files.isSynced) continue;
      await files.sync();
      syncedQueues++;
    }
    if (this.listener.event === undefined || syncedQueues === 0) return;
    const durationNs = Number(process.hrtime.bigint() - startedNs);
    this.listener.event({ kind: "index-flush", startedNs, durationNs, detail: `${syncedQueues} queues` });
  }
}
