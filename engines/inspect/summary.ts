import {
  addFacts,
  type FileReport,
  type InspectionReport,
  noFacts,
  type PartitionReport,
  REPORT_FORMAT_VERSION,
} from "./report.js";

interface Parts extends Pick<InspectionReport, "path" | "layout" | "scope" | "inUse" | "closedCleanly"> {
  readonly files: readonly FileReport[];
  readonly partitions: readonly PartitionReport[];
  readonly notes?: readonly string[];
}

/** Makes the report of its parts. */
export function summarize(parts: Parts): InspectionReport {
  const { path, layout, scope, inUse, closedCleanly, files, partitions } = parts;
  const log = noFacts(layout === "commitlog" ? null : 0);
  for (const partition of partitions) addFacts(log, partition.log);
  if (partitions.length === 1) {
    log.startOffset = partitions[0]!.log.startOffset;
    log.endOffset = partitions[0]!.log.endOffset;
  } else if (partitions.length === 0 && files.length === 1 && files[0]!.log !== null) {
    addFacts(log, files[0]!.log);
    log.startOffset = files[0]!.log.startOffset;
    log.endOffset = files[0]!.log.endOffset;
  }
  const all = [...files, ...partitions.flatMap((partition) => partition.files)];
  return {
    formatVersion: REPORT_FORMAT_VERSION,
    path,
    layout,
    scope,
    inUse,
    closedCleanly,
    topicCount: new Set(partitions.map(({ topic }) => topic)).size,
    sizeBytes: all.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    log,
    damage: all.flatMap(({ damage }) => (damage === null ? [] : [damage])),
    notes: parts.notes ?? [],
    files,
    partitions,
  };
}
