import type { EngineListener, PartitionHandle } from "./engine.js";
import { LogFailedError } from "./errors.js";
import type { FlushPolicy } from "./flush-policy.js";
import { invariant } from "./invariant.js";

const INITIAL_RUNS = 4;

/**
 * Acknowledges the appends of one independently flushed log (a partition's, or the shared commitlog) by the flush policy.
 * Appends that wait for a sync share one: a sync begins at `poll` when none is under way, and takes along all that was
 * written before it began.
 *
 * What waits is kept as runs: (partition, base offset, message count), consecutive ones of a partition merged, in rings
 * that only grow. The runs from `#head` on that a sync under way covers (`#coveredRuns`) are no longer merged into.
 *
 *   written ──► ring of runs ──► poll: sync begins ──► it returns: acknowledged ── or it fails: failed, for good
 *
 * After a failed sync the kernel may have dropped the bytes and will say so only once, so nothing of this log is ever
 * acknowledged again: it has to be reopened, which reads back what is really there.
 */
export class GroupCommit {
  /** Messages acknowledged so far. */
  acknowledgedMessages = 0;

  readonly #waitsForSync: boolean;
  readonly #everyMessages: number;
  readonly #everyMs: number;
  readonly #sync: () => Promise<void>;
  readonly #listener: EngineListener;

  #partitions = new Int32Array(INITIAL_RUNS);
  #baseOffsets = new Float64Array(INITIAL_RUNS);
  #messageCounts = new Float64Array(INITIAL_RUNS);
  #head = 0;
  #runs = 0;
  #coveredRuns = 0;

  /** Messages written, and how many of them were when the last finished and the running sync began. */
  #writtenMessages = 0;
  #syncedMessages = 0;
  #coveredMessages = 0;
  /** When `poll` first saw something unsynced; NaN when it has not. */
  #unsyncedSinceMs = Number.NaN;
  #running: Promise<void> | null = null;
  #failure: Error | null = null;

  constructor(options: {
    policy: FlushPolicy;
    /** Makes durable all that was written before the call. */
    sync: () => Promise<void>;
    listener: EngineListener;
  }) {
    const { policy } = options;
    this.#waitsForSync = policy === "sync";
    this.#everyMessages = typeof policy === "object" ? (policy.every.messages ?? Infinity) : Infinity;
    this.#everyMs = typeof policy === "object" ? (policy.every.ms ?? Infinity) : Infinity;
    this.#sync = options.sync;
    this.#listener = options.listener;
  }

  /** Nothing waits and no sync is or becomes due: `poll` need not be called before the next `written`. */
  get isIdle(): boolean {
    if (this.#running !== null) return false;
    if (this.#failure !== null || this.#writtenMessages === this.#syncedMessages) return true;
    return !this.#waitsForSync && this.#everyMessages === Infinity && this.#everyMs === Infinity;
  }

  /**
   * The messages' bytes are with the kernel. Acknowledges them, or under `sync` queues them.
   * @throws LogFailedError after a failure; the messages are the caller's to fail
   */
  written(partition: PartitionHandle, baseOffset: number, messageCount: number): void {
    this.checkNotFailed();
    invariant(messageCount > 0, "a run of written messages is not empty");
    this.#writtenMessages += messageCount;
    if (this.#waitsForSync) {
      this.#queue(partition, baseOffset, messageCount);
    } else {
      this.acknowledgedMessages += messageCount;
      this.#listener.acknowledged(partition, baseOffset, messageCount);
    }
  }

  /** As `written`, for messages that somebody else acknowledges: they only make a sync due. */
  writtenElsewhere(messageCount: number): void {
    this.#writtenMessages += messageCount;
  }

  /** The first cause of a failure. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Starts the sync that the policy says is due. */
  poll(nowMs: number): void {
    if (this.#running !== null || this.#failure !== null) return;
    const unsynced = this.#writtenMessages - this.#syncedMessages;
    if (unsynced === 0) return;
    if (this.#waitsForSync || unsynced >= this.#everyMessages) {
      this.#begin();
    } else if (this.#everyMs !== Infinity) {
      if (Number.isNaN(this.#unsyncedSinceMs)) this.#unsyncedSinceMs = nowMs;
      else if (nowMs - this.#unsyncedSinceMs >= this.#everyMs) this.#begin();
    }
  }

  /** Resolves when all that was written before is synced (and acknowledged). @throws LogFailedError */
  async flush(): Promise<void> {
    const target = this.#writtenMessages;
    while (this.#failure === null && this.#syncedMessages < target) {
      await (this.#running ?? this.#begin());
    }
    this.checkNotFailed();
  }

  /** A write to this log failed: what waits fails, and nothing is acknowledged any more. The first cause stays. */
  fail(cause: Error): void {
    if (this.#failure !== null) return;
    this.#failure = cause;
    while (this.#runs > 0) {
      const at = this.#head;
      this.#drop();
      this.#listener.failed(this.#partitions[at]!, this.#messageCounts[at]!, cause);
    }
  }

  /** For an append that only buffers as yet. @throws LogFailedError after a failure */
  checkNotFailed(): void {
    if (this.#failure === null) return;
    throw new LogFailedError(
      `A write or sync of this log failed (${this.#failure.message}). Nothing more is acknowledged: reopen the directory.`,
      { cause: this.#failure },
    );
  }

  #begin(): Promise<void> {
    this.#coveredRuns = this.#runs;
    this.#coveredMessages = this.#writtenMessages;
    this.#unsyncedSinceMs = Number.NaN;
    const running = this.#run();
    this.#running = this.#failure === null ? running : null; // a sync that threw at once is over already
    return running;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const startedNs = this.#listener.event === undefined ? 0n : process.hrtime.bigint();
    try {
      await this.#sync();
    } catch (error) {
      this.#running = null;
      this.fail(error as Error);
      return;
    }
    this.#running = null;
    this.#listener.event?.({
      kind: "sync",
      startedNs,
      durationNs: Number(process.hrtime.bigint() - startedNs),
    });
    if (this.#failure !== null) return; // a write failed meanwhile, and with it all that waited
    this.#syncedMessages = this.#coveredMessages;
    this.#acknowledgeCovered();
  }

  #acknowledgeCovered(): void {
    while (this.#coveredRuns > 0) {
      const at = this.#head;
      this.#coveredRuns--;
      this.#drop();
      const messageCount = this.#messageCounts[at]!;
      this.acknowledgedMessages += messageCount;
      this.#listener.acknowledged(this.#partitions[at]!, this.#baseOffsets[at]!, messageCount);
    }
  }

  #queue(partition: PartitionHandle, baseOffset: number, messageCount: number): void {
    if (this.#runs > this.#coveredRuns) {
      const last = (this.#head + this.#runs - 1) & (this.#partitions.length - 1);
      if (
        this.#partitions[last] === partition &&
        this.#baseOffsets[last]! + this.#messageCounts[last]! === baseOffset
      ) {
        this.#messageCounts[last]! += messageCount;
        return;
      }
    }
    if (this.#runs === this.#partitions.length) this.#grow();
    const at = (this.#head + this.#runs) & (this.#partitions.length - 1);
    this.#partitions[at] = partition;
    this.#baseOffsets[at] = baseOffset;
    this.#messageCounts[at] = messageCount;
    this.#runs++;
  }

  #drop(): void {
    this.#head = (this.#head + 1) & (this.#partitions.length - 1);
    this.#runs--;
  }

  #grow(): void {
    const capacity = this.#partitions.length;
    const partitions = new Int32Array(capacity * 2);
    const baseOffsets = new Float64Array(capacity * 2);
    const messageCounts = new Float64Array(capacity * 2);
    for (let i = 0; i < this.#runs; i++) {
      const from = (this.#head + i) & (capacity - 1);
      partitions[i] = this.#partitions[from]!;
      baseOffsets[i] = this.#baseOffsets[from]!;
      messageCounts[i] = this.#messageCounts[from]!;
    }
    this.#partitions = partitions;
    this.#baseOffsets = baseOffsets;
    this.#messageCounts = messageCounts;
    this.#head = 0;
  }
}
