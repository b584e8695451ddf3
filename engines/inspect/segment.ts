import { COMPRESSIONS, type RecordBatchReader } from "../codec/record-batch.js";
import { CorruptDataError } from "../errors.js";
import type { Heap } from "../heap.js";
import type { EpochEntry } from "../partitioned-log/checkpoints.js";
import { LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX } from "../partitioned-log/names.js";
import { SegmentScanner } from "../partitioned-log/segment-scanner.js";
import type { StorageFile } from "../storage/storage.js";
import { type BatchLine, blame, type FileReport, newFile, noFacts, noteCodec, noteTime } from "./report.js";
import { counted, lastNonZero, type Source } from "./source.js";
import { type IndexCheck, OffsetIndexCheck, TimeIndexCheck } from "./sparse-index-check.js";

/** Of a batch that no leader has appended. */
const NO_EPOCH = -1;

export interface SegmentContext {
  readonly source: Source;
  readonly heap: Heap;
  readonly topic: string | null;
  readonly partition: number | null;
  /** A process holds the directory's lock. */
  readonly inUse: boolean;
  /** Null if nothing tells. */
  readonly closedCleanly: boolean | null;
  /** Compaction leaves gaps in the offsets. */
  readonly isCompacted: boolean;
  /** From `leader-epoch-checkpoint`, ascending: no checksum covers the epoch that a batch names. */
  readonly epochs: readonly EpochEntry[];
  /** Checksums only: records are not looked at, compressed ones not unfolded. */
  readonly isQuick: boolean;
  readonly onBatch: ((line: BatchLine) => void) | null;
}

export interface SegmentPlace {
  /** Path without suffix. */
  readonly stem: string;
  readonly baseOffset: number;
  /** Base offset of the next segment; null for the last, undefined if this file is looked at alone. */
  readonly nextBaseOffset: number | null | undefined;
  /** Suffixes of the files there are. */
  readonly suffixes: ReadonlySet<string>;
}

/** Looks at a segment: its log, and both indexes held against it. */
export function inspectSegment(context: SegmentContext, place: SegmentPlace): FileReport[] {
  const { source } = context;
  const isActive = place.nextBaseOffset === null;
  const zeros = isActive ? zerosOf(context) : null;
  const indexes: FileReport[] = [];
  const withIndex = (
    suffix: string,
    kind: "offset-index" | "time-index",
    make: (report: FileReport, file: StorageFile) => IndexCheck,
    go: (check: IndexCheck | null) => void,
  ): void => {
    const path = place.stem + suffix;
    if (place.suffixes.has(suffix)) {
      let walked = false;
      indexes.push(
        source.inspect(path, kind, (report, file) => {
          const check = make(report, file);
          walked = true;
          go(check);
        }),
      );
      if (!walked) go(null);
      return;
    }
    if (place.nextBaseOffset !== undefined && !(isActive && (context.inUse || context.closedCleanly === false))) {
      const report = newFile(path, kind, 0);
      blame(report, 0, "missing", "it is missing; opening the directory makes it again from the log.");
      indexes.push(report);
    }
    go(null);
  };
  const log = source.inspect(place.stem + LOG_SUFFIX, "segment", (report, file) => {
    withIndex(
      OFFSET_INDEX_SUFFIX,
      "offset-index",
      (index, indexFile) => new OffsetIndexCheck(index, indexFile, place.baseOffset, () => file.sizeBytes(), zeros),
      (offsetCheck) =>
        withIndex(
          TIME_INDEX_SUFFIX,
          "time-index",
          (index, indexFile) => new TimeIndexCheck(index, indexFile, place.baseOffset, zeros),
          (timeCheck) => {
            const checks = [offsetCheck, timeCheck].filter((check) => check !== null);
            new LogWalk(context, place, report, file, checks).run();
          },
        ),
    );
  });
  return [log, ...indexes.reverse()];
}

/** What zeros at the end of an active segment's files are, if they are to be expected: the end of a sentence, or null. */
function zerosOf({ inUse, closedCleanly }: SegmentContext): string | null {
  if (inUse) return "of zeros at its end are reserved for what comes.";
  return closedCleanly === false ? "of zeros at its end are cut when the directory is opened." : null;
}

/** Walks one `.log` from front to back and goes on behind damage where it can. */
class LogWalk {
  readonly #facts = noFacts(0);
  #scanner: SegmentScanner;
  readonly #isActive: boolean;

  constructor(
    private readonly context: SegmentContext,
    private readonly place: SegmentPlace,
    private readonly report: FileReport,
    private readonly file: StorageFile,
    private readonly checks: readonly IndexCheck[],
  ) {
    this.#scanner = new SegmentScanner(context.heap, "checksum");
    this.#isActive = place.nextBaseOffset === null;
    this.#facts.startOffset = place.baseOffset;
    this.#facts.endOffset = place.baseOffset;
    report.log = this.#facts;
  }

  run(): void {
    try {
      this.#walk();
    } finally {
      this.#scanner.release();
    }
  }

  #walk(): void {
    this.#start(0, this.place.baseOffset);
    for (;;) {
      const scanner = this.#scanner;
      const { position, expectedOffset } = scanner;
      const fault = scanner.next(Number.POSITIVE_INFINITY);
      if (fault === "end") break;
      if (fault === null) {
        this.#sound(position);
      } else if (fault === "a record batch written without a checksum") {
        this.#goOnWithoutChecksums(position, expectedOffset);
      } else if (
        fault === "a record batch whose offsets do not follow" &&
        scanner.batch.baseOffset !== expectedOffset
      ) {
        this.#jump(position, expectedOffset, scanner.batch.baseOffset);
        this.#start(position, scanner.batch.baseOffset);
      } else if (scanner.skipDamage()) {
        this.#wrong(position, fault === "a record batch with a wrong checksum" ? "checksum" : "format", fault);
        for (const check of this.checks) check.skip(position, scanner.position);
      } else {
        this.#judgeTail(position, fault);
        for (const check of this.checks) check.skip(position, Number.POSITIVE_INFINITY);
        break;
      }
    }
    this.#judgeEnd();
    const isSound = this.report.damage === null && this.report.notes.length === 0;
    const hasEnded = !this.#isActive || (this.context.closedCleanly === true && !this.context.inUse);
    for (const check of this.checks) check.finish(isSound && hasEnded && this.place.nextBaseOffset !== undefined);
  }

  #start(position: number, expectedOffset: number): void {
    const log = { file: this.file, sizeBytes: this.report.sizeBytes };
    const gaps = this.context.isCompacted ? "allowed" : "refused";
    this.#scanner.start(log, position, expectedOffset, Number.POSITIVE_INFINITY, gaps, Number.POSITIVE_INFINITY);
  }

  /** An engine can be told to leave checksums out: then the form of the records has to do. */
  #goOnWithoutChecksums(position: number, expectedOffset: number): void {
    this.report.notes.push(
      `From byte ${position} on written without checksums: of flipped bits only some can be seen.`,
    );
    this.#scanner.release();
    this.#scanner = new SegmentScanner(this.context.heap, "form");
    this.#start(position, expectedOffset);
  }

  #wrong(position: number, kind: "checksum" | "format" | "torn-tail", fault: string): void {
    blame(this.report, position, kind, `${fault}.`);
  }

  #sound(position: number): void {
    const { batch } = this.#scanner;
    const facts = this.#facts;
    facts.batchCount!++;
    if (!batch.isControl) facts.messageCount += batch.recordCount;
    facts.endOffset = batch.lastOffset + 1;
    noteCodec(facts, batch.compression ?? "unknown");
    for (const check of this.checks) check.batch(position, batch.baseOffset, batch.lastOffset, batch.maxTimestamp);
    const { nextBaseOffset } = this.place;
    if (typeof nextBaseOffset === "number" && batch.lastOffset >= nextBaseOffset) {
      const what = `this record batch reaches offset ${batch.lastOffset}, and the next segment begins with ${nextBaseOffset}.`;
      blame(this.report, position, "overlap", what);
    }
    this.#judgeEpoch(position, batch);
    if (!this.context.isQuick) this.#lookInside(position);
    else if (batch.recordCount > 0) {
      if (batch.baseTimestamp >= 0 && !batch.isLogAppendTime) noteTime(facts, batch.baseTimestamp);
      if (batch.maxTimestamp >= 0) noteTime(facts, batch.maxTimestamp);
    }
    this.context.onBatch?.(this.#line(position, batch));
  }

  #judgeEpoch(position: number, { leaderEpoch, baseOffset }: RecordBatchReader): void {
    const expected = this.context.epochs.findLast(({ startOffset }) => startOffset <= baseOffset)?.epoch;
    if (expected === undefined || leaderEpoch === expected || leaderEpoch === NO_EPOCH) return;
    const what = `a record batch of leader epoch ${leaderEpoch}, where leader-epoch-checkpoint says ${expected}.`;
    blame(this.report, position, "format", what);
  }

  /** Reads the records, which a checksum that was made of rotten bytes does not protect. */
  #lookInside(position: number): void {
    const { batch, address } = this.#scanner;
    const facts = this.#facts;
    let offsetBefore = batch.baseOffset - 1;
    let largest = Number.NEGATIVE_INFINITY;
    let wrong: string | undefined;
    try {
      batch.visitRecords(
        address,
        0,
        ({ offset, timestampMs }) => {
          if (offset <= offsetBefore) wrong ??= `its record of offset ${offset} follows one of ${offsetBefore}`;
          offsetBefore = offset;
          largest = Math.max(largest, timestampMs);
          if (timestampMs >= 0) noteTime(facts, timestampMs);
        },
        this.report.path,
        position,
      );
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
      blame(this.report, position, "records", `${lowerFirst(error.what)}, under a checksum that is right.`);
      return;
    }
    if (batch.isControl || batch.recordCount === 0) return;
    if (largest !== batch.maxTimestamp) {
      wrong ??= `its header names ${batch.maxTimestamp} as the largest timestamp, and its records hold ${largest}`;
    }
    if (offsetBefore !== batch.lastOffset && !this.context.isCompacted) {
      wrong ??= `its header names ${batch.lastOffset} as the last offset, and its records end with ${offsetBefore}`;
    }
    if (wrong !== undefined)
      blame(this.report, position, "records", `a record batch that contradicts itself: ${wrong}.`);
  }

  #line(position: number, batch: RecordBatchReader): BatchLine {
    const { topic, partition } = this.context;
    return {
      file: this.report.path,
      positionBytes: position,
      sizeBytes: batch.sizeBytes,
      topic,
      partition,
      startOffset: batch.baseOffset,
      messageCount: batch.recordCount,
      timestampMs: batch.maxTimestamp,
      codec: batch.compression ?? COMPRESSIONS[0],
      marks: batch.isControl ? ["control"] : [],
    };
  }

  #jump(position: number, expectedOffset: number, baseOffset: number): void {
    if (baseOffset > expectedOffset) {
      const missing = counted(baseOffset - expectedOffset, "offset");
      const what = `a record batch that begins with offset ${baseOffset} where ${expectedOffset} belongs: ${missing} missing.`;
      blame(this.report, position, "gap", what);
    } else {
      const what = `a record batch that begins with offset ${baseOffset} where ${expectedOffset} belongs: it overlaps what stands before it.`;
      blame(this.report, position, "overlap", what);
    }
  }

  /** What no batch can be found in or behind. */
  #judgeTail(position: number, fault: string): void {
    const { sizeBytes, notes } = this.report;
    const { inUse } = this.context;
    const tail = counted(sizeBytes - position, "byte");
    if (lastNonZero(this.file, position, sizeBytes) === undefined) {
      const zeros = this.#isActive ? zerosOf(this.context) : null;
      if (zeros !== null) notes.push(`${tail} ${zeros}`);
      else
        blame(
          this.report,
          position,
          "zero-tail",
          `from here to its end it holds ${tail} of zeros, as a preallocated file does after a crash.`,
        );
    } else if (inUse && this.#isActive) {
      notes.push(
        `The ${tail} from byte ${position} on are being written, or torn: look again when nobody has it open.`,
      );
    } else if (fault === "an incomplete record batch") {
      const { sizeBytes: batchSizeBytes } = this.#scanner.batch;
      const of = batchSizeBytes === 0 ? "" : ` of the ${batchSizeBytes} that it names`;
      blame(this.report, position, "torn-tail", `a record batch of which only ${tail}${of} are there.`);
    } else {
      const kind = fault === "a record batch with a wrong checksum" ? "checksum" : "format";
      const what = `${fault}; no sound one follows, so that ${tail} from here on cannot be read.`;
      blame(this.report, position, kind, what);
    }
  }

  #judgeEnd(): void {
    const { nextBaseOffset } = this.place;
    const { endOffset } = this.#facts;
    if (typeof nextBaseOffset !== "number" || this.context.isCompacted || endOffset! >= nextBaseOffset) return;
    const missing = counted(nextBaseOffset - endOffset!, "offset");
    const what = `its log ends before offset ${endOffset}, and the next segment begins with ${nextBaseOffset}: ${missing} missing.`;
    blame(this.report, this.report.sizeBytes, "gap", what);
  }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
