import { basename, dirname, join, resolve } from "node:path";
import { MAGIC_V1, MAGIC_V2 } from "../codec/commitlog-message.js";
import { UNIT_SIZE_BYTES } from "../commitlog/consumequeue-unit.js";
import { COMMITLOG_DIRECTORY, CONSUMEQUEUE_DIRECTORY, parseOffsetFileName } from "../commitlog/names.js";
import {
  CLEAN_SHUTDOWN_MARKER,
  LOG_START_CHECKPOINT,
  parsePartitionDirectory,
  parseSegmentFile,
  RECOVERY_POINT_CHECKPOINT,
  SEGMENT_SUFFIXES,
} from "../partitioned-log/names.js";
import { inspectCommitlogFile, inspectQueueFiles, inspectStore, queuePlace } from "./commitlog.js";
import {
  type InspectOptions,
  inspectLogDirectory,
  inspectLogFile,
  inspectPartitionDirectory,
  META_PROPERTIES,
} from "./partitioned-log.js";
import type { InspectionReport } from "./report.js";
import { type ReadableStorage, Source } from "./source.js";

/** The path is nothing that can be inspected; the message says what was expected. */
export class NotRecognizedError extends Error {
  override name = "NotRecognizedError";
}

const EXPECTED =
  "Expected was a directory of partitions (TOPIC-0/…log, as Kafka's log.dirs), a RocketMQ store (commitlog/, consumequeue/), a partition's or queue's directory in one, or one of their files.";

/**
 * Tells what a directory or file of either engine, or of the originals, holds, and what is wrong with it. Reads only.
 * @throws NotRecognizedError; what `fs` throws if the path itself cannot be read
 */
export function inspect(storage: ReadableStorage, path: string, options: InspectOptions): InspectionReport {
  const absolute = resolve(path);
  const kind = kindOf(storage, absolute);
  if (kind === "absent") throw new NotRecognizedError(`There is no ${absolute}. ${EXPECTED}`);
  if (kind === "other")
    throw new NotRecognizedError(`${absolute} is neither a directory nor a regular file. ${EXPECTED}`);
  const report =
    kind === "directory" ? inspectDirectory(storage, absolute, options) : inspectFile(storage, absolute, options);
  if (report === undefined) {
    const hint = kind === "directory" ? nearby(storage, absolute) : "";
    throw new NotRecognizedError(`Nothing of either engine was recognized in ${absolute}. ${hint}${EXPECTED}`);
  }
  const { topic } = options;
  if (topic !== null && report.scope === "directory" && report.partitions.length === 0) {
    throw new NotRecognizedError(
      `There is no topic ${JSON.stringify(topic)} in ${absolute}. Leave --topic out to see all.`,
    );
  }
  return report;
}

/** By listing, so that nothing but a regular file is ever opened: a pipe would wait for a writer. */
function kindOf(storage: ReadableStorage, path: string): "file" | "directory" | "other" | "absent" {
  if (!storage.exists(path)) return "absent";
  try {
    storage.list(path);
    return "directory";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTDIR") throw error;
  }
  const entry = storage.list(dirname(path)).find(({ name }) => name === basename(path));
  return entry?.kind === "file" ? "file" : "other";
}

type Layout = "store" | "partitions" | "partition" | "queue";

function layoutOf(storage: ReadableStorage, path: string): Layout | undefined {
  const entries = storage.list(path);
  const isThere = (wanted: string, kind: "file" | "directory") =>
    entries.some((entry) => entry.name === wanted && entry.kind === kind);
  if (isThere(COMMITLOG_DIRECTORY, "directory")) return "store";
  const hasSegments = entries.some(({ name, kind }) => {
    return kind === "file" && SEGMENT_SUFFIXES.includes(parseSegmentFile(name)?.suffix ?? "");
  });
  if (hasSegments && parsePartitionDirectory(basename(path)) !== undefined) return "partition";
  const rootFiles = [CLEAN_SHUTDOWN_MARKER, RECOVERY_POINT_CHECKPOINT, LOG_START_CHECKPOINT, META_PROPERTIES];
  if (rootFiles.some((name) => isThere(name, "file"))) return "partitions";
  const hasPartition = entries.some(
    ({ name, kind }) =>
      kind === "directory" &&
      parsePartitionDirectory(name) !== undefined &&
      storage.list(join(path, name)).some((entry) => parseSegmentFile(entry.name) !== undefined),
  );
  if (hasPartition) return "partitions";
  const hasUnits = entries.some(({ name, kind }) => kind === "file" && parseOffsetFileName(name) !== undefined);
  if (hasUnits && queuePlace(path) !== undefined) return "queue";
  return isThere(CONSUMEQUEUE_DIRECTORY, "directory") ? "store" : undefined;
}

function inspectDirectory(
  storage: ReadableStorage,
  path: string,
  options: InspectOptions,
): InspectionReport | undefined {
  const source = new Source(storage, path);
  switch (layoutOf(storage, path)) {
    case "store":
      return inspectStore(source, options);
    case "partitions":
      return inspectLogDirectory(source, options);
    case "partition":
      return inspectPartitionDirectory(source, new Source(storage, dirname(path)), options);
    case "queue":
      return inspectQueueFiles(source, null, options);
    case undefined:
      return undefined;
  }
}

function inspectFile(storage: ReadableStorage, path: string, options: InspectOptions): InspectionReport | undefined {
  const directory = dirname(path);
  const name = basename(path);
  const source = new Source(storage, directory);
  if (parseOffsetFileName(name) !== undefined) {
    if (basename(directory) === COMMITLOG_DIRECTORY) return inspectCommitlogFile(source, name, options);
    if (queuePlace(directory) !== undefined) return inspectQueueFiles(source, name, options);
    const content = contentOf(storage, path);
    if (content === "log") return inspectCommitlogFile(source, name, options);
    return content === "units" ? inspectQueueFiles(source, name, options) : undefined;
  }
  const isInPartition = parsePartitionDirectory(basename(directory)) !== undefined;
  return inspectLogFile(source, name, isInPartition ? new Source(storage, dirname(directory)) : null, options);
}

/** Whether a file named after an offset begins as a commitlog or as a consumequeue does. */
function contentOf(storage: ReadableStorage, path: string): "log" | "units" | undefined {
  const file = storage.open(path, "read");
  try {
    const start = Buffer.alloc(UNIT_SIZE_BYTES);
    if (file.read(start, 0, UNIT_SIZE_BYTES, 0) < UNIT_SIZE_BYTES) return undefined;
    const magic = start.readInt32BE(4);
    if (magic === MAGIC_V1 || magic === MAGIC_V2) return "log";
    return file.sizeBytes() % UNIT_SIZE_BYTES === 0 && start.readInt32BE(8) > 0 ? "units" : undefined;
  } finally {
    file.close();
  }
}

/** A sentence on where to look instead: one directory up or down. */
function nearby(storage: ReadableStorage, path: string): string {
  const candidates = [dirname(path)];
  for (const { name, kind } of storage.list(path)) if (kind === "directory") candidates.push(join(path, name));
  const found = candidates.find((candidate) => {
    try {
      return layoutOf(storage, candidate) !== undefined;
    } catch {
      return false; // not ours to read
    }
  });
  return found === undefined ? "" : `Did you mean ${found}? `;
}
