import { basename } from "node:path";
import type { Heap } from "../heap.js";
import { decodeOffsets } from "../partitioned-log/checkpoints.js";
import {
  CLEAN_SHUTDOWN_MARKER,
  CLEANER_CHECKPOINT,
  LOCK_FILE,
  LOG_START_CHECKPOINT,
  parsePartitionDirectory,
  RECOVERY_POINT_CHECKPOINT,
} from "../partitioned-log/names.js";
import { foreign, inspectPartition, inspectPartitionFile, inspectText, leftover } from "./partition.js";
import {
  type BatchLine,
  blame,
  type FileReport,
  type InspectionReport,
  newFile,
  type PartitionReport,
} from "./report.js";
import type { Source } from "./source.js";
import { summarize } from "./summary.js";

const REPLICATION_CHECKPOINT = "replication-offset-checkpoint";
export const META_PROPERTIES = "meta.properties";
/** Kafka's offset checkpoints, and what each offset is. */
const CHECKPOINTS: Readonly<Record<string, string>> = {
  [RECOVERY_POINT_CHECKPOINT]: "recovery point",
  [LOG_START_CHECKPOINT]: "log start offset",
  [REPLICATION_CHECKPOINT]: "high watermark",
  [CLEANER_CHECKPOINT]: "first offset not compacted",
};
const DELETED_DIRECTORY = /\.[0-9a-f]{32}-delete$/;
const TEMPORARY_SUFFIX = ".tmp";

export interface InspectOptions {
  readonly heap: Heap;
  readonly topic: string | null;
  readonly isQuick: boolean;
  readonly onBatch: ((line: BatchLine) => void) | null;
}

/** What the directory around a partition says of all in it. */
interface Surroundings {
  readonly inUse: boolean | null;
  readonly closedCleanly: boolean | null;
  /** By directory name. */
  readonly compacted: ReadonlySet<string>;
}

/** Looks at a directory of partitions. */
export function inspectLogDirectory(source: Source, options: InspectOptions): InspectionReport {
  const around = lookAround(source);
  // Whoever opens it goes by the marker, even if nothing else tells that it is a whole directory.
  const surroundings = { ...around, closedCleanly: around.inUse === true ? null : around.closedCleanly === true };
  const entries = source.list();
  const partitions: PartitionReport[] = [];
  const files: FileReport[] = [];
  for (const { name, kind } of entries) {
    const parsed = kind === "directory" ? parsePartitionDirectory(name) : undefined;
    if (parsed !== undefined) {
      if (options.topic !== null && parsed.topic !== options.topic) continue;
      const context = contextOf(source, options, surroundings, name);
      partitions.push(inspectPartition({ ...context, topic: parsed.topic, partition: parsed.index }, name));
    } else {
      files.push(inspectRootEntry(source, name, kind, surroundings));
    }
  }
  partitions.sort((a, b) => (a.topic === b.topic ? a.index - b.index : a.topic < b.topic ? -1 : 1));
  if (options.topic === null && surroundings.inUse !== true) {
    for (const file of files) if (file.kind === "checkpoint") compareOffsets(source, file, partitions);
  }
  return summarize({
    path: source.root,
    layout: "partitioned-log",
    scope: "directory",
    ...surroundings,
    files,
    partitions,
  });
}

/** Looks at one partition; what stands around it says whether it is in use, closed cleanly and compacted. */
export function inspectPartitionDirectory(source: Source, around: Source, options: InspectOptions): InspectionReport {
  const name = basename(source.root);
  const { topic, index } = parsePartitionDirectory(name)!;
  const surroundings = lookAround(around);
  const context = contextOf(source, options, surroundings, name);
  const partition = inspectPartition({ ...context, topic, partition: index }, "");
  return summarize({
    path: source.root,
    layout: "partitioned-log",
    scope: "partition",
    ...surroundings,
    files: [],
    partitions: [partition],
  });
}

/** Looks at one file of a partition; undefined if it is none. */
export function inspectLogFile(
  source: Source,
  name: string,
  around: Source | null,
  options: InspectOptions,
): InspectionReport | undefined {
  const directory = basename(source.root);
  const surroundings = around === null ? NOTHING_AROUND : lookAround(around);
  const report = inspectPartitionFile(contextOf(source, options, surroundings, directory), name);
  if (report === undefined) return undefined;
  const files = [report];
  return summarize({
    path: source.root,
    layout: "partitioned-log",
    scope: "file",
    ...surroundings,
    files,
    partitions: [],
  });
}

const NOTHING_AROUND: Surroundings = { inUse: null, closedCleanly: null, compacted: new Set() };

function lookAround(source: Source): Surroundings {
  const names = new Set(source.list().map(({ name }) => name));
  const inUse = names.has(LOCK_FILE) ? source.isLocked(LOCK_FILE) : null;
  const isLogDirectory = [LOCK_FILE, RECOVERY_POINT_CHECKPOINT, META_PROPERTIES].some((name) => names.has(name));
  let compacted = new Set<string>();
  if (names.has(CLEANER_CHECKPOINT)) {
    inspectText(source, CLEANER_CHECKPOINT, "checkpoint", (_report, content) => {
      compacted = new Set(decodeOffsets(content).keys());
    });
  }
  const isMarked = names.has(CLEAN_SHUTDOWN_MARKER);
  return { inUse, closedCleanly: isMarked ? true : isLogDirectory && inUse !== true ? false : null, compacted };
}

function contextOf(source: Source, options: InspectOptions, surroundings: Surroundings, directory: string) {
  const parsed = parsePartitionDirectory(directory);
  return {
    source,
    heap: options.heap,
    topic: parsed?.topic ?? null,
    partition: parsed?.index ?? null,
    inUse: surroundings.inUse === true,
    closedCleanly: surroundings.closedCleanly,
    isCompacted: surroundings.compacted.has(directory),
    isQuick: options.isQuick,
    onBatch: options.onBatch,
  };
}

function inspectRootEntry(
  source: Source,
  name: string,
  kind: "file" | "directory" | "other",
  { inUse }: Surroundings,
): FileReport {
  if (kind === "directory" && DELETED_DIRECTORY.test(name)) {
    const report = newFile(name, "leftover", 0);
    report.notes.push("A deleted partition, on its way out.");
    return report;
  }
  if (kind !== "file") return foreign(name, kind);
  if (name.endsWith(TEMPORARY_SUFFIX)) {
    const what = "it is a checkpoint that was not finished; opening the directory removes it.";
    return leftover(source, name, what, inUse === true);
  }
  const offset = CHECKPOINTS[name];
  if (offset !== undefined) {
    return inspectText(source, name, "checkpoint", (report, content) => {
      const offsets = decodeOffsets(content);
      report.entryCount = offsets.size;
      report.says = `${offset} of ${offsets.size === 1 ? "1 partition" : `${offsets.size} partitions`}`;
    });
  }
  if (name === CLEAN_SHUTDOWN_MARKER) {
    return source.inspect(name, "clean-shutdown-marker", (report) => {
      report.says = "closed cleanly";
    });
  }
  if (name === LOCK_FILE) {
    const report = newFile(name, "lock", 0); // opened once, to ask for the lock
    report.says = inUse === true ? "held by a process" : inUse === false ? "held by nobody" : "cannot be told";
    return report;
  }
  if (name === META_PROPERTIES) {
    return source.inspectSmall(name, "metadata", (report, content) => {
      const id = /^(?:node|broker)\.id=(\d{1,10})\s*$/m.exec(content.toString("latin1"))?.[1];
      report.says = id === undefined ? "a Kafka broker's" : `of the Kafka broker ${id}`;
    });
  }
  return foreign(name, kind);
}

/** A checkpoint beyond the end of its log says that messages are gone. */
function compareOffsets(source: Source, file: FileReport, partitions: readonly PartitionReport[]): void {
  if (file.damage !== null || file.path === CLEANER_CHECKPOINT) return;
  const ends = new Map(partitions.map(({ topic, index, log }) => [`${topic}-${index}`, log.endOffset]));
  inspectText(source, file.path, "checkpoint", (_report, content) => {
    for (const [name, offset] of decodeOffsets(content)) {
      const end = ends.get(name);
      if (end === undefined) file.notes.push(`It names ${name}, which is not there.`);
      else if (end !== null && offset > end) {
        const [topic, index] = [name.slice(0, name.lastIndexOf("-")), name.slice(name.lastIndexOf("-") + 1)];
        const at = Math.max(0, content.indexOf(`${topic} ${index} `));
        const what = `it names ${offset} as the ${CHECKPOINTS[file.path]} of ${name}, whose log ends at ${end}: messages are missing.`;
        blame(file, at, "lag", what);
      }
    }
  });
}
