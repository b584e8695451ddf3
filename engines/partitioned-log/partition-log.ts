import { join } from "node:path";
import type { EngineListener, PartitionHandle } from "../engine.js";
import { GroupCommit } from "../group-commit.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { Storage } from "../storage/storage.js";
import type { LockedPartition } from "./batch-writer.js";
import { type EpochEntry, encodeEpochs, replaceAside } from "./checkpoints.js";
import type { MappedWindows } from "./mapped-windows.js";
import { LEADER_EPOCH_CHECKPOINT } from "./names.js";
import { Segment } from "./segment.js";
import type { PartitionedLogSettings } from "./settings.js";
import type { Slots } from "./slots.js";

/** What loading found in a partition's directory, and what a new one begins with. */
export interface LoadedLog {
  /** Ascending, at least one; the last has its indexes and its file open. */
  readonly segments: Segment[];
  readonly startOffset: number;
  readonly endOffset: number;
  readonly recoveryPoint: number;
  readonly epochs: EpochEntry[];
  /** Epoch that new batches carry. */
  readonly leaderEpoch: number;
  /** Files of the directory were created, removed or found differing: nothing of it counts as durable yet. */
  readonly isDirty: boolean;
}

export interface LogCounters {
  batches: number;
  logBytes: number;
  indexEntries: number;
  indexBytes: number;
  filesRolled: number;
}

/** What all partitions of an engine share. */
export interface LogContext {
  readonly storage: Storage;
  readonly heap: Heap;
  readonly settings: PartitionedLogSettings;
  readonly listener: EngineListener;
  readonly counters: LogCounters;
  /** Null where active segments are written by write calls. */
  readonly windows: MappedWindows | null;
  readonly backgroundSyncs: Slots;
  /** Called when a sync of this log has ended: its group commit may want to begin the next. */
  readonly syncEnded: (log: PartitionLog) => void;
}

/** Whoever polls too rarely builds the indexes while writing: what waits is bounded. */
const MOST_DEFERRED_BATCHES = 4_096;

/**
 * One partition's log: segments, of which the last is written to, and what is known to be durable.
 *
 * Everything below `recoveryPoint` has been synced: segments with their indexes, and the directory that names them. It
 * moves by syncs alone. Offsets below `endOffset` are written; what still waits in a batch buffer has none yet.
 */
export class PartitionLog {
  readonly name: string;
  readonly groupCommit: GroupCommit;
  endOffset: number;
  startOffset: number;
  recoveryPoint: number;
  /** Epoch that new batches carry. */
  readonly leaderEpoch: number;
  /** Why nothing can be appended any more; the first failed write or sync. */
  failure: Error | null = null;
  /** The group commit's sync is under way. */
  isSyncing = false;
  readonly segments: Segment[];
  /** Where the last fetch ended, so that the next one of a sequential reader needs no look-up. */
  readonly fetchCursor = { offset: -1, segment: null as Segment | null, position: 0 };
  #active: Segment;
  #shared: LockedPartition | null = null;
  readonly #epochs: EpochEntry[];
  #latestEpoch: number;
  /** Segments before the active one that have not been synced since they were last written. */
  readonly #unsynced: Segment[];
  #unsyncedWork: Promise<void> = Promise.resolve();
  #directoryWork: Promise<void> = Promise.resolve();
  /** End offset at opening if the directory was found as a clean close leaves it; NaN otherwise. */
  readonly #untouchedEndOffset: number;
  /** Files were created in the directory since it was last synced. */
  #directoryIsDirty: boolean;
  #epochsAreDirty: boolean;

  constructor(
    readonly handle: PartitionHandle,
    readonly topic: string,
    readonly index: number,
    readonly directory: string,
    loaded: LoadedLog,
    private readonly context: LogContext,
  ) {
    this.name = `${topic}-${index}`;
    this.segments = loaded.segments;
    this.#active = loaded.segments.at(-1)!;
    this.startOffset = loaded.startOffset;
    this.endOffset = loaded.endOffset;
    this.recoveryPoint = loaded.recoveryPoint;
    this.#epochs = loaded.epochs;
    this.#latestEpoch = loaded.epochs.at(-1)?.epoch ?? -1;
    this.leaderEpoch = loaded.leaderEpoch;
    this.#untouchedEndOffset = loaded.isDirty ? Number.NaN : loaded.endOffset;
    this.#directoryIsDirty = loaded.isDirty;
    this.#epochsAreDirty = loaded.isDirty && loaded.epochs.length > 0;
    this.#unsynced = loaded.segments.filter(
      (_, i) => i + 1 < loaded.segments.length && loaded.segments[i + 1]!.baseOffset > loaded.recoveryPoint,
    );
    this.groupCommit = new GroupCommit({
      policy: context.settings.flush,
      sync: () => this.#syncForCommit(),
      listener: context.listener,
    });
  }

  get active(): Segment {
    return this.#active;
  }

  /**
   * Writes the sealed batch at `address` as the next of this log: one write, its index entries, and on to the flush
   * policy. Its base offset is `endOffset`.
   * @throws whatever the storage throws; the log then takes nothing more
   */
  write(address: number, batchSizeBytes: number, messageCount: number, maxTimestamp: number): void {
    if (this.#shared !== null) {
      this.#writeShared(this.#shared, address, batchSizeBytes, messageCount, maxTimestamp);
      return;
    }
    const { heap, settings, windows } = this.context;
    const baseOffset = this.endOffset;
    const lastOffset = baseOffset + messageCount - 1;
    try {
      if (this.#active.mustRollFor(batchSizeBytes, lastOffset, maxTimestamp)) this.#roll();
      const segment = this.#active;
      if (windows === null) segment.file!.write(heap.bytes, address, batchSizeBytes, segment.sizeBytes);
      else windows.store(segment.file!, settings.segmentSizeBytes, address, batchSizeBytes, segment.sizeBytes);
    } catch (error) {
      this.fail(error as Error);
      throw error;
    }
    this.#note(batchSizeBytes, messageCount, maxTimestamp);
    this.groupCommit.written(this.handle, baseOffset, messageCount);
  }

  /** From now on several threads write, each under the partition's lock, this one through `shared`. */
  share(shared: LockedPartition): void {
    this.#shared = shared;
  }

  /** Takes note of a batch that a writer of a shared partition has put behind the others, and acknowledges itself. */
  noteWritten(batchSizeBytes: number, messageCount: number, maxTimestamp: number): void {
    this.#note(batchSizeBytes, messageCount, maxTimestamp);
    this.groupCommit.writtenElsewhere(messageCount);
  }

  /** Begins the next segment if such a batch has to go there. @throws whatever the storage throws, having failed the log */
  rollFor(batchSizeBytes: number, messageCount: number, maxTimestamp: number): void {
    try {
      if (this.#active.mustRollFor(batchSizeBytes, this.endOffset + messageCount - 1, maxTimestamp)) this.#roll();
    } catch (error) {
      this.fail(error as Error);
      throw error;
    }
  }

  #writeShared(
    shared: LockedPartition,
    address: number,
    batchSizeBytes: number,
    messageCount: number,
    maxTimestamp: number,
  ): void {
    try {
      shared.write(address, batchSizeBytes, messageCount, maxTimestamp);
    } catch (error) {
      this.fail(error as Error);
      throw error;
    }
  }

  #note(batchSizeBytes: number, messageCount: number, maxTimestamp: number): void {
    const { counters, settings } = this.context;
    const segment = this.#active;
    const baseOffset = this.endOffset;
    const lastOffset = baseOffset + messageCount - 1;
    if (settings.indexBuilding === "deferred") this.#deferIndexing(segment, lastOffset, maxTimestamp, batchSizeBytes);
    else counters.indexEntries += segment.noteBatch(lastOffset, maxTimestamp, batchSizeBytes);
    this.endOffset = lastOffset + 1;
    counters.batches++;
    counters.logBytes += batchSizeBytes;
    if (this.#latestEpoch < this.leaderEpoch) this.#beginEpoch(baseOffset);
  }

  #deferIndexing(segment: Segment, lastOffset: number, maxTimestamp: number, batchSizeBytes: number): void {
    segment.deferBatch(lastOffset, maxTimestamp, batchSizeBytes);
    if (segment.deferredCount >= MOST_DEFERRED_BATCHES) this.buildIndexes(MOST_DEFERRED_BATCHES);
  }

  /** Makes index entries for what was written, of so many batches at most. @returns whether there is more to be done */
  buildIndexes(mostBatches: number): boolean {
    this.context.counters.indexEntries += this.#active.indexDeferred(mostBatches);
    return this.#active.deferredCount > 0;
  }

  /** Position in `segments` of the segment that holds `offset`, or would. */
  segmentIndexOf(offset: number): number {
    let low = 0;
    let high = this.segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.segments[middle]!.baseOffset <= offset) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** All offsets of `segment` are below this. */
  endOffsetOf(segment: Segment): number {
    if (segment === this.#active) return this.endOffset;
    return this.segments[this.segmentIndexOf(segment.baseOffset) + 1]!.baseOffset;
  }

  /** A segment other than the last may have lost records to compaction. */
  mayHaveGaps(segment: Segment): boolean {
    return segment !== this.#active;
  }

  /**
   * Moves the start offset to the first segment that retention keeps, by Kafka's rules: the oldest go while the others
   * hold `retentionBytes`, and while their youngest message is older than `retentionMs` (by its own time, or if none has
   * one by when the file was written). The active segment may go when it holds messages: then another begins before.
   * @returns whether segments lie below the start offset
   */
  expire(nowMs: number): boolean {
    if (this.failure !== null) return false;
    const { segments } = this;
    let kept = this.segmentIndexOf(this.startOffset);
    let sizeBytes = 0;
    for (let i = kept; i < segments.length; i++) sizeBytes += segments[i]!.sizeBytes;
    while (kept < segments.length && this.#mayGo(segments[kept]!, sizeBytes, nowMs)) {
      sizeBytes -= segments[kept]!.sizeBytes;
      kept++;
    }
    if (kept === segments.length) {
      try {
        this.#roll();
      } catch (error) {
        this.fail(error as Error);
        return false;
      }
    }
    this.startOffset = Math.max(this.startOffset, segments[kept]!.baseOffset);
    if (kept > 0) this.#syncEndedSegments();
    return kept > 0;
  }

  #mayGo(segment: Segment, remainingBytes: number, nowMs: number): boolean {
    const { retentionBytes, retentionMs } = this.context.settings;
    // Of an active segment that several threads write to, this one does not know all.
    if (segment === this.#active && (segment.sizeBytes === 0 || this.#shared !== null)) return false;
    if (retentionBytes >= 0 && remainingBytes - segment.sizeBytes >= retentionBytes) return true;
    if (retentionMs < 0) return false;
    const largest = segment.largestTimestamp();
    return nowMs - (largest >= 0 ? largest : segment.modifiedMs()) > retentionMs;
  }

  /** The oldest segment, if all of it lies below `offset`. */
  oldestBelow(offset: number): Segment | null {
    const next = this.segments[1];
    return next !== undefined && next.baseOffset <= offset ? this.segments[0]! : null;
  }

  /** Whether a segment has to be synced yet: until then its files keep their names. */
  isUnsynced(segment: Segment): boolean {
    return this.failure === null && this.#unsynced.includes(segment);
  }

  /** Takes the oldest segment out of the log. @returns paths of its files, to be removed @throws as the storage does */
  dropOldest(): string[] {
    const segment = this.oldestBelow(this.startOffset);
    invariant(segment !== null && !this.isUnsynced(segment), "only what expired and was synced is dropped");
    const marked = segment.markDeleted();
    this.segments.shift();
    if (this.fetchCursor.segment === segment) this.fetchCursor.segment = null;
    return marked;
  }

  fail(error: Error): void {
    this.failure ??= error;
    this.#shared?.fail(this.failure);
    this.groupCommit.fail(this.failure);
  }

  /** Everything written before the call, by this process or found at opening, is durable when it resolves. */
  async flush(): Promise<void> {
    const target = this.endOffset;
    await this.groupCommit.flush();
    if (this.recoveryPoint < target || this.#directoryIsDirty || this.#epochsAreDirty) await this.#sync();
  }

  /** Ends the active segment's files as Kafka does on a clean close and makes all durable. The log is unusable then. */
  async close(): Promise<void> {
    const active = this.#active;
    const isUntouched = this.endOffset === this.#untouchedEndOffset && active.hasOffsetIndexFile();
    try {
      this.context.windows?.drop(active.file!);
      if (this.failure === null && !isUntouched) {
        active.finish(this.context.counters);
        this.#directoryIsDirty = true;
        await this.#sync(() => active.syncAll());
      }
      await this.#unsyncedWork;
    } finally {
      for (const segment of this.segments) segment.unload();
    }
  }

  #beginEpoch(startOffset: number): void {
    this.#latestEpoch = this.leaderEpoch;
    this.#epochs.push({ epoch: this.leaderEpoch, startOffset });
    this.#epochsAreDirty = true;
  }

  #roll(): void {
    const { storage, settings, counters, listener } = this.context;
    const startedNs = listener.event === undefined ? 0n : process.hrtime.bigint();
    const ended = this.#active;
    this.context.windows?.drop(ended.file!);
    ended.finish(counters);
    const indexedNs = listener.event === undefined ? 0n : process.hrtime.bigint();
    const segment = new Segment(storage, settings, this.directory, this.endOffset);
    try {
      segment.create();
    } catch (error) {
      segment.unload();
      throw error; // `ended` stays the active one, and readable
    }
    ended.unload(); // a thousand partitions roll at about the same time: their files are opened again in turn
    const createdNs = listener.event === undefined ? 0n : process.hrtime.bigint();
    this.#directoryIsDirty = true;
    this.segments.push(segment);
    this.#active = segment;
    this.#unsynced.push(ended);
    counters.filesRolled++;
    this.#syncEndedSegments();
    if (listener.event === undefined) return;
    const durationNs = Number(process.hrtime.bigint() - startedNs);
    listener.event({ kind: "index-flush", startedNs, durationNs: Number(indexedNs - startedNs), detail: ended.path });
    if (settings.preallocate) {
      const preallocationNs = Number(createdNs - indexedNs);
      listener.event({
        kind: "file-preallocate",
        startedNs: indexedNs,
        durationNs: preallocationNs,
        detail: segment.path,
      });
    }
    listener.event({ kind: "segment-roll", startedNs, durationNs, detail: segment.path });
  }

  async #syncForCommit(): Promise<void> {
    this.isSyncing = true;
    try {
      await this.#sync();
    } finally {
      this.isSyncing = false;
      this.context.syncEnded(this);
    }
  }

  /** @throws whatever the storage throws; the log then takes nothing more */
  async #sync(syncActive: () => Promise<void> = () => this.#active.sync()): Promise<void> {
    const target = this.endOffset;
    try {
      await Promise.all([syncActive(), this.#syncDirectory(), this.#syncEndedSegments()]);
      if (this.failure !== null) throw this.failure;
    } catch (error) {
      this.fail(error as Error);
      throw error;
    }
    this.recoveryPoint = Math.max(this.recoveryPoint, target);
  }

  /** Makes the names of all files durable, and the leader epochs. */
  #syncDirectory(): Promise<void> {
    if (this.#directoryIsDirty || this.#epochsAreDirty) {
      const { storage } = this.context;
      const epochs = this.#epochsAreDirty ? encodeEpochs(this.#epochs) : null;
      this.#directoryIsDirty = false;
      this.#epochsAreDirty = false;
      this.#directoryWork = this.#directoryWork.then(() =>
        epochs === null
          ? storage.syncDirectoryAside(this.directory)
          : replaceAside(storage, join(this.directory, LEADER_EPOCH_CHECKPOINT), epochs),
      );
    }
    return this.#directoryWork;
  }

  /** Syncs the ended segments one after the other, in the background; the recovery point follows. Never rejects. */
  #syncEndedSegments(): Promise<void> {
    if (this.#unsynced.length > 0) {
      this.#unsyncedWork = this.#unsyncedWork.then(() =>
        this.context.backgroundSyncs.run(() => this.#syncOldestEnded()),
      );
    }
    return this.#unsyncedWork;
  }

  async #syncOldestEnded(): Promise<void> {
    const { listener } = this.context;
    try {
      for (let segment = this.#unsynced[0]; segment !== undefined; segment = this.#unsynced[0]) {
        const startedNs = listener.event === undefined ? 0n : process.hrtime.bigint();
        await segment.syncAll();
        await this.#syncDirectory();
        this.#unsynced.shift();
        listener.event?.({
          kind: "sync",
          startedNs,
          durationNs: Number(process.hrtime.bigint() - startedNs),
          detail: segment.path,
        });
        this.recoveryPoint = Math.max(this.recoveryPoint, this.endOffsetOf(segment));
      }
    } catch (error) {
      this.fail(error as Error);
    }
  }
}
