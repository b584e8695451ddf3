import { join } from "node:path";
import type { Storage } from "../storage/storage.js";
import { decodeEpochs, type EpochEntry } from "./checkpoints.js";
import {
  LEADER_EPOCH_CHECKPOINT,
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseSegmentFile,
  TIME_INDEX_SUFFIX,
} from "./names.js";
import type { LoadedLog } from "./partition-log.js";
import { Segment } from "./segment.js";
import type { SegmentScanner } from "./segment-scanner.js";
import type { PartitionedLogSettings } from "./settings.js";

/** Counts what opening a directory finds and mends. */
export class RepairLog {
  scannedBytes = 0;
  truncatedBytes = 0;
  rebuiltIndexes = 0;
  droppedFiles = 0;
  readonly repairs: string[] = [];
}

export interface LoadOptions {
  readonly storage: Storage;
  readonly settings: PartitionedLogSettings;
  readonly scanner: SegmentScanner;
  readonly report: RepairLog;
  readonly directory: string;
  readonly wasCleanShutdown: boolean;
  /** As checkpointed; 0 if it was not. */
  readonly recoveryPoint: number;
  readonly startOffset: number;
}

/** What decides how a segment is opened. */
export interface SegmentFacts {
  readonly wasCleanShutdown: boolean;
  readonly isLast: boolean;
  readonly hasOffsetIndex: boolean;
  /** All of it was synced, indexes included, before the recovery point was checkpointed. */
  readonly isBelowRecoveryPoint: boolean;
}

export type SegmentAction = "trust" | "verify the tail" | "scan";

/**
 * How a segment is opened: the first case that applies.
 *
 * "trust" reads nothing; its indexes are checked when a reader first needs them. "verify the tail" checks the last index
 * entry against the log and every batch from there on, and scans if the entry lies. "scan" checks every batch, rebuilds
 * both indexes, and cuts the log at the first batch that is not sound.
 *
 * Better than Kafka: it trusts the tail after a clean shutdown, so a torn tail stays and the next append lands behind
 * the garbage, and zeros or an untrimmed index make loading fail or the first append roll.
 */
export const SEGMENT_CASES: readonly {
  readonly name: string;
  readonly applies: (facts: SegmentFacts) => boolean;
  readonly action: SegmentAction;
}[] = [
  { name: "the offset index is missing", applies: (facts) => !facts.hasOffsetIndex, action: "scan" },
  { name: "clean, the last", applies: (facts) => facts.wasCleanShutdown && facts.isLast, action: "verify the tail" },
  { name: "clean, ended", applies: (facts) => facts.wasCleanShutdown, action: "trust" },
  { name: "crashed, synced before", applies: (facts) => facts.isBelowRecoveryPoint, action: "trust" },
  { name: "crashed", applies: () => true, action: "scan" },
];

/** Loads a partition's directory and mends what a crash left there. Nothing that it changes is durable yet. */
export function loadLog(options: LoadOptions): LoadedLog {
  const { storage, settings, directory } = options;
  const epochs = loadEpochs(options);
  const segments = listSegments(options);
  let isDirty = false;
  let endOffset = options.startOffset;
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i]!;
    const isLast = i + 1 === segments.length;
    const facts: SegmentFacts = {
      wasCleanShutdown: options.wasCleanShutdown,
      isLast,
      hasOffsetIndex: segment.hasOffsetIndexFile(),
      isBelowRecoveryPoint: !isLast && segments[i + 1]!.baseOffset <= options.recoveryPoint,
    };
    let { action } = SEGMENT_CASES.find((each) => each.applies(facts))!;
    segment.open("write");
    if (action === "verify the tail") {
      const tail = verifyTail(segment, options);
      if (tail === undefined) action = "scan";
      else endOffset = tail;
    }
    if (action === "scan") {
      const found = scan(segment, options, isLast ? "refused" : "allowed", epochs);
      endOffset = found.endOffset;
      isDirty = true;
      if (found.lostBytes > 0 && !isLast) {
        for (const dropped of segments.splice(i + 1)) dropSegment(dropped, options);
      }
    }
    if (i + 1 < segments.length) segment.unload();
  }
  if (segments.length === 0 || endOffset < options.startOffset) {
    for (const segment of segments.splice(0)) dropSegment(segment, options);
    const segment = new Segment(storage, settings, directory, options.startOffset);
    segment.create();
    segments.push(segment);
    endOffset = options.startOffset;
    isDirty = true;
  }
  const kept = epochs.filter((entry) => entry.startOffset < endOffset);
  return {
    segments,
    startOffset: Math.max(options.startOffset, segments[0]!.baseOffset),
    endOffset,
    recoveryPoint: options.wasCleanShutdown && !isDirty ? endOffset : Math.min(options.recoveryPoint, endOffset),
    epochs: kept,
    leaderEpoch: epochs.at(-1)?.epoch ?? 0,
    isDirty,
  };
}

/**
 * Rebuilds both indexes of a segment from its log, in memory. `sizeBytes` becomes that of the sound batches at the front.
 * @returns the offset after the last sound batch, and what follows it
 */
export function rebuildIndexes(
  segment: Segment,
  scanner: SegmentScanner,
  gaps: "refused" | "allowed",
  epochs: EpochEntry[],
): { endOffset: number; fault: string | null } {
  const { batch } = scanner;
  scanner.start(segment, 0, segment.baseOffset, gaps, Number.POSITIVE_INFINITY);
  segment.resetIndexes();
  segment.sizeBytes = 0;
  let endOffset = segment.baseOffset;
  for (;;) {
    const fault = scanner.next(Number.POSITIVE_INFINITY);
    if (fault !== null) return { endOffset, fault: fault === "end" ? null : fault };
    if (batch.lastOffset - segment.baseOffset > 0x7fff_ffff)
      return { endOffset, fault: "an offset too far from the base" };
    segment.noteBatch(batch.lastOffset, batch.maxTimestamp, batch.sizeBytes);
    endOffset = batch.lastOffset + 1;
    const latestEpoch = epochs.at(-1)?.epoch ?? -1;
    if (batch.leaderEpoch > latestEpoch) epochs.push({ epoch: batch.leaderEpoch, startOffset: batch.baseOffset });
  }
}

function loadEpochs({ storage, directory, report }: LoadOptions): EpochEntry[] {
  const path = join(directory, LEADER_EPOCH_CHECKPOINT);
  if (!storage.exists(path)) return [];
  try {
    return decodeEpochs(storage.readAll(path));
  } catch (error) {
    report.repairs.push(`${path} was unreadable (${(error as Error).message}) and is written anew.`);
    return [];
  }
}

/** The segments by their `.log` files, ascending; removes what no segment owns. */
function listSegments({ storage, settings, directory, report }: LoadOptions): Segment[] {
  const files = storage.list(directory).filter((entry) => entry.kind === "file");
  const segments: Segment[] = [];
  const bases = new Set<number>();
  for (const { name } of files) {
    const parsed = parseSegmentFile(name);
    if (parsed?.suffix !== LOG_SUFFIX) continue;
    bases.add(parsed.baseOffset);
    segments.push(new Segment(storage, settings, directory, parsed.baseOffset));
  }
  for (const { name } of files) {
    const parsed = parseSegmentFile(name);
    const isIndex = parsed?.suffix === OFFSET_INDEX_SUFFIX || parsed?.suffix === TIME_INDEX_SUFFIX;
    const isOrphan = isIndex && !bases.has(parsed!.baseOffset);
    if (!isOrphan && !/\.(deleted|cleaned|tmp)$/.test(name)) continue;
    storage.remove(join(directory, name));
    report.droppedFiles++;
    report.repairs.push(`${join(directory, name)} was a leftover and is removed.`);
  }
  return segments;
}

/** @returns the end offset, or undefined if the index does not fit the log */
function verifyTail(segment: Segment, { scanner, report }: LoadOptions): number | undefined {
  if (!segment.loadIndexes()) return undefined;
  const index = segment.offsetIndex!;
  const entry = index.entryCount - 1;
  let endOffset = segment.baseOffset;
  if (entry < 0) {
    scanner.start(segment, 0, segment.baseOffset, "refused", TAIL_READ_BYTES);
  } else {
    scanner.start(segment, index.position(entry), segment.baseOffset, "allowed", TAIL_READ_BYTES);
    if (scanner.next(Number.POSITIVE_INFINITY) !== null) return undefined;
    if (scanner.batch.lastOffset !== segment.baseOffset + index.relativeOffset(entry)) return undefined;
    scanner.proceed("refused");
    report.scannedBytes += scanner.batch.sizeBytes;
    endOffset = scanner.batch.lastOffset + 1;
  }
  for (;;) {
    const fault = scanner.next(Number.POSITIVE_INFINITY);
    if (fault === "end") return endOffset;
    if (fault !== null) return undefined;
    report.scannedBytes += scanner.batch.sizeBytes;
    segment.noteTimestamp(scanner.batch.maxTimestamp, scanner.batch.lastOffset);
    endOffset = scanner.batch.lastOffset + 1;
  }
}

const TAIL_READ_BYTES = 32 * 1_024;

function scan(
  segment: Segment,
  { scanner, report }: LoadOptions,
  gaps: "refused" | "allowed",
  epochs: EpochEntry[],
): { endOffset: number; lostBytes: number } {
  const fileSizeBytes = segment.sizeBytes;
  const { endOffset, fault } = rebuildIndexes(segment, scanner, gaps, epochs);
  report.scannedBytes += fileSizeBytes;
  report.rebuiltIndexes += 2;
  const lostBytes = fileSizeBytes - segment.sizeBytes;
  if (fault !== null) {
    report.truncatedBytes += lostBytes;
    report.repairs.push(`${segment.path} was cut by ${lostBytes} bytes at byte ${segment.sizeBytes}: ${fault}.`);
    segment.truncateFile();
  }
  segment.writeIndexes();
  return { endOffset, lostBytes };
}

function dropSegment(segment: Segment, { report }: LoadOptions): void {
  report.droppedFiles += segment.remove();
  report.repairs.push(`${segment.path} was dropped: what came before it is lost.`);
}
