import { SysFlag } from "../codec/commitlog-message.js";
import { type Codec, decompress } from "../codec/compression.js";
import { codecOfBody, MAX_UNFOLDED_SIZE_BYTES } from "../commitlog/body-compression.js";
import { isTopicName } from "../commitlog/names.js";
import { OUTCOME_TEXTS, ParseOutcome } from "../commitlog/record-parser.js";
import { CorruptPayloadError } from "../errors.js";
import type { LogFile, RecordReader } from "./commitlog-records.js";
import { type BatchLine, blame, type FileReport, type LogFacts, noFacts, noteCodec, noteTime } from "./report.js";
import { counted, lastIndexAtOrBelow, lastNonZero } from "./source.js";

/** What the log holds of one queue. */
export interface QueueFacts {
  readonly topic: string;
  readonly queueId: number;
  readonly log: LogFacts;
  sizeBytes: number;
  /** Where its last message stands. */
  lastPosition: number;
}

export interface DamagedRange {
  readonly from: number;
  readonly to: number;
}

/** @param damaged ascending, as a walk notes them */
export function isInDamage(damaged: readonly DamagedRange[], position: number): boolean {
  const range = damaged[lastIndexAtOrBelow(damaged, position, ({ from }) => from)];
  return range !== undefined && position < range.to;
}

export interface WalkOptions {
  readonly inUse: boolean;
  readonly isQuick: boolean;
  /** Lists records of this topic only. */
  readonly topic: string | null;
  readonly onBatch: ((line: BatchLine) => void) | null;
}

/** What a walk over the whole log found, beside what it noted in the files' reports. */
export interface WalkResult {
  readonly queues: ReadonlyMap<string, QueueFacts>;
  readonly damaged: readonly DamagedRange[];
  readonly startOffset: number;
  readonly endOffset: number;
  /** Of the last message; 0 without any. */
  readonly storeTimestampMs: number;
  readonly hasInnerBatches: boolean;
}

export function queueKey(topic: string, queueId: number): string {
  return `${queueId} ${topic}`;
}

/** Walks the records of a commitlog, file by file, and goes on behind damage at the next sound record. */
export class CommitlogWalk {
  readonly #queues = new Map<string, QueueFacts>();
  readonly #damaged: DamagedRange[] = [];
  #storeTimestampMs = 0;
  #hasInnerBatches = false;

  constructor(
    private readonly reader: RecordReader,
    /** Of the reader's files, in their order. */
    private readonly reports: readonly FileReport[],
    private readonly options: WalkOptions,
  ) {}

  run(): WalkResult {
    const { files } = this.reader;
    for (const report of this.reports) report.log = noFacts(null);
    const startOffset = files[0]?.baseOffset ?? 0;
    let position = startOffset;
    for (const [i, file] of files.entries()) {
      if (position >= file.endOffset) continue;
      const end = this.#walkFile(file, this.reports[i]!, Math.max(position, file.baseOffset));
      position = end.position;
      if (!end.isLogEnd) continue;
      this.#judgeRest(i + 1);
      break;
    }
    return {
      queues: this.#queues,
      damaged: this.#damaged,
      startOffset,
      endOffset: position,
      storeTimestampMs: this.#storeTimestampMs,
      hasInnerBatches: this.#hasInnerBatches,
    };
  }

  #walkFile(file: LogFile, report: FileReport, from: number): { position: number; isLogEnd: boolean } {
    const unchecked = { from: 0, messageCount: 0 };
    const end = this.#walkRecords(file, report, from, unchecked);
    if (unchecked.messageCount > 0) {
      const whose = counted(unchecked.messageCount, "message");
      const since = `From byte ${unchecked.from} on, ${whose} written without checksums`;
      report.notes.push(`${since}: of flipped bits in bodies few can be seen.`);
    }
    return end;
  }

  #walkRecords(
    file: LogFile,
    report: FileReport,
    from: number,
    unchecked: { from: number; messageCount: number },
  ): { position: number; isLogEnd: boolean } {
    const { reader } = this;
    let position = from;
    while (position < file.endOffset) {
      const outcome = reader.parse(file, position);
      if (outcome === ParseOutcome.BLANK) {
        if (reader.isLostPart(file, position)) this.#judgeLostPart(file, report, position);
        return { position: file.endOffset, isLogEnd: false };
      }
      if (outcome === ParseOutcome.OK) {
        if (this.#record(file, report, position)) {
          if (reader.isUnchecked && unchecked.messageCount++ === 0) unchecked.from = position - file.baseOffset;
          position += reader.parser.sizeBytes;
          continue;
        }
        this.#leftBehind(file, report, position);
        return { position, isLogEnd: true };
      }
      const next = reader.findNext(position, this.#storeTimestampMs);
      if (next === undefined) {
        this.#judgeTail(file, report, position, outcome);
        return { position, isLogEnd: true };
      }
      this.#judgeDamage(file, report, position, next, outcome);
      this.#damaged.push({ from: position, to: next });
      position = next;
    }
    return { position, isLogEnd: false };
  }

  /** Files behind the end of the log. */
  #judgeRest(from: number): void {
    for (let i = from; i < this.reports.length; i++) {
      const { file, baseOffset, endOffset } = this.reader.files[i]!;
      const last = lastNonZero(file, 0, endOffset - baseOffset);
      if (last === undefined) this.reports[i]!.notes.push("Made ahead; nothing was written to it yet.");
      else if (!this.options.inUse) {
        const what = `the log ends before this file, and ${counted(last + 1, "byte")} of no sound message stand here.`;
        blame(this.reports[i]!, 0, "torn-tail", what);
      }
    }
  }

  /** What an opening put in the place of messages that were lost with their file or its end. */
  #judgeLostPart(file: LogFile, report: FileReport, position: number): void {
    this.#damaged.push({ from: position, to: file.endOffset });
    const what = `${counted(file.endOffset - position, "byte")} up to the file's end were lost, with the messages in them; the file was made whole again without.`;
    blame(report, position - file.baseOffset, "gap", what);
  }

  #judgeDamage(file: LogFile, report: FileReport, position: number, next: number, outcome: number): void {
    const at = position - file.baseOffset;
    // What a file lacks that is too short is said already.
    if (next >= file.endOffset && report.sizeBytes < file.endOffset - file.baseOffset) return;
    const isZero = lastNonZero(file.file, at, Math.min(next, file.endOffset) - file.baseOffset) === undefined;
    const fault = isZero ? "zeros where a message belongs" : OUTCOME_TEXTS[outcome]!;
    const what = `${fault}; the next sound message stands ${counted(next - position, "byte")} on, at byte ${next} of the log.`;
    blame(report, at, outcome === ParseOutcome.BAD_BODY_CRC ? "checksum" : "format", what);
  }

  /** @returns false if the record does not belong to this log any more */
  #record(file: LogFile, report: FileReport, position: number): boolean {
    const { parser } = this.reader;
    const at = position - file.baseOffset;
    const { queueId, queueOffset, sysFlag, storeTimestampMs, sizeBytes } = parser;
    const topic = parser.topic();
    const transaction = sysFlag & SysFlag.TRANSACTION_MASK;
    const isInnerBatch = (sysFlag & SysFlag.INNER_BATCH) !== 0;
    // Messages of transactions that are not, or never, committed have no place in their queue.
    const isInQueue = transaction !== SysFlag.TRANSACTION_PREPARED && transaction !== SysFlag.TRANSACTION_ROLLBACK;
    const codec = codecOfBody(sysFlag) ?? "unknown";
    if (!isTopicName(topic)) {
      blame(report, at, "format", `a message of a topic that no queue can be called after: ${JSON.stringify(topic)}.`);
      this.#damaged.push({ from: position, to: position + sizeBytes });
      return true;
    }
    const queue = this.#queueOf(topic, queueId);
    if (isInnerBatch) this.#hasInnerBatches = true;
    else if (isInQueue && !this.#follows(report, at, queue, queueOffset, storeTimestampMs)) return false;
    this.#storeTimestampMs = Math.max(this.#storeTimestampMs, storeTimestampMs);
    queue.sizeBytes += sizeBytes;
    queue.lastPosition = position;
    for (const facts of [queue.log, report.log!]) {
      facts.messageCount++;
      noteTime(facts, storeTimestampMs);
      noteCodec(facts, codec);
    }
    const { onBatch, topic: wanted } = this.options;
    if (onBatch !== null && (wanted === null || wanted === topic)) {
      const marks = [
        ...(isInnerBatch ? ["inner batch"] : []),
        ...(transaction === 0 ? [] : [TRANSACTION_MARKS[transaction]!]),
      ];
      onBatch({
        ...{ file: report.path, positionBytes: at, sizeBytes, topic, partition: queueId, startOffset: queueOffset },
        ...{ messageCount: 1, timestampMs: storeTimestampMs, codec, marks },
      });
    }
    if (codec !== "none" && !this.options.isQuick) this.#unfold(report, at, codec);
    return true;
  }

  /** Holds a message against the one before it in its queue. @returns false if an earlier life of the file left it behind */
  #follows(report: FileReport, at: number, queue: QueueFacts, queueOffset: number, storeTimestampMs: number): boolean {
    const { log } = queue;
    const expected = log.endOffset;
    if (expected !== null && queueOffset !== expected) {
      if (queueOffset < expected && storeTimestampMs < this.#storeTimestampMs) return false;
      const which = `message ${queueOffset} of queue ${queue.queueId} of ${queue.topic} where message ${expected} belongs`;
      if (queueOffset < expected) blame(report, at, "overlap", `${which}.`);
      else if ((this.#damaged.at(-1)?.to ?? 0) <= queue.lastPosition)
        blame(report, at, "gap", `${which}: ${counted(queueOffset - expected, "message")} missing.`);
    }
    log.startOffset ??= queueOffset;
    log.endOffset = Math.max(expected ?? 0, queueOffset + 1);
    return true;
  }

  #unfold(report: FileReport, at: number, codec: Codec | "unknown"): void {
    if (codec === "unknown") {
      blame(report, at, "records", "a message compressed by a codec of no known number.");
      return;
    }
    try {
      decompress(codec, this.reader.parser.body.slice(), MAX_UNFOLDED_SIZE_BYTES);
    } catch (error) {
      if (!(error instanceof CorruptPayloadError)) throw error;
      blame(
        report,
        at,
        "records",
        `a message whose body cannot be decompressed, under a CRC that is right: a ${codec} payload ${error.what}.`,
      );
    }
  }

  #leftBehind(file: LogFile, report: FileReport, position: number): void {
    const { parser } = this.reader;
    const what = `message ${parser.queueOffset} of queue ${parser.queueId} of ${parser.topic()}, older than what stands before it: an earlier life of the file left it behind, and the log ends here.`;
    if (this.options.inUse) report.notes.push(`At byte ${position - file.baseOffset}: ${what}`);
    else blame(report, position - file.baseOffset, "overlap", what);
  }

  /** What stands behind the last sound message: nothing, or what will be cut. */
  #judgeTail(file: LogFile, report: FileReport, position: number, outcome: number): void {
    const at = position - file.baseOffset;
    const last = lastNonZero(file.file, at, file.endOffset - file.baseOffset);
    if (last === undefined) return;
    const garbage = counted(last + 1 - at, "byte");
    if (this.options.inUse) {
      report.notes.push(
        `The ${garbage} from byte ${at} on are being written, or torn: look again when nobody has it open.`,
      );
      return;
    }
    const what = `${OUTCOME_TEXTS[outcome]}; no sound message follows, so that the log ends here and ${garbage} are cut when it is opened.`;
    const isTorn = outcome !== ParseOutcome.BAD_BODY_CRC;
    blame(report, at, isTorn ? "torn-tail" : "checksum", what);
  }

  #queueOf(topic: string, queueId: number): QueueFacts {
    const key = queueKey(topic, queueId);
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = { topic, queueId, log: noFacts(null), sizeBytes: 0, lastPosition: 0 };
      this.#queues.set(key, queue);
    }
    return queue;
  }
}

const TRANSACTION_MARKS: Readonly<Record<number, string>> = {
  [SysFlag.TRANSACTION_PREPARED]: "prepared",
  [SysFlag.TRANSACTION_COMMIT]: "committed",
  [SysFlag.TRANSACTION_ROLLBACK]: "rolled back",
};
