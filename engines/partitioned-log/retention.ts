import type { EngineListener } from "../engine.js";
import type { Storage } from "../storage/storage.js";
import type { PartitionLog } from "./partition-log.js";
import type { Segment } from "./segment.js";
import type { PartitionedLogSettings } from "./settings.js";

/** Kafka: log.initial.task.delay.ms. */
const FIRST_CHECK_MS = 30_000;
const LOGS_A_STEP = 16;

/** What retention needs of the engine. */
export interface RetentionContext {
  readonly storage: Storage;
  readonly settings: PartitionedLogSettings;
  readonly listener: EngineListener;
  /** All partitions; their number only grows. */
  readonly logs: readonly PartitionLog[];
  /** Makes the start offsets durable. */
  checkpoint(): Promise<void>;
  /** The segment's files get other names and go. */
  forget(segment: Segment): void;
}

/** Segments of `log` that lie below `offset` may go. */
interface Expired {
  readonly log: PartitionLog;
  readonly offset: number;
}

interface MarkedFile {
  readonly path: string;
  readonly dueMs: number;
}

/**
 * Deletes old segments, a bounded step at a time, behind the appends' back:
 *
 *   check ──► start offset moves ──► it is checkpointed ──► files renamed to .deleted ──► (a minute) ──► removed
 *             readers are refused    a crash brings         one segment a step            off this thread
 *             from now on            nothing back
 *
 * Kafka renames before it checkpoints the start offset, and syncs neither name nor removal: after a power cut deleted
 * messages can be there again. Readers that have a file open keep it for as long as they need it.
 */
export class Retention {
  /** There is something to do at the next polls. */
  isBusy = false;
  #checkAtMs: number;
  /** The log that the check under way looks at next. */
  #next = Number.POSITIVE_INFINITY;
  /** What is below start offsets, and what is below durable ones: in between, a start offset may move on. */
  #moved: Expired[] = [];
  readonly #toDrop: Expired[] = [];
  /** Renamed, in order. */
  readonly #marked: MarkedFile[] = [];
  /** What goes on off this thread. Never rejects. */
  #aside: Promise<void> | null = null;

  constructor(private readonly context: RetentionContext) {
    this.#checkAtMs = performance.now() + Math.min(FIRST_CHECK_MS, context.settings.retentionCheckMs);
  }

  /** Does a step of what is due. */
  step(): void {
    const nowMs = performance.now();
    if (nowMs >= this.#checkAtMs) {
      this.#checkAtMs = nowMs + this.context.settings.retentionCheckMs;
      if (!(this.#next < this.context.logs.length)) this.#next = 0;
    }
    const isChecking = this.#next < this.context.logs.length;
    if (isChecking) this.#check();
    else if (this.#toDrop.length > 0) this.#dropOne();
    if (this.#aside === null) this.#goOnAside(nowMs);
    // What waits for the clock, or for what goes on aside, is found at one of the later polls.
    this.isBusy = isChecking || this.#toDrop.length > 0;
  }

  /** Removes what has been renamed. */
  async close(): Promise<void> {
    while (this.#aside !== null) await this.#aside;
    for (const { path } of this.#marked.splice(0)) await this.#remove(path);
  }

  #check(): void {
    const { logs } = this.context;
    const end = Math.min(logs.length, this.#next + LOGS_A_STEP);
    for (; this.#next < end; this.#next++) {
      const log = logs[this.#next]!;
      try {
        if (log.expire(Date.now())) this.#moved.push({ log, offset: log.startOffset });
      } catch {
        // the next check looks again
      }
    }
  }

  #dropOne(): void {
    const { log, offset } = this.#toDrop[0]!;
    const segment = log.oldestBelow(offset);
    if (segment === null || log.failure !== null) {
      this.#toDrop.shift();
      return;
    }
    if (log.isUnsynced(segment)) {
      if (this.#toDrop.length > 1) this.#toDrop.push(this.#toDrop.shift()!);
      return;
    }
    const startedNs = process.hrtime.bigint();
    this.context.forget(segment);
    try {
      const dueMs = performance.now() + this.context.settings.fileDeleteDelayMs;
      for (const path of log.dropOldest()) this.#marked.push({ path, dueMs });
    } catch {
      this.#toDrop.shift(); // the next check finds it again
      return;
    }
    this.#tell(startedNs, segment.path);
  }

  #goOnAside(nowMs: number): void {
    if (this.#moved.length > 0) this.#aside = this.#checkpoint(this.#moved.splice(0));
    else if (this.#marked.length > 0 && this.#marked[0]!.dueMs <= nowMs) {
      this.#aside = this.#remove(this.#marked.shift()!.path);
    } else return;
    void this.#aside.then(() => {
      this.#aside = null;
      this.isBusy = true;
    });
  }

  async #checkpoint(moved: readonly Expired[]): Promise<void> {
    try {
      await this.context.checkpoint();
      this.#toDrop.push(...moved);
    } catch {
      // the next check finds them again
    }
  }

  async #remove(path: string): Promise<void> {
    const startedNs = process.hrtime.bigint();
    try {
      await this.context.storage.removeAside(path);
      this.#tell(startedNs, path);
    } catch {
      // opening the directory removes it
    }
  }

  #tell(startedNs: bigint, detail: string): void {
    const durationNs = Number(process.hrtime.bigint() - startedNs);
    this.context.listener.event?.({ kind: "retention-delete", startedNs, durationNs, detail });
  }
}
