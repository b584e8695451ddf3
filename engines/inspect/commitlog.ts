import { basename, dirname, join } from "node:path";
import { readCheckpoint } from "../commitlog/checkpoint.js";
import { readCleanShutdown } from "../commitlog/clean-shutdown.js";
import {
  ABORT_FILE,
  CHECKPOINT_FILE,
  CLEAN_SHUTDOWN_FILE,
  COMMITLOG_DIRECTORY,
  CONSUMEQUEUE_DIRECTORY,
  INDEX_DIRECTORY,
  isIndexFileName,
  isTopicName,
  LOCK_FILE,
  parseOffsetFileName,
  parseQueueDirectoryName,
  UNFINISHED_MEND_FILE,
} from "../commitlog/names.js";
import { checkRow, listRow, type OpenLog, openLog, usualSize } from "./commitlog-files.js";
import { RecordReader } from "./commitlog-records.js";
import { CommitlogWalk, type QueueFacts, queueKey, type WalkResult } from "./commitlog-walk.js";
import { ConsumequeueCheck, type LogExtent } from "./consumequeue-check.js";
import { checkKeyIndex } from "./key-index-check.js";
import { foreign, leftover, totalSizeBytes } from "./partition.js";
import type { InspectOptions } from "./partitioned-log.js";
import { blame, type FileReport, type InspectionReport, newFile, noFacts, type PartitionReport } from "./report.js";
import { counted, Source } from "./source.js";
import { summarize } from "./summary.js";

const USED_CHECKPOINT_BYTES = 40;
/** Of RocketMQ, beside those that are looked at. */
const OTHER_ENTRIES =
  /^(config|compaction|consumequeue_ext|batchconsumequeue|timerwheel|timerlog|abort\.bak|dledger-.*|epochFileCheckpoint.*)$/;

/** Looks at a store: its log, its queues held against the log, its key index, and the small files. */
export function inspectStore(source: Source, options: InspectOptions): InspectionReport {
  const isLocked = source.isLocked(LOCK_FILE);
  const inUse = isLocked === true;
  const names = source.list();
  const hasAbort = names.some(({ name }) => name === ABORT_FILE);
  const closedCleanly = inUse ? false : !hasAbort;
  const log = openLog(source, inUse);
  const reader = new RecordReader(options.heap, log.files);
  try {
    const walk = walkLog(reader, log, inUse, options);
    const extent: LogExtent = { reader, ...walk };
    const notes: string[] = [];
    const files: FileReport[] = [...log.reports, ...log.others];
    const partitions = inspectQueues(source, extent, walk, { inUse, closedCleanly, options, notes, files });
    for (const { name, kind } of names) {
      if (kind === "directory" && name === INDEX_DIRECTORY)
        files.push(...inspectKeyIndexes(source, extent, closedCleanly));
      else if (name !== COMMITLOG_DIRECTORY && name !== CONSUMEQUEUE_DIRECTORY) {
        files.push(inspectRootEntry(source, name, kind, isLocked, walk));
      }
    }
    if (walk.hasInnerBatches) {
      notes.push(
        "The log holds inner batches (queue.type BatchCQ); their queues, in batchconsumequeue, were not looked at.",
      );
    }
    return summarize({
      ...{ path: source.root, layout: "commitlog", scope: "directory", inUse: isLocked },
      closedCleanly: inUse ? null : closedCleanly,
      ...{ files, partitions, notes },
    });
  } finally {
    reader.release();
    log.close();
  }
}

/** Looks at one commitlog file by itself. */
export function inspectCommitlogFile(source: Source, name: string, options: InspectOptions): InspectionReport {
  const store = basename(source.root) === COMMITLOG_DIRECTORY ? new Source(source.storage, dirname(source.root)) : null;
  const isLocked = store === null ? null : store.isLocked(LOCK_FILE);
  const log = openLog(source, isLocked === true, "", name);
  const reader = new RecordReader(options.heap, log.files);
  try {
    walkLog(reader, log, isLocked === true, options);
    return summarize({
      ...{ path: source.root, layout: "commitlog", scope: "file", inUse: isLocked, closedCleanly: null },
      ...{ files: [...log.reports, ...log.others.filter(({ path }) => path === name)], partitions: [] },
    });
  } finally {
    reader.release();
    log.close();
  }
}

/**
 * Looks at one queue's directory, or one file of it. Its units are held against the log if the directory lies in a
 * store.
 */
export function inspectQueueFiles(source: Source, only: string | null, options: InspectOptions): InspectionReport {
  const place = queuePlace(source.root);
  const store = place === undefined ? null : new Source(source.storage, place.root);
  const isLocked = store === null ? null : store.isLocked(LOCK_FILE);
  const inUse = isLocked === true;
  const log = store?.exists(COMMITLOG_DIRECTORY) === true ? openLog(store, inUse) : null;
  const reader = log === null ? null : new RecordReader(options.heap, log.files);
  try {
    const extent: LogExtent | null =
      reader === null
        ? null
        : { reader, startOffset: reader.files[0]?.baseOffset ?? 0, endOffset: Number.POSITIVE_INFINITY, damaged: [] };
    const check = new ConsumequeueCheck(place?.topic ?? null, place?.queueId ?? null, extent, inUse);
    const files = inspectQueueRow(source, "", only, check, null);
    const facts = noFacts(null);
    facts.startOffset = check.firstOffset;
    facts.endOffset = check.endOffset;
    const isPartition = only === null && place !== undefined;
    const partition = { topic: place?.topic ?? "", index: place?.queueId ?? 0, sizeBytes: totalSizeBytes(files) };
    const notes = extent === null ? ["There is no commitlog beside it: what its units name was not looked at."] : [];
    return summarize({
      ...{ path: source.root, layout: "commitlog", scope: only === null ? "partition" : "file" },
      ...{ inUse: isLocked, closedCleanly: null, notes },
      files: isPartition ? [] : files,
      partitions: isPartition ? [{ ...partition, log: facts, files }] : [],
    });
  } finally {
    reader?.release();
    log?.close();
  }
}

/** What the path of a queue's directory says; undefined if it lies in no `consumequeue`. */
export function queuePlace(directory: string): { root: string; topic: string; queueId: number } | undefined {
  const queueId = parseQueueDirectoryName(basename(directory));
  const topicDirectory = dirname(directory);
  const queues = dirname(topicDirectory);
  if (queueId === undefined || basename(queues) !== CONSUMEQUEUE_DIRECTORY) return undefined;
  return { root: dirname(queues), topic: basename(topicDirectory), queueId };
}

function walkLog(reader: RecordReader, log: OpenLog, inUse: boolean, options: InspectOptions): WalkResult {
  const { isQuick, topic, onBatch } = options;
  return new CommitlogWalk(reader, log.reports, { inUse, isQuick, topic, onBatch }).run();
}

interface QueueContext {
  readonly inUse: boolean;
  readonly closedCleanly: boolean;
  readonly options: InspectOptions;
  readonly notes: string[];
  /** Reports of what belongs to no queue. */
  readonly files: FileReport[];
}

function inspectQueues(source: Source, extent: LogExtent, walk: WalkResult, context: QueueContext): PartitionReport[] {
  const { notes, options, files } = context;
  const directories = new Map<string, { topic: string; queueId: number; path: string }>();
  const hasQueues = source.exists(CONSUMEQUEUE_DIRECTORY);
  for (const topic of hasQueues ? source.list(CONSUMEQUEUE_DIRECTORY) : []) {
    const topicPath = join(CONSUMEQUEUE_DIRECTORY, topic.name);
    const isTopic = topic.kind === "directory" && isTopicName(topic.name);
    if (!isTopic) files.push(foreign(topicPath, topic.kind));
    for (const queue of isTopic ? source.list(topicPath, files) : []) {
      const queueId = queue.kind === "directory" ? parseQueueDirectoryName(queue.name) : undefined;
      const path = join(topicPath, queue.name);
      if (queueId === undefined) files.push(foreign(path, queue.kind));
      else directories.set(queueKey(topic.name, queueId), { topic: topic.name, queueId, path });
    }
  }
  if (directories.size === 0 && walk.queues.size > 0) {
    notes.push("There is no consumequeue; opening the directory makes all queues again from the log.");
  }
  const usualSizeBytes = usualSize(
    [...directories.values()].flatMap(({ path }) =>
      source.list(path, []).flatMap(({ name, kind }) => {
        if (kind !== "file" || parseOffsetFileName(name) === undefined) return [];
        let sizeBytes = 0;
        source.inspect(join(path, name), "consumequeue-file", (report) => {
          sizeBytes = report.sizeBytes;
        });
        return [sizeBytes];
      }),
    ),
  );
  const partitions: PartitionReport[] = [];
  for (const key of new Set([...directories.keys(), ...walk.queues.keys()])) {
    const directory = directories.get(key);
    const facts = walk.queues.get(key);
    const { topic, queueId } = directory ?? facts!;
    if (options.topic !== null && topic !== options.topic) continue;
    const reports: FileReport[] = [];
    const check = new ConsumequeueCheck(topic, queueId, extent, context.inUse);
    if (directory !== undefined) {
      reports.push(...inspectQueueRow(source, directory.path, null, check, usualSizeBytes));
    }
    if (directories.size > 0 && facts !== undefined) judgeLag(reports, check, facts, context);
    const log = facts?.log ?? { ...noFacts(null), startOffset: check.endOffset, endOffset: check.endOffset };
    partitions.push({
      topic,
      index: queueId,
      sizeBytes: (facts?.sizeBytes ?? 0) + totalSizeBytes(reports),
      log,
      files: reports,
    });
  }
  return partitions.sort((a, b) => (a.topic === b.topic ? a.index - b.index : a.topic < b.topic ? -1 : 1));
}

function inspectQueueRow(
  source: Source,
  directory: string,
  only: string | null,
  check: ConsumequeueCheck,
  usualSizeBytes: number | null,
): FileReport[] {
  const row = listRow(source, directory);
  const files = row.files.filter(({ name }) => only === null || name === only);
  const reports = files.map(({ name, baseOffset }) =>
    source.inspect(join(directory, name), "consumequeue-file", (report, file) => check.file(report, file, baseOffset)),
  );
  const usual = usualSizeBytes ?? usualSize(reports.map(({ sizeBytes }) => sizeBytes));
  checkRow(
    reports,
    files.map(({ baseOffset }) => baseOffset),
    usual,
  );
  return only === null ? [...reports, ...row.others] : reports;
}

/** Messages of the log that the queue has no units for. */
function judgeLag(files: FileReport[], check: ConsumequeueCheck, facts: QueueFacts, context: QueueContext): void {
  const { startOffset, endOffset } = facts.log;
  if (startOffset === null || endOffset === null || context.inUse) return;
  let report = check.endFile;
  if (report === null) {
    report = newFile(join(CONSUMEQUEUE_DIRECTORY, facts.topic, String(facts.queueId)), "consumequeue-file", 0);
    files.push(report);
  }
  const unitsEnd = check.endOffset ?? startOffset;
  if (unitsEnd < endOffset) {
    const missing = counted(endOffset - unitsEnd, "unit");
    if (context.closedCleanly) {
      const what = `the unit of message ${unitsEnd} is missing, and so are all up to the log's last, ${endOffset - 1}.`;
      blame(report, check.endPosition, "lag", what);
    } else {
      report.notes.push(`It lags behind the log by ${missing}, which opening the directory writes.`);
    }
  }
  if (check.firstOffset !== null && check.firstOffset > startOffset) {
    blame(
      files[0]!,
      0,
      "lag",
      `its units begin with message ${check.firstOffset}, and the log holds message ${startOffset}.`,
    );
  }
}

function inspectKeyIndexes(source: Source, extent: LogExtent, closedCleanly: boolean): FileReport[] {
  return source.list(INDEX_DIRECTORY).map(({ name, kind }) => {
    const path = join(INDEX_DIRECTORY, name);
    if (kind !== "file" || !isIndexFileName(name)) return foreign(path, kind);
    return source.inspect(path, "key-index", (report, file) => checkKeyIndex(report, file, extent, closedCleanly));
  });
}

function inspectRootEntry(
  source: Source,
  name: string,
  kind: "file" | "directory" | "other",
  isLocked: boolean | null,
  walk: WalkResult,
): FileReport {
  const inUse = isLocked === true;
  if (OTHER_ENTRIES.test(name)) {
    const report = newFile(name, "metadata", 0);
    report.says = "RocketMQ's; not looked at";
    return report;
  }
  if (kind !== "file") return foreign(name, kind);
  if (name.endsWith(".tmp")) return leftover(source, name, "it was not finished; nothing reads it.", inUse);
  if (name === CHECKPOINT_FILE) return inspectCheckpoint(source);
  if (name === CLEAN_SHUTDOWN_FILE) return inspectCleanShutdown(source, inUse, walk);
  if (name === ABORT_FILE) {
    return source.inspect(name, "abort-marker", (report) => {
      report.says = inUse ? "there while the store is open" : "was not closed";
    });
  }
  if (name === LOCK_FILE) {
    const report = newFile(name, "lock", 0);
    report.says = inUse ? "held by a process" : isLocked === false ? "held by nobody" : "cannot be told";
    return report;
  }
  if (name === UNFINISHED_MEND_FILE) {
    return source.inspect(name, "metadata", (report) => {
      report.says = "an opening was interrupted while it mended commitlog files";
    });
  }
  return foreign(name, kind);
}

function inspectCheckpoint(source: Source): FileReport {
  return source.inspect(CHECKPOINT_FILE, "checkpoint", (report) => {
    if (report.sizeBytes < USED_CHECKPOINT_BYTES) {
      const what = `it is ${counted(report.sizeBytes, "byte")} long, and its fields take ${USED_CHECKPOINT_BYTES}.`;
      blame(report, report.sizeBytes, "size", what);
      return;
    }
    const checkpoint = readCheckpoint(source.storage, source.root);
    if (checkpoint === undefined) {
      blame(report, 0, "format", "it holds times that cannot be.");
      return;
    }
    const { physicMsgTimestampMs, logicsMsgTimestampMs } = checkpoint;
    report.says = `log synced up to ${timeOf(physicMsgTimestampMs)}, queues up to ${timeOf(logicsMsgTimestampMs)}`;
  });
}

function inspectCleanShutdown(source: Source, inUse: boolean, walk: WalkResult): FileReport {
  return source.inspect(CLEAN_SHUTDOWN_FILE, "clean-shutdown-marker", (report) => {
    const state = readCleanShutdown(source.storage, source.root);
    if (state === undefined) {
      if (!inUse) blame(report, 0, "format", "it is not what a clean shutdown of this engine leaves.");
      return;
    }
    report.says = `${counted(state.queues.length, "queue")}, log ends at byte ${state.logEndOffset}`;
    if (inUse || state.logEndOffset === walk.endOffset) return;
    if (state.logEndOffset > walk.endOffset) {
      const what = `by it the log ended at byte ${state.logEndOffset}, and it ends at ${walk.endOffset} now: messages are missing.`;
      blame(report, 0, "lag", what);
    } else {
      report.notes.push(`The log goes on to byte ${walk.endOffset}: another program has used the directory since.`);
    }
  });
}

function timeOf(timestampMs: number): string {
  if (timestampMs === 0) return "never";
  const time = new Date(timestampMs);
  return Number.isNaN(time.getTime()) ? `${timestampMs} ms` : time.toISOString();
}
