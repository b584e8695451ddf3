/** What an inspection finds: plain data, printed by `text.ts` and, as it is, by `--json`. */

/** Raised when a field of the report changes its meaning or goes. */
export const REPORT_FORMAT_VERSION = 1;

export type FileKind =
  | "segment"
  | "offset-index"
  | "time-index"
  | "transaction-index"
  | "producer-snapshot"
  | "checkpoint"
  | "clean-shutdown-marker"
  | "abort-marker"
  | "lock"
  | "metadata"
  | "commitlog-file"
  | "consumequeue-file"
  | "key-index"
  | "leftover"
  | "foreign";

export type DamageKind =
  | "checksum"
  | "torn-tail"
  | "zero-tail"
  | "format"
  | "records"
  | "gap"
  | "overlap"
  | "order"
  | "target"
  | "lag"
  | "size"
  | "missing"
  | "leftover"
  | "unreadable";

/** The first thing wrong with a file. */
export interface Damage {
  readonly kind: DamageKind;
  /** Relative to the report's path. */
  readonly file: string;
  readonly positionBytes: number;
  /** Completes the sentence "FILE at byte N: …". */
  readonly what: string;
}

/** What a log file, or a whole partition, holds of sound messages. */
export interface LogFacts {
  /** Record batches; null in a commitlog, which has none. */
  batchCount: number | null;
  messageCount: number;
  /** Offset of the first message and of the next to come; null where nothing says so. */
  startOffset: number | null;
  endOffset: number | null;
  firstTimestampMs: number | null;
  lastTimestampMs: number | null;
  /** Batches, or a commitlog's messages, by codec. */
  readonly codecs: Record<string, number>;
}

export interface FileReport {
  /** Relative to the report's path. */
  readonly path: string;
  readonly kind: FileKind;
  sizeBytes: number;
  /** Of a segment or a commitlog file. */
  log: LogFacts | null;
  /** Of an index or a consumequeue. */
  entryCount: number | null;
  /** What a small file says, in a few words. */
  says: string | null;
  damage: Damage | null;
  readonly notes: string[];
}

/** A partition, or a queue of a commitlog. */
export interface PartitionReport {
  readonly topic: string;
  readonly index: number;
  readonly sizeBytes: number;
  readonly log: LogFacts;
  readonly files: readonly FileReport[];
}

export interface InspectionReport {
  readonly formatVersion: typeof REPORT_FORMAT_VERSION;
  /** Absolute; what the paths of files are relative to. */
  readonly path: string;
  readonly layout: "partitioned-log" | "commitlog";
  readonly scope: "directory" | "partition" | "file";
  /** Null where the part inspected does not tell. */
  readonly inUse: boolean | null;
  readonly closedCleanly: boolean | null;
  readonly topicCount: number;
  readonly sizeBytes: number;
  readonly log: LogFacts;
  readonly damage: readonly Damage[];
  readonly notes: readonly string[];
  /** Those that belong to no single partition. */
  readonly files: readonly FileReport[];
  readonly partitions: readonly PartitionReport[];
}

/** One record batch, or one record of a commitlog, as `--batches` lists it. */
export interface BatchLine {
  readonly file: string;
  readonly positionBytes: number;
  readonly sizeBytes: number;
  readonly topic: string | null;
  readonly partition: number | null;
  readonly startOffset: number;
  readonly messageCount: number;
  readonly timestampMs: number;
  readonly codec: string;
  readonly marks: readonly string[];
}

export function newFile(path: string, kind: FileKind, sizeBytes: number): FileReport {
  return { path, kind, sizeBytes, log: null, entryCount: null, says: null, damage: null, notes: [] };
}

/** Notes what is wrong with a file, unless something before that position is. */
export function blame(file: FileReport, positionBytes: number, kind: DamageKind, what: string): void {
  if (file.damage !== null && file.damage.positionBytes <= positionBytes) return;
  file.damage = { kind, file: file.path, positionBytes, what };
}

export function noFacts(batchCount: number | null): LogFacts {
  return {
    batchCount,
    messageCount: 0,
    startOffset: null,
    endOffset: null,
    firstTimestampMs: null,
    lastTimestampMs: null,
    codecs: {},
  };
}

export function noteTime(facts: LogFacts, timestampMs: number): void {
  facts.firstTimestampMs = Math.min(facts.firstTimestampMs ?? timestampMs, timestampMs);
  facts.lastTimestampMs = Math.max(facts.lastTimestampMs ?? timestampMs, timestampMs);
}

export function noteCodec(facts: LogFacts, codec: string, count = 1): void {
  facts.codecs[codec] = (facts.codecs[codec] ?? 0) + count;
}

/** Adds counts, times and codecs, not offsets: those of another partition mean something else. */
export function addFacts(total: LogFacts, part: LogFacts): void {
  if (total.batchCount !== null) total.batchCount += part.batchCount ?? 0;
  total.messageCount += part.messageCount;
  if (part.firstTimestampMs !== null) noteTime(total, part.firstTimestampMs);
  if (part.lastTimestampMs !== null) noteTime(total, part.lastTimestampMs);
  for (const [codec, count] of Object.entries(part.codecs)) noteCodec(total, codec, count);
}
