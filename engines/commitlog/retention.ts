import type { EngineListener } from "../engine.js";
import type { Storage } from "../storage/storage.js";
import type { CommitLog } from "./commit-log.js";
import type { KeyIndex } from "./key-index.js";
import { readHeader } from "./mapped-file.js";
import { COMMITLOG_DIRECTORY } from "./names.js";
import type { Queue } from "./queue-table.js";
import type { CommitlogSettings } from "./settings.js";

const QUEUES_A_STEP = 4;

export interface RetentionContext {
  readonly storage: Storage;
  readonly root: string;
  readonly settings: CommitlogSettings;
  readonly listener: EngineListener;
  readonly log: CommitLog;
  /** Their number only grows. */
  readonly queues: readonly Queue[];
  readonly keyIndex: KeyIndex | null;
  /** A file of the log has gone: consumers that have it open close it, so that its blocks become free. */
  readonly forget: (path: string) => void;
}

type Phase = "idle" | "starts" | "log" | "consumequeues" | "index";

/**
 * Deletes the oldest commitlog file, and then the next, a bounded step at a time:
 *
 *   check ──► start offsets move ──► the file goes ──► consumequeue files ──► index files below ──► check
 *             readers are refused    directory synced  below the starts
 *
 * Only a file goes that is whole on the device and dispatched, and never the last. A crash between the steps leaves
 * consumequeue and index files that point below the log, which recovery and reads take for what they are; nothing says
 * where a queue starts but the log's first byte.
 *
 * RocketMQ looks every 10 s, too, but deletes for age at one hour of the day (deleteWhen), by the file's time of
 * modification, ten files at most; here it is the store time of the record that begins the next file. Its thresholds of
 * disk use are left out: `retentionBytes` says how much may stay.
 *
 * Source: RocketMQ, store/DefaultMessageStore.java (CleanCommitLogService, CleanConsumeQueueService).
 */
export class Retention {
  #phase: Phase = "idle";
  /** The next queue of the phase. */
  #next = 0;
  #checkAtMs: number;
  #syncing: Promise<void> | null = null;
  #failure: Error | null = null;

  constructor(
    private readonly context: RetentionContext,
    nowMs: number,
  ) {
    this.#checkAtMs = nowMs + context.settings.retentionCheckMs;
  }

  /** Does a step of what is due. @throws what the storage threw */
  step(nowMs: number): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#syncing !== null) return;
    switch (this.#phase) {
      case "idle":
        if (nowMs < this.#checkAtMs) return;
        if (this.#oldestIsExpired(nowMs)) this.#enter("starts");
        else this.#checkAtMs = nowMs + this.context.settings.retentionCheckMs;
        return;
      case "starts":
        this.#forQueues((queue) => this.#moveStart(queue), "log");
        return;
      case "log":
        this.#dropOldest();
        return;
      case "consumequeues":
        this.#forQueues((queue) => this.#dropUnits(queue), "index");
        return;
      case "index":
        this.#dropIndex();
        return;
    }
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#syncing;
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#next = 0;
  }

  #oldestIsExpired(nowMs: number): boolean {
    const { log, settings } = this.context;
    const [oldest, next] = log.files;
    if (oldest === undefined || next === undefined) return false;
    if (oldest.endOffset > Math.min(log.dispatchedOffset, log.flushedOffset)) return false;
    const { retentionBytes, retentionMs } = settings;
    if (retentionBytes >= 0 && log.endOffset - oldest.endOffset >= retentionBytes) return true;
    if (retentionMs < 0) return false;
    for (let i = 1; i < log.files.length; i++) {
      const file = log.files[i]!;
      const header = readHeader(file, file.baseOffset); // its record is not older than any of the oldest file
      if (header !== undefined) return nowMs - header.storeTimestampMs > retentionMs;
    } // one that was lost has none
    return false;
  }

  #forQueues(visit: (queue: Queue) => void, nextPhase: Phase): void {
    const { queues } = this.context;
    const to = Math.min(this.#next + QUEUES_A_STEP, queues.length);
    for (; this.#next < to && this.#syncing === null; this.#next++) visit(queues[this.#next]!);
    if (this.#next === queues.length && this.#syncing === null) this.#enter(nextPhase);
  }

  /** To the queue's first message behind the oldest file; to its end if there is none, so that it keeps its place. */
  #moveStart(queue: Queue): void {
    const position = this.context.log.files[0]!.endOffset;
    queue.drain();
    const start = queue.files.findFirst((unit) => unit.physicalOffset >= position);
    queue.startOffset = Math.max(queue.startOffset, Math.min(start, queue.dispatchedOffset));
  }

  #dropOldest(): void {
    const { log, root, forget } = this.context;
    this.#tell(() => {
      const path = log.dropOldest();
      forget(path);
      return path;
    });
    this.#enter("consumequeues");
    this.#sync(`${root}/${COMMITLOG_DIRECTORY}`);
  }

  #dropUnits(queue: Queue): void {
    const dropped = this.#tell(() => queue.files.dropOldestBelow(queue.startOffset));
    if (dropped === undefined) return;
    this.#next--; // the same queue again
    this.#sync(queue.files.directory);
  }

  /** Nothing more goes before that is durable, so that a crash leaves no gap in a row of files. */
  #sync(directory: string): void {
    this.#syncing = this.context.storage
      .syncDirectoryAside(directory)
      .catch((error: Error) => {
        this.#failure = error;
      })
      .finally(() => {
        this.#syncing = null;
      });
  }

  #dropIndex(): void {
    const { keyIndex, log } = this.context;
    const dropped = this.#tell(() => keyIndex?.removeBelow(log.startOffset));
    if (dropped === undefined) this.#enter("idle"); // and look at the next file at once
  }

  /** Tells the listener of a deletion: `remove` gives the path of what it deleted. */
  #tell(remove: () => string | undefined): string | undefined {
    const { listener } = this.context;
    if (listener.event === undefined) return remove();
    const startedNs = process.hrtime.bigint();
    const path = remove();
    if (path === undefined) return undefined;
    const durationNs = Number(process.hrtime.bigint() - startedNs);
    listener.event({ kind: "retention-delete", startedNs, durationNs, detail: path });
    return path;
  }
}
