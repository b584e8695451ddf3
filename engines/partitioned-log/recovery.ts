import { join } from "node:path";
import type { RecordBatchReader } from "../codec/record-batch.js";
import { OpenError } from "../errors.js";
import type { Storage } from "../storage/storage.js";
import { decodeEpochs, type EpochEntry } from "./checkpoints.js";
import {
  DELETED_SUFFIX,
  LEADER_EPOCH_CHECKPOINT,
  LOG_SUFFIX,
  PRODUCER_SNAPSHOT_SUFFIX,
  parseSegmentFile,
  SEGMENT_SUFFIXES,
  segmentStem,
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

  /** @param beforeChange to be called before each change that opening makes to the directory */
  constructor(readonly beforeChange: () => void = () => {}) {}
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
  /** Kafka's log cleaner has worked here: segments may end below the next one's base. */
  readonly isCompacted: boolean;
}

/** What decides how a segment is opened. */
export interface SegmentFacts {
  readonly wasCleanShutdown: boolean;
  readonly isLast: boolean;
  readonly hasOffsetIndex: boolean;
  /** All of it was synced, indexes included, before the recovery point was checkpointed. */
  readonly isBelowRecoveryPoint: boolean;
}

/**
 * How a segment is opened: the first case that applies.
 *
 * "trust" reads nothing; its indexes are checked when a reader first needs them. "verify the tail" checks the last index
 * entry against the log and every batch from there on, and scans if either lies. "scan" checks every batch and rebuilds
 * both indexes.
 *
 * Better than Kafka, which trusts all after a clean shutdown: there a torn tail stays and the next append lands behind
 * the garbage, zeros make loading fail, and an untrimmed index makes the first append roll.
 */
export const SEGMENT_CASES: readonly {
  readonly name: string;
  readonly applies: (facts: SegmentFacts) => boolean;
  readonly action: "trust" | "verify the tail" | "scan";
}[] = [
  { name: "the offset index is missing", applies: (facts) => !facts.hasOffsetIndex, action: "scan" },
  { name: "clean, the last", applies: (facts) => facts.wasCleanShutdown && facts.isLast, action: "verify the tail" },
  { name: "clean, ended", applies: (facts) => facts.wasCleanShutdown, action: "trust" },
  { name: "crashed, synced before", applies: (facts) => facts.isBelowRecoveryPoint, action: "trust" },
  { name: "crashed", applies: () => true, action: "scan" },
];

/** What a scan met where a batch should be, or at the end of a segment that is not the last. */
export interface DamageFacts {
  /** The bytes were synced before the recovery point was checkpointed. */
  readonly isBelowRecoveryPoint: boolean;
  /** Behind the damage lies a sound batch of a higher offset in this segment, or a segment that was synced, too. */
  readonly soundDataFollows: boolean;
  /** The next segment begins with the offset that the damage stands in the place of. */
  readonly nextSegmentContinues: boolean;
}

/**
 * What becomes of damage: the first case that applies.
 *
 * "keep" leaves the damaged batch and all behind it in place; a fetch of its offsets says so. "cut the noise" cuts the
 * segment and keeps the later ones, as no offset is missing between. "cut" ends the log before it: later bytes and
 * segments go, as what was written last without a sync may have reached the disk in any order, and keeping what lies
 * behind a hole would serve messages without the ones before them.
 *
 * Better than Kafka, which cuts in all cases and so throws away synced messages because of one rotten bit before them,
 * and whole segments because of bytes that hold no message.
 */
export const DAMAGE_CASES: readonly {
  readonly name: string;
  readonly applies: (facts: DamageFacts) => boolean;
  readonly action: "keep" | "cut the noise" | "cut";
}[] = [
  { name: "noise between two segments", applies: (facts) => facts.nextSegmentContinues, action: "cut the noise" },
  {
    name: "rot in synced data",
    applies: (facts) => facts.isBelowRecoveryPoint && facts.soundDataFollows,
    action: "keep",
  },
  { name: "the end that a crash left", applies: () => true, action: "cut" },
];

/** Files that a crash can leave beside the segments, and why they go. */
export const LEFTOVERS: readonly { readonly suffix: string; readonly what: string }[] = [
  { suffix: DELETED_SUFFIX, what: "was marked for deletion" },
  { suffix: ".cleaned", what: "was an unfinished compaction" },
  { suffix: ".tmp", what: "was an unfinished checkpoint" },
];
const SWAP_SUFFIX = ".swap";
const CLEANED_SUFFIX = ".cleaned";

/**
 * Loads a partition's directory and mends what a crash left there. Nothing that it changes is durable yet; until it is,
 * a second crash leaves either state, and both are mended to the same.
 */
export function loadLog(options: LoadOptions): LoadedLog {
  const { report } = options;
  const epochs = loadEpochs(options);
  const droppedBefore = report.droppedFiles;
  const segments = listSegments(options);
  let isDirty = report.droppedFiles > droppedBefore;
  let endOffset = options.startOffset;
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i]!;
    const next = segments[i + 1];
    const facts: SegmentFacts = {
      wasCleanShutdown: options.wasCleanShutdown,
      isLast: next === undefined,
      hasOffsetIndex: segment.hasOffsetIndexFile(),
      isBelowRecoveryPoint: next !== undefined && next.baseOffset <= options.recoveryPoint,
    };
    let { action } = SEGMENT_CASES.find((each) => each.applies(facts))!;
    segment.open("write");
    if (action === "verify the tail") {
      const verified = verifyTail(segment, options);
      if (verified === undefined) action = "scan";
      else endOffset = verified;
    }
    if (action === "scan") {
      isDirty = true;
      const found = scan(segment, next, options, epochs);
      endOffset = found.endOffset;
      const mayEndEarly =
        facts.wasCleanShutdown || facts.isBelowRecoveryPoint || options.isCompacted || found.wasCompacted;
      const endsEarly = next !== undefined && endOffset < next.baseOffset;
      if (found.endsLog || (endsEarly && !mayEndEarly)) {
        for (const dropped of segments.splice(i + 1)) dropSegment(dropped, segment, options);
      } else if (endsEarly && !options.isCompacted && !found.wasCompacted) {
        const missing = `offsets ${endOffset} to ${next.baseOffset - 1} are missing, the later segments are kept`;
        report.repairs.push(`${segment.path} ends before the next segment begins: ${missing}.`);
      }
    }
    if (i + 1 < segments.length) segment.unload();
  }
  if (segments.length === 0 || endOffset < options.startOffset) {
    for (const segment of segments.splice(0)) dropSegment(segment, segment, options);
    segments.push(createFirst(options));
    endOffset = options.startOffset;
    isDirty = true;
  }
  if (isDirty) dropSnapshotsBeyond(endOffset, options);
  return {
    segments,
    startOffset: Math.max(options.startOffset, segments[0]!.baseOffset),
    endOffset,
    recoveryPoint: options.wasCleanShutdown && !isDirty ? endOffset : Math.min(options.recoveryPoint, endOffset),
    epochs: epochs.filter((entry) => entry.startOffset < endOffset),
    leaderEpoch: epochs.at(-1)?.epoch ?? 0,
    isDirty,
  };
}

/** What a walk over a whole segment found. */
export interface Walk {
  /** Offset after the last sound batch. */
  endOffset: number;
  /** Why it ended before the end of the file, or null. */
  fault: string | null;
  /** Records are missing between or inside batches. */
  wasCompacted: boolean;
}

/**
 * Rebuilds both indexes of a segment from its log, in memory. `sizeBytes` becomes the position where the walk ended.
 * @param keep whether damage met at `expectedOffset` is stepped over
 */
export function rebuildIndexes(
  segment: Segment,
  scanner: SegmentScanner,
  limitOffset: number,
  gaps: "refused" | "allowed",
  keep: (expectedOffset: number, fault: string) => boolean,
  visit: (batch: RecordBatchReader) => void = () => {},
): Walk {
  const { batch } = scanner;
  const walk: Walk = { endOffset: segment.baseOffset, fault: null, wasCompacted: false };
  scanner.start(segment, 0, segment.baseOffset, limitOffset, gaps, Number.POSITIVE_INFINITY);
  segment.resetIndexes();
  segment.sizeBytes = 0;
  for (;;) {
    const fault = scanner.next(Number.POSITIVE_INFINITY);
    if (fault === "end") return walk;
    if (fault === null) {
      if (batch.lastOffset - segment.baseOffset > MAX_RELATIVE_OFFSET) {
        walk.fault = "a record batch too far from the segment's base offset";
        return walk;
      }
      const recordSpan = batch.lastOffset + 1 - batch.baseOffset;
      if (batch.baseOffset > walk.endOffset || batch.recordCount < recordSpan) walk.wasCompacted = true;
      segment.noteBatch(batch.lastOffset, batch.maxTimestamp, batch.sizeBytes);
      walk.endOffset = batch.lastOffset + 1;
      visit(batch);
    } else {
      if (!keep(walk.endOffset, fault)) {
        walk.fault = fault;
        return walk;
      }
      segment.noteDamage(scanner.position - segment.sizeBytes);
      walk.endOffset = scanner.expectedOffset;
    }
  }
}

const MAX_RELATIVE_OFFSET = 0x7fff_ffff;

function loadEpochs({ storage, directory, report }: LoadOptions): EpochEntry[] {
  const path = join(directory, LEADER_EPOCH_CHECKPOINT);
  if (!storage.exists(path)) return [];
  try {
    return decodeEpochs(storage.readAll(path));
  } catch (error) {
    report.beforeChange();
    storage.remove(path); // also where nothing comes to be written: the next opening finds nothing to mend
    report.repairs.push(
      `${path} was unreadable (${(error as Error).message}) and is written anew with the next batch.`,
    );
    return [];
  }
}

/** The segments by their `.log` files, ascending; finishes swaps and removes what no segment owns. */
function listSegments(options: LoadOptions): Segment[] {
  const { storage, settings, directory } = options;
  finishSwaps(options);
  const names = fileNames(options);
  const segments: Segment[] = [];
  const bases = new Set<number>();
  const orphaned = new Set<number>();
  for (const name of names) {
    const parsed = parseSegmentFile(name);
    if (parsed?.suffix !== LOG_SUFFIX) continue;
    bases.add(parsed.baseOffset);
    segments.push(new Segment(storage, settings, directory, parsed.baseOffset));
  }
  for (const name of names) {
    const leftover = LEFTOVERS.find(({ suffix }) => name.endsWith(suffix));
    if (leftover !== undefined) removeFile(name, leftover.what, options);
    const parsed = parseSegmentFile(name);
    if (parsed !== undefined && SEGMENT_SUFFIXES.includes(parsed.suffix) && !bases.has(parsed.baseOffset)) {
      removeFile(name, "belonged to no log", options);
      orphaned.add(parsed.baseOffset);
    }
  }
  for (const baseOffset of orphaned) reportMissingLog(baseOffset, segments, options);
  return segments;
}

/**
 * Indexes between two segments tell of a third whose log was lost, unless a compaction merged that into the one before. At
 * the front retention leaves them, at the end a crash.
 */
function reportMissingLog(baseOffset: number, segments: readonly Segment[], options: LoadOptions): void {
  const before = segments.findLast((segment) => segment.baseOffset < baseOffset);
  const next = segments.find((segment) => segment.baseOffset > baseOffset);
  if (before === undefined || next === undefined || options.isCompacted) return;
  if (endOffsetOf(before.path, before.baseOffset, options) > baseOffset) return;
  options.report.repairs.push(
    `${join(options.directory, segmentStem(baseOffset))}${LOG_SUFFIX} is missing: offsets ${baseOffset} to ${next.baseOffset - 1} are lost.`,
  );
}

/**
 * Compaction and splitting write `.cleaned` files, rename them to `.swap` from the highest base offset down, mark what
 * they replace `.deleted` and rename themselves into its place. A swap whose like is still `.cleaned` is undone, any
 * other is done to its end.
 */
function finishSwaps(options: LoadOptions): void {
  const { storage, directory, report } = options;
  const names = fileNames(options);
  const replacing = (suffix: string) =>
    names
      .filter((name) => name.endsWith(suffix))
      .map((name) => ({ name, target: name.slice(0, -suffix.length) }))
      .map(({ name, target }) => ({ name, target, segment: parseSegmentFile(target) }));
  const swaps = replacing(SWAP_SUFFIX);
  if (swaps.length === 0) return;
  const lowestCleaned = Math.min(...replacing(CLEANED_SUFFIX).map(({ segment }) => segment?.baseOffset ?? Infinity));
  const finished = swaps.filter(({ segment }) => segment !== undefined && segment.baseOffset < lowestCleaned);
  for (const { name } of swaps) {
    if (!finished.some((swap) => swap.name === name)) removeFile(name, "was an unfinished compaction", options);
  }
  let fromOffset = Number.POSITIVE_INFINITY;
  let toOffset = Number.NEGATIVE_INFINITY;
  for (const { name, segment } of finished) {
    if (segment!.suffix !== LOG_SUFFIX) continue;
    fromOffset = Math.min(fromOffset, segment!.baseOffset);
    toOffset = Math.max(toOffset, endOffsetOf(join(directory, name), segment!.baseOffset, options));
  }
  for (const name of names) {
    const segment = parseSegmentFile(name);
    if (segment === undefined || !SEGMENT_SUFFIXES.includes(segment.suffix)) continue;
    if (segment.baseOffset >= fromOffset && segment.baseOffset < toOffset) {
      removeFile(name, "was replaced by a compaction", options);
    }
  }
  for (const { name, target } of finished) {
    report.beforeChange();
    storage.rename(join(directory, name), join(directory, target));
    report.repairs.push(`${join(directory, target)} takes the place that a compaction made for it.`);
  }
}

function endOffsetOf(path: string, baseOffset: number, { storage, scanner }: LoadOptions): number {
  const file = storage.open(path, "read");
  try {
    let endOffset = baseOffset;
    const log = { file, sizeBytes: file.sizeBytes() };
    scanner.start(log, 0, baseOffset, Number.POSITIVE_INFINITY, "allowed", Number.POSITIVE_INFINITY);
    while (scanner.next(Number.POSITIVE_INFINITY) === null) endOffset = scanner.batch.lastOffset + 1;
    return endOffset;
  } finally {
    file.close();
  }
}

/** @returns the end offset, or undefined if index and log do not fit together */
function verifyTail(segment: Segment, { scanner, report }: LoadOptions): number | undefined {
  if (!segment.loadIndexes()) return undefined;
  const index = segment.offsetIndex!;
  const entry = index.entryCount - 1;
  let endOffset = segment.baseOffset;
  if (entry < 0) {
    scanner.start(segment, 0, segment.baseOffset, Number.POSITIVE_INFINITY, "refused", TAIL_READ_BYTES);
  } else {
    const position = index.position(entry);
    scanner.start(segment, position, segment.baseOffset, Number.POSITIVE_INFINITY, "allowed", TAIL_READ_BYTES);
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

/** Checks every batch of a segment, writes its indexes, and cuts it where the damage table says so. */
function scan(
  segment: Segment,
  next: Segment | undefined,
  { scanner, report, recoveryPoint }: LoadOptions,
  epochs: EpochEntry[],
): { endOffset: number; wasCompacted: boolean; endsLog: boolean } {
  const fileSizeBytes = segment.sizeBytes;
  let isNoise = false;
  const keep = (expectedOffset: number, fault: string): boolean => {
    const { position } = scanner;
    if (fault === "a record batch written without a checksum") {
      segment.unload();
      throw new OpenError(
        `${segment.path} holds ${fault} at byte ${position}. Open the directory with "checksum": false to read it.`,
      );
    }
    const isBelowRecoveryPoint = expectedOffset < recoveryPoint;
    const nextSegmentContinues = expectedOffset === next?.baseOffset;
    let soundDataFollows = false;
    if (isBelowRecoveryPoint && !nextSegmentContinues) {
      // A torn tail is not searched.
      soundDataFollows = scanner.skipDamage();
      if (!soundDataFollows && next !== undefined && next.baseOffset <= recoveryPoint) {
        scanner.skipRest();
        soundDataFollows = true;
      }
    }
    const facts: DamageFacts = { isBelowRecoveryPoint, soundDataFollows, nextSegmentContinues };
    const { action } = DAMAGE_CASES.find((each) => each.applies(facts))!;
    isNoise = action === "cut the noise";
    if (action !== "keep") return false;
    const offsets = `offsets ${expectedOffset} to ${scanner.expectedOffset - 1}`;
    report.repairs.push(`${segment.path} holds ${fault} at byte ${position}: ${offsets} are lost, the rest is kept.`);
    return true;
  };
  const limitOffset = next?.baseOffset ?? Number.POSITIVE_INFINITY;
  const gaps = next === undefined ? "refused" : "allowed";
  const walk = rebuildIndexes(segment, scanner, limitOffset, gaps, keep, (batch) => {
    const latestEpoch = epochs.at(-1)?.epoch ?? -1;
    if (batch.leaderEpoch > latestEpoch) epochs.push({ epoch: batch.leaderEpoch, startOffset: batch.baseOffset });
  });
  report.beforeChange();
  report.scannedBytes += fileSizeBytes;
  report.rebuiltIndexes += 2;
  const endsLog = walk.fault !== null && !isNoise;
  if (walk.fault !== null) {
    const lostBytes = fileSizeBytes - segment.sizeBytes;
    const why = isZero(segment, fileSizeBytes) ? "a tail of zeros, reserved and never written" : walk.fault;
    const kept = isNoise ? "; the later segments continue and are kept" : "";
    report.truncatedBytes += lostBytes;
    report.repairs.push(`${segment.path} was cut by ${lostBytes} bytes at byte ${segment.sizeBytes}: ${why}${kept}.`);
  }
  segment.finish();
  return { endOffset: walk.endOffset, wasCompacted: walk.wasCompacted, endsLog };
}

/** Whether the file holds zeros from the segment's size to `end`: it was extended ahead and not trimmed. */
function isZero({ file, sizeBytes }: Segment, end: number): boolean {
  const chunk = new Uint8Array(ZERO_CHECK_BYTES);
  let position = sizeBytes;
  for (let data = file!.dataFrom(position); data !== null && data.from < end; data = file!.dataFrom(position)) {
    position = Math.max(position, data.from);
    const read = file!.read(chunk, 0, Math.min(chunk.byteLength, end - position), position);
    for (let i = 0; i < read; i++) if (chunk[i] !== 0) return false;
    if (read === 0) return true;
    position += read;
  }
  return true;
}

const ZERO_CHECK_BYTES = 65_536;

function createFirst({ storage, settings, directory, startOffset, report }: LoadOptions): Segment {
  report.beforeChange();
  const segment = new Segment(storage, settings, directory, startOffset);
  segment.create();
  return segment;
}

/** @param cause the segment at which the log was cut, or `segment` itself when all of it lies below the start offset */
function dropSegment(segment: Segment, cause: Segment, { report, startOffset }: LoadOptions): void {
  report.beforeChange();
  segment.open("write");
  report.truncatedBytes += segment.sizeBytes;
  report.droppedFiles += segment.remove();
  const why =
    segment === cause
      ? `it ends before the start offset, ${startOffset}`
      : `the log was cut before it, in ${cause.path}`;
  report.repairs.push(`${segment.path} (${segment.sizeBytes} bytes) was dropped: ${why}.`);
}

function dropSnapshotsBeyond(endOffset: number, options: LoadOptions): void {
  for (const name of fileNames(options)) {
    const snapshot = parseSegmentFile(name);
    if (snapshot?.suffix !== PRODUCER_SNAPSHOT_SUFFIX || snapshot.baseOffset <= endOffset) continue;
    removeFile(name, `was taken beyond the end offset, ${endOffset}`, options);
  }
}

function fileNames({ storage, directory }: LoadOptions): string[] {
  return storage
    .list(directory)
    .filter((entry) => entry.kind === "file")
    .map((entry) => entry.name);
}

function removeFile(name: string, why: string, { storage, directory, report }: LoadOptions): void {
  report.beforeChange();
  storage.remove(join(directory, name));
  report.droppedFiles++;
  report.repairs.push(`${join(directory, name)} ${why} and is removed.`);
}
