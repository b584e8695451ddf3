import Table from "cli-table3";
import { printable } from "../printable.js";
import type { BatchLine, Damage, FileReport, InspectionReport, LogFacts, PartitionReport } from "./report.js";
import { counted } from "./source.js";

/** Lines of a table that are printed unless all are asked for. */
const ROW_LIMIT = 40;

const FILE_KINDS: Readonly<Record<FileReport["kind"], string>> = {
  segment: "segment",
  "offset-index": "offset index",
  "time-index": "time index",
  "transaction-index": "aborted transactions",
  "producer-snapshot": "producers",
  checkpoint: "checkpoint",
  "clean-shutdown-marker": "clean shutdown",
  "abort-marker": "not closed",
  lock: "lock",
  metadata: "metadata",
  "commitlog-file": "commitlog",
  "consumequeue-file": "consumequeue",
  "key-index": "key index",
  leftover: "leftover",
  foreign: "foreign",
};

/** The report for people: a summary, then what is wrong, then tables. */
export function reportText(report: InspectionReport, showsAll: boolean): string {
  const { files, partitions, damage } = report;
  const limit = showsAll ? Number.POSITIVE_INFINITY : ROW_LIMIT;
  const sections = [summaryText(report), ...report.notes.map((note) => `Note: ${note}`), damageText(damage, limit)];
  const shownFiles = limited(files, limit, ({ damage: wrong }) => wrong !== null);
  if (files.length > 0) sections.push(fileTable(report.scope === "file" ? "File" : "Files", shownFiles));
  const shownPartitions = limited(partitions, limit, (partition) => damageOf(partition).length > 0);
  if (partitions.length > 0) sections.push(partitionTable(report, shownPartitions));
  const partitionFiles = partitions.flatMap((partition) => partition.files);
  if (partitionFiles.length > 0 && partitionFiles.length <= limit) {
    sections.push(
      fileTable(report.layout === "commitlog" ? "Files of the queues" : "Files of the partitions", {
        rows: partitionFiles,
        rest: 0,
      }),
    );
  } else if (partitionFiles.length > 0) {
    const wrong = partitionFiles.filter((file) => file.damage !== null).slice(0, limit);
    const rest = partitionFiles.length - wrong.length;
    if (wrong.length > 0) sections.push(fileTable("Files with damage", { rows: wrong, rest }));
  }
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}

/** One line for a record batch or a commitlog's record. */
export function batchText(line: BatchLine): string {
  const { file, positionBytes, sizeBytes, topic, partition, startOffset, messageCount, timestampMs, codec, marks } =
    line;
  const where = topic === null ? "" : `${topic}-${partition} `;
  const offsets =
    messageCount === 1 ? `offset ${startOffset}` : `offset ${startOffset}, ${counted(messageCount, "message")}`;
  const rest = [timeText(timestampMs), codec, ...marks].join(", ");
  return printable(`${file} byte ${positionBytes}: ${where}${offsets}, ${counted(sizeBytes, "byte")}, ${rest}`);
}

function summaryText(report: InspectionReport): string {
  const { path, scope, layout, log, partitions, topicCount } = report;
  const isCommitlog = layout === "commitlog";
  const what = {
    directory: isCommitlog ? "a commitlog store, in RocketMQ's layout" : "a partitioned log, in Kafka's layout",
    partition: isCommitlog ? "a queue of a commitlog store, in RocketMQ's layout" : "a partition, in Kafka's layout",
    file: isCommitlog
      ? "a file of a commitlog store, in RocketMQ's layout"
      : "a file of a partition, in Kafka's layout",
  }[scope];
  const rows: [string, string][] = [["state", stateText(report)]];
  const messages = counted(log.messageCount, "message");
  const inBatches = log.batchCount === null ? "" : ` in ${counted(log.batchCount, "record batch")}`;
  if (scope === "directory") {
    const parts = counted(partitions.length, isCommitlog ? "queue" : "partition");
    rows.push(["holds", `${counted(topicCount, "topic")}, ${parts}, ${messages}${inBatches}`]);
  } else if (log.messageCount > 0) {
    rows.push(["holds", `${messages}${inBatches}`]);
  }
  if (scope !== "directory" && log.endOffset !== null) rows.push(["offsets", offsetsText(log)]);
  if (log.firstTimestampMs !== null) {
    const kind = isCommitlog ? " (store times)" : "";
    rows.push(["times", `${timeText(log.firstTimestampMs)} to ${timeText(log.lastTimestampMs!)}${kind}`]);
  }
  rows.push(["size", bytesText(report.sizeBytes)]);
  if (Object.keys(log.codecs).length > 0) rows.push(["codecs", codecsText(log)]);
  return [printable(`${path}: ${what}`), ...rows.map(([name, text]) => printable(`  ${name.padEnd(8)} ${text}`))].join(
    "\n",
  );
}

function stateText({ inUse, closedCleanly, scope }: InspectionReport): string {
  if (inUse === true) return "in use: a process holds its lock, so that the ends of its files move";
  const lock =
    inUse === false
      ? "not in use"
      : scope === "directory"
        ? "without a lock file"
        : "whether it is in use cannot be told";
  if (closedCleanly === null) return lock;
  return closedCleanly ? `closed cleanly, ${lock}` : `not closed cleanly, ${lock}: opening it recovers it`;
}

function damageText(damage: readonly Damage[], limit: number): string {
  if (damage.length === 0) return "Nothing is wrong.";
  const shown = damage.slice(0, limit);
  const lines = shown.map(({ file, positionBytes, what }) => `  ${file} at byte ${positionBytes}: ${what}`);
  if (damage.length > shown.length) lines.push(`  and ${damage.length - shown.length} more; --all lists them.`);
  const title = `Wrong with ${counted(damage.length, "file")}, the first thing in each:`;
  return [title, ...lines].map(printable).join("\n");
}

interface Limited<T> {
  readonly rows: readonly T[];
  /** How many are left out. */
  readonly rest: number;
}

/** All rows if they are few, else those that are wrong. */
function limited<T>(rows: readonly T[], limit: number, isWrong: (row: T) => boolean): Limited<T> {
  const shown = rows.length <= limit ? rows : rows.filter(isWrong).slice(0, limit);
  return { rows: shown, rest: rows.length - shown.length };
}

function fileTable(title: string, { rows, rest }: Limited<FileReport>): string {
  const cells = rows.map((file) => [
    file.path,
    FILE_KINDS[file.kind],
    grouped(file.sizeBytes),
    contentText(file),
    verdict(file),
  ]);
  return table(title, ["file", "kind", "bytes", "content", ""], ["left", "left", "right", "left", "left"], cells, rest);
}

function partitionTable({ layout }: InspectionReport, { rows, rest }: Limited<PartitionReport>): string {
  const isCommitlog = layout === "commitlog";
  const cells = rows.map((partition) => {
    const { topic, index, log, sizeBytes, files } = partition;
    const wrong = damageOf(partition).length;
    const state = wrong > 0 ? `${counted(wrong, "file")} wrong` : "";
    const batches = isCommitlog
      ? []
      : [grouped(files.filter(({ kind }) => kind === "segment").length), grouped(log.batchCount!)];
    const times =
      log.firstTimestampMs === null ? ["", ""] : [timeText(log.firstTimestampMs), timeText(log.lastTimestampMs!)];
    return [
      topic,
      `${index}`,
      ...batches,
      grouped(log.messageCount),
      offsetsText(log),
      ...times,
      grouped(sizeBytes),
      codecsText(log),
      state,
    ];
  });
  const head = [
    ...(isCommitlog ? ["topic", "queue"] : ["topic", "partition", "segments", "batches"]),
    ...["messages", "offsets", "first", "last", "bytes", "codecs", ""],
  ];
  const numbers = new Set(["queue", "partition", "segments", "batches", "messages", "bytes"]);
  const aligns = head.map((name) => (numbers.has(name) ? ("right" as const) : ("left" as const)));
  return table(isCommitlog ? "Queues" : "Partitions", head, aligns, cells, rest);
}

function table(
  title: string,
  head: readonly string[],
  colAligns: ("left" | "right")[],
  cells: readonly (readonly string[])[],
  rest: number,
): string {
  const more = rest === 0 ? "" : `${rest} more without damage, or beyond the limit; --all lists them.`;
  if (cells.length === 0) return `${title}: ${more}`;
  const drawn = new Table({ head: [...head], colAligns, style: { head: [], border: [], compact: true } });
  for (const row of cells) drawn.push(row.map(printable));
  return [`${title}:`, drawn.toString(), ...(more === "" ? [] : [more])].join("\n");
}

function contentText({ log, entryCount, says, notes, kind }: FileReport): string {
  const parts: string[] = [];
  if (log !== null) {
    const inBatches = log.batchCount === null ? "" : ` in ${counted(log.batchCount, "batch")}`;
    parts.push(`${counted(log.messageCount, "message")}${inBatches}`);
    if (log.endOffset !== null) parts.push(`offsets ${offsetsText(log)}`);
    if (log.firstTimestampMs !== null)
      parts.push(`${timeText(log.firstTimestampMs)} to ${timeText(log.lastTimestampMs!)}`);
  } else if (says !== null) {
    parts.push(says);
  } else if (entryCount !== null) {
    parts.push(counted(entryCount, kind === "consumequeue-file" ? "unit" : kind === "key-index" ? "item" : "entry"));
  }
  return [parts.join("; "), ...notes].filter((part) => part !== "").join("\n");
}

function verdict({ damage }: FileReport): string {
  return damage === null ? "" : `wrong at byte ${damage.positionBytes}`;
}

function damageOf({ files }: PartitionReport): Damage[] {
  return files.flatMap(({ damage }) => (damage === null ? [] : [damage]));
}

function offsetsText({ startOffset, endOffset }: LogFacts): string {
  if (startOffset === null || endOffset === null) return "";
  return startOffset === endOffset ? `none, next ${endOffset}` : `${startOffset} to ${endOffset - 1}`;
}

function codecsText({ codecs }: LogFacts): string {
  return Object.entries(codecs)
    .map(([codec, count]) => `${codec} ${grouped(count)}`)
    .join(", ");
}

function timeText(timestampMs: number): string {
  const time = new Date(timestampMs);
  return Number.isNaN(time.getTime()) || timestampMs < 0 ? `${timestampMs} ms` : time.toISOString();
}

export function bytesText(sizeBytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const step = sizeBytes < 1_024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(sizeBytes) / 10));
  const exact = counted(sizeBytes, "byte");
  return step === 0 ? exact : `${(sizeBytes / 1_024 ** step).toFixed(1)} ${units[step]} (${grouped(sizeBytes)} bytes)`;
}

function grouped(count: number): string {
  return count.toLocaleString("en-US").replaceAll(",", " ");
}
