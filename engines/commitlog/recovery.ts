import type { RecoveryReport } from "../engine.js";
import { OpenError } from "../errors.js";
import type { Storage } from "../storage/storage.js";
import { type Checkpoint, readCheckpoint } from "./checkpoint.js";
import { type CleanShutdown, readCleanShutdown, removeCleanShutdown } from "./clean-shutdown.js";
import { type ConsumequeueUnit, isData } from "./consumequeue-unit.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KeyIndex } from "./key-index.js";
import { type LogRow, type LogRowOptions, openLogRow } from "./log-row.js";
import { BEFORE_FIRST, type DamagedRange, LogScan, PrefixError, type ScanResult, unitOfDamage } from "./log-scan.js";
import { encodeLostPart } from "./lost-part.js";
import { type MappedFile, readHeader } from "./mapped-file.js";
import {
  ABORT_FILE,
  BATCH_CONSUMEQUEUE_DIRECTORY,
  COMMITLOG_DIRECTORY,
  CONSUMEQUEUE_DIRECTORY,
  INDEX_DIRECTORY,
  LIGHT_QUEUE_PREFIX,
  parseQueueDirectoryName,
} from "./names.js";
import { type Queue, type QueueTable, syncQueues } from "./queue-table.js";
import type { RecordParser } from "./record-parser.js";
import { removeUnfinishedMend } from "./unfinished-mend.js";

/** What a directory shows before anything of it is read. */
export interface DirectoryFacts {
  /** A commitlog file that is not empty. */
  readonly hasLog: boolean;
  /** Commitlog files were missing, or had lost their end otherwise than by a crash. */
  readonly hasLostFiles: boolean;
  readonly hasConsumequeue: boolean;
  /** The process that wrote here did not close. */
  readonly hasAbort: boolean;
  /** Says where a clean shutdown left log and queues, and they are there. */
  readonly cleanShutdown: "matches" | "differs" | "absent";
  readonly checkpoint: "usable" | "absent";
  /** The key index is there, or not wanted. */
  readonly hasKeyIndex: boolean;
}

/** How much of the log has to be read before the directory can be used. */
export type RecoveryAction =
  | "drop-queues" // no log: queues are derived from nothing
  | "trust" // read nothing
  | "scan-whole" // every record, every unit
  | "scan-from-checkpoint"; // what may not have reached the device

interface RecoveryCase {
  readonly name: string;
  applies(facts: DirectoryFacts): boolean;
  readonly action: RecoveryAction;
}

/**
 * The cases, the first that applies decides.
 *
 * Where this is stricter than RocketMQ: it believes any consumequeue when `abort` is absent, and so loses what a lagging
 * one lacks; and after a crash it starts at the checkpoint even if the queues are gone.
 */
const RECOVERY_CASES: readonly RecoveryCase[] = [
  { name: "no commitlog", applies: (facts) => !facts.hasLog, action: "drop-queues" },
  { name: "commitlog files lost", applies: (facts) => facts.hasLostFiles, action: "scan-whole" },
  {
    name: "closed cleanly by this engine",
    applies: (facts) => !facts.hasAbort && facts.cleanShutdown === "matches",
    action: "trust",
  },
  { name: "closed cleanly by another, or changed since", applies: (facts) => !facts.hasAbort, action: "scan-whole" },
  { name: "crashed, the queues gone", applies: (facts) => !facts.hasConsumequeue, action: "scan-whole" },
  { name: "crashed, no checkpoint", applies: (facts) => facts.checkpoint === "absent", action: "scan-whole" },
  { name: "crashed, the key index gone", applies: (facts) => !facts.hasKeyIndex, action: "scan-whole" },
  { name: "crashed", applies: () => true, action: "scan-from-checkpoint" },
];

export function chooseRecovery(facts: DirectoryFacts): RecoveryCase {
  return RECOVERY_CASES.find((candidate) => candidate.applies(facts))!;
}

export interface RecoveryOptions extends Omit<LogRowOptions, "hasAbort" | "shutdown"> {
  readonly queues: QueueTable;
  readonly parser: RecordParser;
  readonly dispatcher: Dispatcher;
  readonly keyIndex: KeyIndex | null;
}

export interface Recovered {
  /** The log's files, zeros behind `endOffset`. */
  readonly files: MappedFile[];
  readonly endOffset: number;
  readonly storeTimestampMs: number;
  /** Where the log is known to be damaged: meeting it again tells nothing new. */
  readonly damaged: readonly Pick<DamagedRange, "from" | "to">[];
  readonly report: RecoveryReport;
  /** The report's, for what is mended later. */
  readonly repairs: string[];
}

const LEFTOVER_PATTERN = /\.(deleted|cleaned|swap|tmp)$/;

/** RocketMQ starts so long before its checkpoint. */
const CHECKPOINT_MARGIN_MS = 3_000;

/** Brings a directory into a state that can be appended to and read. The caller holds its lock. @throws OpenError */
export async function recover(options: RecoveryOptions): Promise<Recovered> {
  return new Recovery(options).run();
}

class Recovery {
  readonly #startedMs = performance.now();
  readonly #repairs: string[] = [];
  #truncatedBytes = 0;
  #droppedFiles = 0;
  #scannedBytes = 0;
  #cutShort: ReadonlySet<number> = new Set();

  constructor(private readonly options: RecoveryOptions) {}

  async run(): Promise<Recovered> {
    const { storage, root } = this.options;
    storage.makeDirectory(`${root}/${COMMITLOG_DIRECTORY}`);
    storage.makeDirectory(`${root}/${CONSUMEQUEUE_DIRECTORY}`);
    this.#refuseUnknownQueues();
    const hasAbort = storage.exists(`${root}/${ABORT_FILE}`);
    this.#removeLeftovers(`${root}/${COMMITLOG_DIRECTORY}`);
    const shutdown = readCleanShutdown(storage, root);
    const row = openLogRow({ ...this.options, hasAbort, shutdown });
    this.#droppedFiles += row.droppedFiles;
    this.#repairs.push(...row.repairs);
    try {
      return await this.#recover(row, hasAbort);
    } catch (error) {
      for (const file of row.files) file.close();
      throw error;
    }
  }

  async #recover({ files, cutShort, hasLost }: LogRow, hasAbort: boolean): Promise<Recovered> {
    const { storage, root } = this.options;
    this.#loadQueues();
    const indexIsWhole = this.#loadKeyIndex();
    const cleanShutdown = readCleanShutdown(storage, root);
    this.#cutShort = cutShort;
    const checkpoint = readCheckpoint(storage, root);
    const { action } = chooseRecovery({
      hasLog: files.length > 0,
      hasLostFiles: hasLost,
      hasConsumequeue: this.#hasUnits(),
      hasAbort,
      cleanShutdown:
        cleanShutdown === undefined
          ? "absent"
          : this.#matches(cleanShutdown, files) && this.#indexMatches(cleanShutdown)
            ? "matches"
            : "differs",
      checkpoint: checkpoint === undefined ? "absent" : "usable",
      hasKeyIndex: indexIsWhole,
    });

    if (cleanShutdown !== undefined && this.#matches(cleanShutdown, files) && !this.#indexMatches(cleanShutdown)) {
      this.#repairs.push("index: not as the clean shutdown left it; made anew from the log.");
    }
    writeAbort(storage, root);
    let scan: ScanResult;
    switch (action) {
      case "drop-queues":
        scan = this.#dropQueues();
        break;
      case "trust":
        scan = this.#trust(cleanShutdown!);
        break;
      case "scan-whole":
        scan = this.#scanWhole(files, hasAbort ? checkpoint : undefined, hasAbort);
        break;
      case "scan-from-checkpoint":
        scan = this.#scanFromCheckpoint(files, checkpoint!);
        break;
    }
    if (files.length > 0 && (cleanShutdown?.logStartOffset ?? files[0]!.baseOffset) < files[0]!.baseOffset) {
      this.#repairs.push(
        `commitlog: begins at byte ${files[0]!.baseOffset}, though a clean shutdown left it beginning at byte ${cleanShutdown!.logStartOffset}; the messages between are lost.`,
      );
    }
    if (files.length === 0 && cleanShutdown !== undefined && cleanShutdown.logEndOffset > 0) {
      this.#repairs.push(
        `commitlog: empty, though a clean shutdown left it ending at byte ${cleanShutdown.logEndOffset}; nothing of it can be restored.`,
      );
    }
    if (action !== "trust") await this.#settle(files, scan);
    removeUnfinishedMend(storage, root);
    const rebuiltIndexes = this.#finishQueues();
    return {
      files,
      endOffset: scan.endOffset,
      storeTimestampMs: scan.storeTimestampMs,
      damaged: action === "trust" ? damagedOf(cleanShutdown!) : scan.damaged,
      repairs: this.#repairs,
      report: {
        wasCleanShutdown: !hasAbort,
        durationMs: performance.now() - this.#startedMs,
        scannedBytes: this.#scannedBytes,
        truncatedBytes: this.#truncatedBytes,
        rebuiltIndexes,
        droppedFiles: this.#droppedFiles,
        repairs: this.#repairs,
      },
    };
  }

  /** @throws OpenError rather than mend queues that it does not understand */
  #refuseUnknownQueues(): void {
    const { storage, root } = this.options;
    const batchQueues = `${root}/${BATCH_CONSUMEQUEUE_DIRECTORY}`;
    if (storage.exists(batchQueues) && storage.list(batchQueues).length > 0) {
      throw new OpenError(
        `${batchQueues} holds queues of inner batches, which this engine does not read. Open the directory with RocketMQ.`,
      );
    }
    const light = storage
      .list(`${root}/${CONSUMEQUEUE_DIRECTORY}`)
      .find(({ name }) => name.startsWith(LIGHT_QUEUE_PREFIX));
    if (light !== undefined) {
      throw new OpenError(
        `${root}/${CONSUMEQUEUE_DIRECTORY}/${light.name} is a light queue (enableLmq), which this engine does not keep up. Open the directory with RocketMQ.`,
      );
    }
  }

  /** Files that somebody renamed to be deleted or did not finish: RocketMQ has none, and would stumble over them. */
  #removeLeftovers(directory: string): void {
    const { storage } = this.options;
    for (const { name, kind } of storage.list(directory)) {
      if (kind !== "file" || !LEFTOVER_PATTERN.test(name)) continue;
      storage.remove(`${directory}/${name}`);
      this.#droppedFiles++;
      this.#repairs.push(`${directory}/${name}: a leftover that nothing reads; deleted.`);
    }
  }

  #loadQueues(): void {
    const { storage, root, queues } = this.options;
    const directory = `${root}/${CONSUMEQUEUE_DIRECTORY}`;
    for (const topic of storage.list(directory)) {
      if (topic.kind !== "directory") continue;
      const queueIds = storage
        .list(`${directory}/${topic.name}`)
        .filter(({ kind }) => kind === "directory")
        .map(({ name }) => parseQueueDirectoryName(name))
        .filter((queueId) => queueId !== undefined)
        .sort((a, b) => a - b);
      for (const queueId of queueIds) this.#loadQueue(queues.add(topic.name, queueId));
    }
  }

  #loadQueue(queue: Queue): void {
    this.#removeLeftovers(queue.files.directory);
    const unusable = queue.files.load();
    if (unusable.length === 0) return;
    this.#droppedFiles += queue.files.dropAll();
    this.#repairs.push(
      `consumequeue/${queue.topic}/${queue.queueId}: ${unusable.join(", ")} of another kind or size; its files deleted, to be rebuilt.`,
    );
  }

  /** @returns false if an index is wanted and has to be made of the whole log */
  #loadKeyIndex(): boolean {
    const { storage, root, keyIndex } = this.options;
    const directory = `${root}/${INDEX_DIRECTORY}`;
    if (keyIndex !== null) {
      if (storage.exists(directory)) this.#removeLeftovers(directory);
      return keyIndex.load();
    }
    // What is appended now will not be in it, and nobody could tell later.
    if (storage.exists(directory)) {
      for (const { name, kind } of storage.list(directory)) if (kind === "file") storage.remove(`${directory}/${name}`);
      storage.removeDirectory(directory);
    }
    return true;
  }

  #indexMatches(shutdown: CleanShutdown): boolean {
    const { keyIndex } = this.options;
    return keyIndex === null || JSON.stringify(shutdown.keyIndex) === JSON.stringify(keyIndex.state());
  }

  #hasUnits(): boolean {
    return this.options.queues.queues.some((queue) => queue.files.hasFiles);
  }

  /** Whether log and queues end where the clean shutdown says, as far as a look at each end shows. */
  #matches(shutdown: CleanShutdown, files: readonly MappedFile[]): boolean {
    const { queues } = this.options;
    const last = files.at(-1);
    if (last === undefined || shutdown.logEndOffset <= last.baseOffset || shutdown.logEndOffset > last.endOffset) {
      return false;
    }
    if (shutdown.logStartOffset !== undefined && shutdown.logStartOffset !== files[0]!.baseOffset) return false;
    if (!last.isZero(shutdown.logEndOffset, Math.min(8, last.endOffset - shutdown.logEndOffset))) return false;
    if (shutdown.queues.length !== queues.queues.length) return false;
    return shutdown.queues.every(([topic, queueId, startOffset, nextOffset]) => {
      const queue = queues.find(topic, queueId);
      if (queue === undefined || !queue.files.hasRow(startOffset, nextOffset)) return false;
      return endsAt(queue, nextOffset, shutdown.logEndOffset);
    });
  }

  #trust(shutdown: CleanShutdown): ScanResult {
    this.options.keyIndex?.resume();
    for (const [topic, queueId, startOffset, nextOffset] of shutdown.queues) {
      const queue = this.options.queues.find(topic, queueId)!;
      queue.files.writtenUnits = nextOffset;
      queue.startOffset = startOffset;
      queue.dispatchedOffset = nextOffset;
    }
    return nothingScanned(shutdown.logEndOffset, shutdown.storeTimestampMs);
  }

  #dropQueues(): ScanResult {
    this.options.keyIndex?.clear();
    for (const queue of this.options.queues.queues) {
      const dropped = queue.files.dropAll();
      if (dropped > 0) {
        this.#repairs.push(`consumequeue/${queue.topic}/${queue.queueId}: points into a log that is gone; deleted.`);
      }
      this.#droppedFiles += dropped;
      queue.dispatchedOffset = 0;
    }
    return nothingScanned(0, 0);
  }

  #scanFromCheckpoint(files: readonly MappedFile[], checkpoint: Checkpoint): ScanResult {
    const until = Math.min(checkpoint.physicMsgTimestampMs, checkpoint.logicsMsgTimestampMs) - CHECKPOINT_MARGIN_MS;
    const { keyIndex } = this.options;
    const start = files.findLast(
      (file) => (readHeader(file, file.baseOffset)?.storeTimestampMs ?? Number.POSITIVE_INFINITY) <= until,
    );
    if (start === undefined || start === files[0]) return this.#scanWhole(files, checkpoint, true);
    const storeTimestampAt = (at: number) => {
      const file = files.find(({ baseOffset, endOffset }) => at >= baseOffset && at < endOffset);
      return file === undefined ? undefined : readHeader(file, at)?.storeTimestampMs;
    };
    if (keyIndex?.cutAt(start.baseOffset, checkpoint.indexMsgTimestampMs, storeTimestampAt) === false) {
      this.#repairs.push("index: items are missing; made anew from the whole log.");
      return this.#scanWhole(files, checkpoint, true);
    }
    for (const queue of this.options.queues.queues) {
      const unitCount = queue.files.findFirst((unit) => unit.physicalOffset >= start.baseOffset);
      queue.files.writtenUnits = unitCount;
      queue.dispatchedOffset = unitCount;
    }
    try {
      return this.#scan(files, start.baseOffset, checkpoint.physicMsgTimestampMs, false);
    } catch (error) {
      if (!(error instanceof PrefixError)) throw error;
      this.#repairs.push(`consumequeue: ${error.message}; the whole log was scanned instead of its end.`);
      return this.#scanWhole(files, checkpoint, true);
    }
  }

  #scanWhole(files: readonly MappedFile[], checkpoint: Checkpoint | undefined, isCrash: boolean): ScanResult {
    this.options.keyIndex?.clear();
    for (const queue of this.options.queues.queues) {
      queue.clearUnits();
      queue.dispatchedOffset = BEFORE_FIRST;
    }
    const durableUntilMs = isCrash ? (checkpoint?.physicMsgTimestampMs ?? 0) : Number.POSITIVE_INFINITY;
    return this.#scan(files, files[0]!.baseOffset, durableUntilMs, true);
  }

  #scan(files: readonly MappedFile[], from: number, durableUntilMs: number, isWhole: boolean): ScanResult {
    const { heap, queues, parser, dispatcher, fileSizeBytes } = this.options;
    const hadConsumequeue = this.#hasUnits();
    for (const queue of queues.queues) queue.files.comparesFirst = true;
    const scan = new LogScan(
      heap,
      files,
      queues,
      parser,
      dispatcher,
      durableUntilMs,
      isWhole,
      hadConsumequeue,
      fileSizeBytes,
      this.#cutShort,
    );
    try {
      const result = scan.run(from);
      this.#scannedBytes += result.scannedBytes;
      return result;
    } finally {
      scan.release();
    }
  }

  /** Puts zeros behind the log's end, cuts the queues to what the log holds, and makes both durable. */
  async #settle(files: MappedFile[], scan: ScanResult): Promise<void> {
    const { preallocate, dispatcher, queues } = this.options;
    for (const { from, to, reason, isLost } of scan.damaged) {
      const what = isLost
        ? "file's end are gone, and reading those messages is refused"
        : "next sound message stay, and reading them is refused";
      this.#repairs.push(`commitlog: ${reason} at byte ${from}; the ${to - from} bytes up to the ${what}.`);
    }
    this.#markLostParts(files, scan.damaged);
    if (scan.stoppedBy !== undefined) {
      this.#truncatedBytes = scan.garbageEnd - scan.endOffset;
      this.#repairs.push(
        `commitlog: ${scan.stoppedBy} at byte ${scan.endOffset}; ${this.#truncatedBytes} bytes from there on cut.`,
      );
    }
    while (files.length > 0 && files.at(-1)!.baseOffset >= scan.endOffset) {
      this.#removeFile(files.pop()!);
    }
    files.at(-1)?.zeroFrom(scan.endOffset, preallocate);
    for (const file of files) if (file.endOffset > scan.startOffset) file.syncNow();
    for (const queue of queues.queues) this.#cutQueue(queue, files[0]?.baseOffset ?? 0, scan.endOffset, scan.damaged);
    dispatcher.takeListed();
    await syncQueues(queues.queues);
    this.options.keyIndex?.drain();
    await this.options.keyIndex?.sync();
  }

  /** Of the files that were cut short, now that it is known where their messages end. */
  #markLostParts(files: readonly MappedFile[], damaged: readonly DamagedRange[]): void {
    for (const { from, to } of damaged) {
      if (!this.#cutShort.has(to)) continue;
      const file = files.find(({ baseOffset, endOffset }) => from >= baseOffset && from < endOffset);
      if (file?.endOffset !== to) continue;
      const header = encodeLostPart(to - from);
      file.write(header, 0, header.length, from);
      file.syncNow();
    }
  }

  /** Durable before the next is removed, so that a crash leaves no gap in the row. */
  #removeFile(file: MappedFile): void {
    file.remove();
    this.options.storage.syncDirectory(`${this.options.root}/${COMMITLOG_DIRECTORY}`);
    this.#droppedFiles++;
  }

  #cutQueue(queue: Queue, logStart: number, logEnd: number, damaged: readonly DamagedRange[]): void {
    const { queues } = this.options;
    const { files } = queue;
    queue.drain();
    if (queue.dispatchedOffset === BEFORE_FIRST) {
      // No record of this queue is left: it keeps its place if the log's head was deleted, else it has nothing.
      queue.dispatchedOffset = files.findFirst((unit) => unit.physicalOffset >= logStart);
    }
    // The queue's last messages may be the damaged ones: their offsets are not given to others.
    files.writtenUnits = queue.dispatchedOffset;
    for (;;) {
      const unit = files.unitAt(queue.dispatchedOffset);
      const range = rangeOf(unit, damaged);
      if (range === undefined) break;
      if (!queue.hasRoom) queues.makeUnitRoom(queue);
      queue.pushUnit(range.isLost ? unitOfDamage(range, range.to < logEnd) : unit!);
    }
    queue.drain();
    const end = queue.dispatchedOffset;
    const { hadUnits, droppedFiles } = files.cutAt(end);
    this.#droppedFiles += droppedFiles;
    if (hadUnits) {
      this.#repairs.push(
        `consumequeue/${queue.topic}/${queue.queueId}: units from ${end} on point at nothing in the log; cut.`,
      );
    }
    queue.startOffset = startOffsetOf(queue, logStart);
  }

  /** @returns how many queues were changed */
  #finishQueues(): number {
    let changed = 0;
    for (const queue of this.options.queues.queues) {
      const { files } = queue;
      if (files.hasChanged) changed++;
      files.comparesFirst = false;
      files.hasChanged = false;
      queue.nextOffset = queue.dispatchedOffset;
    }
    return changed;
  }
}

/** Queue offset of the first message that the queue has a unit and the log may have a record of. */
function startOffsetOf({ files, dispatchedOffset }: Queue, logStart: number): number {
  const first = files.unitAt(files.firstUnit);
  const isWhole = first === undefined || (isData(first) && first.physicalOffset >= logStart);
  const start = isWhole ? files.firstUnit : files.findFirst((unit) => unit.physicalOffset >= logStart);
  return Math.min(start, dispatchedOffset);
}

function rangeOf(unit: ConsumequeueUnit | undefined, ranges: readonly DamagedRange[]): DamagedRange | undefined {
  if (unit === undefined || !isData(unit)) return undefined;
  return ranges.find(({ from, to }) => unit.physicalOffset >= from && unit.physicalOffset < to);
}

function damagedOf({ damaged = [] }: CleanShutdown): Recovered["damaged"] {
  return damaged.map(([from, to]) => ({ from, to }));
}

function nothingScanned(endOffset: number, storeTimestampMs: number): ScanResult {
  return {
    startOffset: endOffset,
    endOffset,
    storeTimestampMs,
    stoppedBy: undefined,
    garbageEnd: endOffset,
    scannedBytes: 0,
    damaged: [],
  };
}

/** Whether the unit before `nextOffset` points into the log and nothing is written from `nextOffset` on. */
function endsAt(queue: Queue, nextOffset: number, logEndOffset: number): boolean {
  const { files } = queue;
  if (nextOffset > files.roomEnd) return false;
  const next = files.unitAt(nextOffset);
  if (next !== undefined && (next.sizeBytes !== 0 || next.physicalOffset !== 0)) return false;
  if (nextOffset === 0) return true;
  const last = files.unitAt(nextOffset - 1);
  return last !== undefined && last.sizeBytes > 0 && last.physicalOffset + last.sizeBytes <= logEndOffset;
}

/** From here on the directory counts as not closed. Durable on return. */
function writeAbort(storage: Storage, root: string): void {
  storage.replaceAll(`${root}/${ABORT_FILE}`, new TextEncoder().encode(String(process.pid)));
  removeCleanShutdown(storage, root);
  storage.syncDirectory(root);
}
