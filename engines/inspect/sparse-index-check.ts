import { OFFSET_ENTRY_SIZE_BYTES, TIME_ENTRY_SIZE_BYTES } from "../partitioned-log/sparse-index.js";
import type { StorageFile } from "../storage/storage.js";
import { blame, type FileReport } from "./report.js";
import { counted, Entries } from "./source.js";

/** What a check of an index is told of its segment's log, front to back. */
export interface IndexCheck {
  batch(position: number, baseOffset: number, lastOffset: number, maxTimestamp: number): void;
  /** Bytes of the log that hold no sound batch: entries for them cannot be judged. */
  skip(from: number, to: number): void;
  /** @param mustBeWhole the segment has ended and its log is sound: nothing may be missing */
  finish(mustBeWhole: boolean): void;
}

/** What the two indexes have in common: entries in order, perhaps followed by zeros that a crash left untrimmed. */
abstract class SparseIndexCheck implements IndexCheck {
  protected readonly entries: Entries;
  /** Number of the entry in hand; -1 before the first and behind the last. */
  protected current = -1;
  #count: number;

  constructor(
    protected readonly report: FileReport,
    file: StorageFile,
    entrySizeBytes: number,
    /** What zeros at its end are, if it may be mapped larger than it is full, or was when a crash came; else null. */
    expectedZeros: string | null,
  ) {
    this.entries = new Entries(file, entrySizeBytes, 0, report.sizeBytes);
    this.#count = this.entries.count;
    // A single time entry of zeros is the one for a first batch of 1970.
    const zerosFrom = this.#count === 1 ? 1 : this.entries.countWithoutZeroTail();
    if (zerosFrom < this.#count) {
      const zeros = counted(this.#count - zerosFrom, "entry");
      if (expectedZeros !== null) report.notes.push(`${zeros} ${expectedZeros}`);
      else {
        const what = `from here on it holds ${zeros} of zeros: an index that was not trimmed, as a crash leaves it.`;
        blame(report, this.entries.positionOf(zerosFrom), "zero-tail", what);
      }
      this.#count = zerosFrom;
    }
    report.entryCount = this.#count;
    const rest = report.sizeBytes % entrySizeBytes;
    if (rest !== 0) {
      const what = `it ends with ${counted(rest, "byte")} that are no whole entry of ${entrySizeBytes}.`;
      blame(report, report.sizeBytes - rest, "size", what);
    }
  }

  abstract batch(position: number, baseOffset: number, lastOffset: number, maxTimestamp: number): void;
  abstract skip(from: number, to: number): void;
  abstract finish(mustBeWhole: boolean): void;
  /** Takes the entry at `at` of the view. @returns false if it cannot follow the one before */
  protected abstract take(entry: number, at: number): boolean;

  /** Goes on to the next entry. `current` is -1 when none is left, or none that could be judged. */
  protected advance(entry: number): void {
    this.current = -1;
    if (entry >= this.#count) return;
    if (!this.take(entry, this.entries.seek(entry))) this.#count = entry;
    else this.current = entry;
  }

  protected wrong(kind: "order" | "target", what: string, entry = this.current): void {
    blame(this.report, this.entries.positionOf(entry), kind, `entry ${entry} ${what}`);
    this.current = -1;
    this.#count = 0;
  }
}

/** `.index`: each entry names a batch by its last offset and the byte it begins at. */
export class OffsetIndexCheck extends SparseIndexCheck {
  #offset = -1;
  #position = -1;
  /** The batch that `current` points at ends before the offset that it names. */
  #isPending = false;

  constructor(
    report: FileReport,
    file: StorageFile,
    private readonly baseOffset: number,
    private readonly logSizeBytes: () => number,
    expectedZeros: string | null,
  ) {
    super(report, file, OFFSET_ENTRY_SIZE_BYTES, expectedZeros);
    this.advance(0);
  }

  protected take(entry: number, at: number): boolean {
    const [offsetBefore, positionBefore] = [this.#offset, this.#position];
    this.#offset = this.baseOffset + this.entries.view.getInt32(at);
    this.#position = this.entries.view.getInt32(at + 4);
    if (this.#offset <= Math.max(offsetBefore, this.baseOffset - 1)) {
      this.wrong("order", `names offset ${this.#offset}, which does not follow ${offsetBefore}.`, entry);
      return false;
    }
    if (this.#position < Math.max(positionBefore, 0)) {
      this.wrong("order", `names byte ${this.#position}, which does not follow byte ${positionBefore}.`, entry);
      return false;
    }
    if (this.#position >= this.logSizeBytes()) {
      const what = `names byte ${this.#position} of a log of ${counted(this.logSizeBytes(), "byte")}.`;
      this.wrong("target", what, entry);
      return false;
    }
    return true;
  }

  batch(position: number, baseOffset: number, lastOffset: number): void {
    while (this.current >= 0 && this.#position <= position) {
      const isHere = this.#position === position;
      if (!isHere && !this.#isPending) {
        this.wrong("target", `names byte ${this.#position} of the log, where no record batch begins.`);
        return;
      }
      if (lastOffset < this.#offset) {
        // A Kafka follower's entry names the last of several batches that it wrote in one go, and where the first begins.
        this.#isPending = true;
        return;
      }
      if (lastOffset > this.#offset) {
        const what = `names offset ${this.#offset} at byte ${this.#position} of the log; offsets ${baseOffset} to ${lastOffset} are at byte ${position}.`;
        this.wrong("target", what);
        return;
      }
      this.#isPending = false;
      this.advance(this.current + 1);
    }
  }

  skip(from: number, to: number): void {
    while (this.current >= 0 && (this.#isPending || this.#position < to)) {
      if (!this.#isPending && this.#position < from) {
        this.wrong("target", `names byte ${this.#position} of the log, where no record batch begins.`);
        return;
      }
      this.#isPending = false;
      this.advance(this.current + 1);
    }
  }

  finish(): void {
    if (this.current < 0) return;
    if (this.#isPending) this.wrong("target", `names offset ${this.#offset}, which no record batch ends with.`);
    else this.wrong("target", `names byte ${this.#position} of the log, where no record batch begins.`);
  }
}

/** `.timeindex`: each entry names the largest timestamp so far and the last offset of the batch that holds it. */
export class TimeIndexCheck extends SparseIndexCheck {
  #timestamp = Number.NEGATIVE_INFINITY;
  #offset = -1;
  #largestTimestamp = -1;
  #isAfterDamage = false;

  constructor(
    report: FileReport,
    file: StorageFile,
    private readonly baseOffset: number,
    expectedZeros: string | null,
  ) {
    super(report, file, TIME_ENTRY_SIZE_BYTES, expectedZeros);
    this.advance(0);
  }

  protected take(entry: number, at: number): boolean {
    const [timestampBefore, offsetBefore] = [this.#timestamp, this.#offset];
    this.#timestamp = Number(this.entries.view.getBigInt64(at));
    this.#offset = this.baseOffset + this.entries.view.getInt32(at + 8);
    if (this.#timestamp <= timestampBefore) {
      this.wrong("order", `names time ${this.#timestamp}, which is not after ${timestampBefore}.`, entry);
      return false;
    }
    if (this.#offset < Math.max(offsetBefore, this.baseOffset)) {
      this.wrong("order", `names offset ${this.#offset}, which does not follow ${offsetBefore}.`, entry);
      return false;
    }
    return true;
  }

  batch(_position: number, baseOffset: number, lastOffset: number, maxTimestamp: number): void {
    this.#largestTimestamp = Math.max(this.#largestTimestamp, maxTimestamp);
    while (this.#isAfterDamage && this.current >= 0 && this.#offset < baseOffset) this.advance(this.current + 1);
    this.#isAfterDamage = false;
    while (this.current >= 0 && this.#offset <= lastOffset) {
      if (this.#offset < baseOffset) {
        this.wrong("target", `names offset ${this.#offset}, which is in no record batch.`);
        return;
      }
      if (this.#timestamp !== maxTimestamp) {
        const what = `names time ${this.#timestamp} for offset ${this.#offset}, whose batch's largest is ${maxTimestamp}.`;
        this.wrong("target", what);
        return;
      }
      this.advance(this.current + 1);
    }
  }

  /** Offsets in damage are not known: whether an entry names one of them shows at the next sound batch. */
  skip(): void {
    this.#isAfterDamage = true;
  }

  finish(mustBeWhole: boolean): void {
    if (this.current >= 0 && mustBeWhole) {
      this.wrong("target", `names offset ${this.#offset}, which lies behind the log's last.`);
      return;
    }
    if (!mustBeWhole || this.report.damage !== null) return;
    const last = this.report.entryCount === 0 ? -1 : this.#timestamp;
    if (last >= this.#largestTimestamp) return;
    const what = `it ends with time ${last}, and the log holds a message of ${this.#largestTimestamp}.`;
    blame(this.report, this.report.sizeBytes, "lag", what);
  }
}
