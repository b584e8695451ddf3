import { crc32c } from "../codec/checksums.js";
import { UnrepresentableError } from "../errors.js";
import type { Heap } from "../heap.js";
import { decodeEpochs, type EpochEntry } from "../partitioned-log/checkpoints.js";
import {
  LEADER_EPOCH_CHECKPOINT,
  LOG_SUFFIX,
  PRODUCER_SNAPSHOT_SUFFIX,
  parseSegmentFile,
  SEGMENT_SUFFIXES,
  segmentStem,
} from "../partitioned-log/names.js";
import { addFacts, blame, type FileReport, type LogFacts, newFile, noFacts, type PartitionReport } from "./report.js";
import { inspectSegment, type SegmentContext } from "./segment.js";
import { counted, type Source } from "./source.js";

const PARTITION_METADATA = "partition.metadata";
/** What Kafka appends to the names of files that are not, or no longer, part of a log. */
const LEFTOVER_PATTERN = /\.(deleted|cleaned|swap|tmp)$/;
const LEFTOVER_TEXTS: Readonly<Record<string, string>> = {
  cleaned: "it is the beginning of a compaction that did not finish; opening the directory removes it.",
  swap: "it is a compacted segment that did not get its name yet; opening the directory finishes that.",
  tmp: "it is a checkpoint that was not finished; opening the directory removes it.",
};
const SNAPSHOT_HEADER_SIZE_BYTES = 2 + 4 + 4;
const SNAPSHOT_ENTRY_SIZE_BYTES = 46;
const ABORTED_TRANSACTION_SIZE_BYTES = 2 + 8 + 8 + 8 + 8;

/** Looks at the directory of one partition. @param directory relative to the source; "" is the source's root */
export function inspectPartition(
  around: Omit<SegmentContext, "epochs"> & { readonly topic: string; readonly partition: number },
  directory: string,
): PartitionReport {
  const { source, topic, partition } = around;
  const at = (name: string) => (directory === "" ? name : `${directory}/${name}`);
  const context = { ...around, epochs: readEpochs(source, at(LEADER_EPOCH_CHECKPOINT)) };
  const files: FileReport[] = [];
  const suffixesByBase = new Map<number, Set<string>>();
  for (const { name, kind } of source.list(directory, files)) {
    const parsed = kind === "file" ? parseSegmentFile(name) : undefined;
    if (parsed !== undefined && SEGMENT_SUFFIXES.includes(parsed.suffix)) {
      const suffixes = suffixesByBase.get(parsed.baseOffset) ?? new Set();
      suffixesByBase.set(parsed.baseOffset, suffixes.add(parsed.suffix));
    } else {
      files.push(inspectOther(source, at(name), name, kind, context));
    }
  }

  const bases = [...suffixesByBase.keys()].sort((a, b) => a - b);
  const withLog = bases.filter((base) => suffixesByBase.get(base)!.has(LOG_SUFFIX));
  const segments: FileReport[] = [];
  const log = noFacts(0);
  for (const baseOffset of bases) {
    const suffixes = suffixesByBase.get(baseOffset)!;
    const stem = at(segmentStem(baseOffset));
    if (!suffixes.has(LOG_SUFFIX)) {
      for (const suffix of suffixes) segments.push(inspectOrphan(source, stem + suffix));
      continue;
    }
    const nextBaseOffset = withLog[withLog.indexOf(baseOffset) + 1] ?? null;
    const reports = inspectSegment(context, { stem, baseOffset, nextBaseOffset, suffixes });
    segments.push(...reports);
    const facts = reports[0]!.log;
    if (facts !== null) join(log, facts);
    const transactions = `${stem}.txnindex`;
    if (suffixes.has(".txnindex")) segments.push(inspectTransactionIndex(source, transactions));
  }
  const all = [...segments, ...files];
  return { topic, index: partition, sizeBytes: totalSizeBytes(all), log, files: all };
}

/** Looks at one file of a partition by itself; undefined if it is none that Kafka or this engine makes. */
export function inspectPartitionFile(around: Omit<SegmentContext, "epochs">, name: string): FileReport | undefined {
  const { source } = around;
  const context = { ...around, epochs: readEpochs(source, LEADER_EPOCH_CHECKPOINT) };
  const parsed = parseSegmentFile(name);
  if (parsed === undefined || !SEGMENT_SUFFIXES.includes(parsed.suffix)) {
    const report = inspectOther(source, name, name, "file", context);
    return report.kind === "foreign" ? undefined : report;
  }
  if (parsed.suffix === ".txnindex") return inspectTransactionIndex(source, name);
  const stem = segmentStem(parsed.baseOffset);
  const suffixes = new Set([LOG_SUFFIX, parsed.suffix]);
  if (!source.exists(stem + LOG_SUFFIX)) return inspectOrphan(source, name);
  const place = { stem, baseOffset: parsed.baseOffset, nextBaseOffset: undefined, suffixes };
  const reports = inspectSegment(context, place);
  return reports.find(({ path }) => path === name);
}

export function totalSizeBytes(files: readonly { readonly sizeBytes: number }[]): number {
  return files.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
}

/** A file, or something else, that a crash or a running engine leaves for a while. */
export function leftover(source: Source, path: string, what: string, inUse: boolean): FileReport {
  return source.inspect(path, "leftover", (report) => {
    if (inUse) report.notes.push("The engine that runs here is about to remove it, or to finish it.");
    else blame(report, 0, "leftover", what);
  });
}

/** Kafka removes what it renamed so a minute later, or when it opens the directory again: nothing is wrong with that. */
export function deleted(source: Source, path: string): FileReport {
  return source.inspect(path, "leftover", (report) => {
    report.notes.push("Marked for deletion, and on its way out.");
  });
}

/** Something that is neither engine's. */
export function foreign(path: string, kind: "file" | "directory" | "other"): FileReport {
  const report = newFile(path, "foreign", 0);
  const what = kind === "file" ? "file" : kind === "directory" ? "directory" : "link, pipe or device";
  report.notes.push(`A ${what} that belongs to neither engine; it was not opened.`);
  return report;
}

function join(log: LogFacts, segment: LogFacts): void {
  addFacts(log, segment);
  log.startOffset ??= segment.startOffset;
  log.endOffset = segment.endOffset;
}

function inspectOther(
  source: Source,
  path: string,
  name: string,
  kind: "file" | "directory" | "other",
  { heap, inUse }: { readonly heap: Heap; readonly inUse: boolean },
): FileReport {
  if (kind !== "file") return foreign(path, kind);
  const suffix = LEFTOVER_PATTERN.exec(name)?.[1];
  if (suffix === "deleted") return deleted(source, path);
  if (suffix !== undefined) return leftover(source, path, LEFTOVER_TEXTS[suffix]!, inUse);
  if (name === LEADER_EPOCH_CHECKPOINT) return inspectEpochs(source, path);
  if (name === PARTITION_METADATA) return inspectMetadata(source, path);
  if (parseSegmentFile(name)?.suffix === PRODUCER_SNAPSHOT_SUFFIX) return inspectSnapshot(source, heap, path);
  return foreign(path, kind);
}

function inspectOrphan(source: Source, path: string): FileReport {
  return source.inspect(path, "leftover", (report) => {
    blame(report, 0, "leftover", "the log that it belongs to is not there; opening the directory removes it.");
  });
}

function inspectTransactionIndex(source: Source, path: string): FileReport {
  return source.inspectSmall(path, "transaction-index", (report, content) => {
    report.entryCount = Math.floor(content.byteLength / ABORTED_TRANSACTION_SIZE_BYTES);
    for (let at = 0; at + ABORTED_TRANSACTION_SIZE_BYTES <= content.byteLength; at += ABORTED_TRANSACTION_SIZE_BYTES) {
      const version = content.readInt16BE(at);
      if (version !== 0) {
        blame(report, at, "format", `an aborted transaction of version ${version}, not 0.`);
        return;
      }
      if (content.readBigInt64BE(at + 10) > content.readBigInt64BE(at + 18)) {
        blame(report, at, "format", "an aborted transaction that ends before it begins.");
        return;
      }
    }
    const rest = content.byteLength % ABORTED_TRANSACTION_SIZE_BYTES;
    if (rest !== 0)
      blame(
        report,
        content.byteLength - rest,
        "size",
        `it ends with ${counted(rest, "byte")} that are no whole entry.`,
      );
  });
}

function inspectSnapshot(source: Source, heap: Heap, path: string): FileReport {
  return source.inspectSmall(path, "producer-snapshot", (report, content) => {
    if (content.byteLength < SNAPSHOT_HEADER_SIZE_BYTES) {
      blame(
        report,
        0,
        "size",
        `it is ${counted(content.byteLength, "byte")} long, and its header alone takes ${SNAPSHOT_HEADER_SIZE_BYTES}.`,
      );
      return;
    }
    const version = content.readInt16BE(0);
    if (version !== 1) {
      blame(report, 0, "format", `it is of version ${version}, and only 1 is known.`);
      return;
    }
    const checked = heap.place(content.subarray(6));
    const crc = crc32c(checked.byteOffset, checked.byteLength);
    heap.release(checked.byteOffset);
    if (crc !== content.readUInt32BE(2)) {
      blame(report, 2, "checksum", "its content does not match its checksum.");
      return;
    }
    const entryCount = content.readInt32BE(6);
    if (SNAPSHOT_HEADER_SIZE_BYTES + entryCount * SNAPSHOT_ENTRY_SIZE_BYTES !== content.byteLength) {
      blame(
        report,
        6,
        "size",
        `it announces ${counted(entryCount, "producer")} in ${counted(content.byteLength, "byte")}.`,
      );
      return;
    }
    report.entryCount = entryCount;
    report.says = counted(entryCount, "producer");
  });
}

/** What the checkpoint says, nothing if it is not there or says nothing: `inspectEpochs` judges it. */
function readEpochs(source: Source, path: string): readonly EpochEntry[] {
  let epochs: readonly EpochEntry[] = [];
  inspectText(source, path, "checkpoint", (_report, content) => {
    epochs = decodeEpochs(content);
  });
  return epochs;
}

function inspectEpochs(source: Source, path: string): FileReport {
  return inspectText(source, path, "checkpoint", (report, content) => {
    const epochs = decodeEpochs(content);
    report.entryCount = epochs.length;
    const last = epochs.at(-1);
    report.says = last === undefined ? "no epoch" : `epoch ${last.epoch} since offset ${last.startOffset}`;
    for (const [i, { epoch, startOffset }] of epochs.entries()) {
      const before = epochs[i - 1];
      if (before === undefined || (epoch > before.epoch && startOffset >= before.startOffset)) continue;
      const what = `epoch ${epoch} from offset ${startOffset} follows epoch ${before.epoch} from offset ${before.startOffset}.`;
      blame(report, lineStart(content, i + 2), "order", what);
      return;
    }
  });
}

function inspectMetadata(source: Source, path: string): FileReport {
  return source.inspectSmall(path, "metadata", (report, content) => {
    const id = /^version: 0\ntopic_id: ([A-Za-z0-9_-]{22})\n?$/.exec(content.toString("latin1"))?.[1];
    if (id === undefined) blame(report, 0, "format", 'it is not "version: 0" and a topic_id on two lines.');
    else report.says = `topic id ${id}`;
  });
}

/** A checkpoint that the engine's own decoder refuses is damaged. */
export function inspectText(
  source: Source,
  path: string,
  kind: "checkpoint",
  look: (report: FileReport, content: Buffer) => void,
): FileReport {
  return source.inspectSmall(path, kind, (report, content) => {
    try {
      look(report, content);
    } catch (error) {
      if (!(error instanceof UnrepresentableError)) throw error;
      blame(report, 0, "format", error.message.charAt(0).toLowerCase() + error.message.slice(1));
    }
  });
}

/** Position of a line, the first being 0. */
function lineStart(content: Buffer, line: number): number {
  let at = 0;
  for (let i = 0; i < line; i++) at = content.indexOf(0x0a, at) + 1;
  return at;
}
