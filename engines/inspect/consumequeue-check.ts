import { tagsCodeOf } from "../codec/commitlog-message.js";
import { type ConsumequeueUnit, decodeUnit, PRE_BLANK_SIZE, UNIT_SIZE_BYTES } from "../commitlog/consumequeue-unit.js";
import { OUTCOME_TEXTS, ParseOutcome } from "../commitlog/record-parser.js";
import type { StorageFile } from "../storage/storage.js";
import type { RecordReader } from "./commitlog-records.js";
import { type DamagedRange, isInDamage } from "./commitlog-walk.js";
import { blame, type FileReport } from "./report.js";
import { counted, Entries, lastNonZero } from "./source.js";

/** In its units stands the time of delivery, not a hash of tags. */
const SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX";
/** At and below this a tags code is an address in `consumequeue_ext`. */
const MAX_EXTENSION_ADDRESS = -0x8000_0001;
/** So far behind the last unit it is made sure that only zeros follow; RocketMQ's files have 6 MB, mostly holes. */
const ZEROS_CHECKED_BYTES = 1 << 20;

/** What the commitlog holds, for units to be held against; null where only the queue's files are looked at. */
export interface LogExtent {
  readonly reader: RecordReader;
  readonly startOffset: number;
  /** Infinity if the log has not been walked. */
  readonly endOffset: number;
  readonly damaged: readonly DamagedRange[];
}

/** Checks the units of one queue, file by file in order. */
export class ConsumequeueCheck {
  /** Queue offsets of the first unit that points at a message kept, and of the next unit to come. */
  firstOffset: number | null = null;
  endOffset: number | null = null;
  /** Where the next unit belongs. */
  endFile: FileReport | null = null;
  endPosition = 0;
  #physicalOffset = -1;
  readonly #unit: ConsumequeueUnit = { physicalOffset: 0, sizeBytes: 0, tagsCode: 0 };

  constructor(
    private readonly topic: string | null,
    private readonly queueId: number | null,
    private readonly log: LogExtent | null,
    private readonly inUse: boolean,
  ) {}

  file(report: FileReport, file: StorageFile, baseOffset: number): void {
    const units = new Entries(file, UNIT_SIZE_BYTES, 0, report.sizeBytes);
    const unit = this.#unit;
    const firstUnit = baseOffset / UNIT_SIZE_BYTES;
    let entry = 0;
    let isWrong = !Number.isInteger(firstUnit);
    if (isWrong)
      blame(report, 0, "size", `it is named after byte ${baseOffset}, where no unit of ${UNIT_SIZE_BYTES} begins.`);
    for (; entry < units.count; entry++) {
      decodeUnit(units.view, units.seek(entry), unit);
      if (unit.sizeBytes === 0 && unit.physicalOffset === 0) break;
      if (isWrong || unit.sizeBytes === PRE_BLANK_SIZE) continue;
      const what = this.#judge(firstUnit + entry);
      if (what === undefined) {
        this.#physicalOffset = Math.max(this.#physicalOffset, unit.physicalOffset);
        continue;
      }
      blame(report, units.positionOf(entry), what.kind, `the unit of message ${firstUnit + entry} ${what.text}`);
      isWrong = true; // units behind it may be shifted: the first is what counts
    }
    report.entryCount = entry;
    if (entry > 0 || this.endOffset === null) {
      this.endFile = report;
      this.endPosition = units.positionOf(entry);
      this.endOffset = firstUnit + entry;
    }
    const rest = report.sizeBytes % UNIT_SIZE_BYTES;
    if (rest !== 0)
      blame(
        report,
        report.sizeBytes - rest,
        "size",
        `it ends with ${counted(rest, "byte")} that are no whole unit of ${UNIT_SIZE_BYTES}.`,
      );
    const from = units.positionOf(entry);
    const last = lastNonZero(file, from, Math.min(report.sizeBytes, from + ZEROS_CHECKED_BYTES));
    if (last === undefined || this.inUse) return;
    blame(
      report,
      from,
      "gap",
      `the unit of message ${firstUnit + entry} was never written, and bytes up to ${last} behind it were.`,
    );
  }

  #judge(queueOffset: number): { kind: "order" | "target" | "size" | "lag"; text: string } | undefined {
    const { log } = this;
    const { physicalOffset, sizeBytes, tagsCode } = this.#unit;
    if (!(sizeBytes > 0) || !Number.isSafeInteger(physicalOffset) || physicalOffset < 0) {
      return {
        kind: "target",
        text: `names ${counted(sizeBytes, "byte")} at byte ${physicalOffset} of the log, which cannot be.`,
      };
    }
    const before = this.#physicalOffset;
    const namesDamage = log !== null && isInDamage(log.damaged, physicalOffset);
    if (physicalOffset <= before && !namesDamage) {
      return { kind: "order", text: `names byte ${physicalOffset} of the log, which does not follow byte ${before}.` };
    }
    if (log === null || physicalOffset < log.startOffset) return undefined;
    this.firstOffset ??= queueOffset;
    if (namesDamage) return undefined;
    const file = log.reader.fileAt(physicalOffset);
    if (physicalOffset >= log.endOffset || file === undefined) {
      if (this.inUse) return undefined;
      return {
        kind: "target",
        text: `names byte ${physicalOffset} of the log, which ends at byte ${log.reader.endOf(log.endOffset)}.`,
      };
    }
    const outcome = log.reader.parse(file, physicalOffset);
    if (outcome !== ParseOutcome.OK) {
      // A damaged message is the log's fault, as its own report says.
      if (outcome === ParseOutcome.BAD_BODY_CRC || outcome === ParseOutcome.BAD_PROPERTY_CRC) return undefined;
      return {
        kind: "target",
        text: `names byte ${physicalOffset} of the log, where there is no message but ${OUTCOME_TEXTS[outcome]}.`,
      };
    }
    const { parser } = log.reader;
    const found = { topic: parser.topic(), queueId: parser.queueId, queueOffset: parser.queueOffset };
    const isOther =
      found.queueOffset !== queueOffset ||
      (this.queueId !== null && found.queueId !== this.queueId) ||
      (this.topic !== null && found.topic !== this.topic);
    if (isOther) {
      const whose = `message ${found.queueOffset} of queue ${found.queueId} of ${found.topic}`;
      return { kind: "target", text: `names byte ${physicalOffset} of the log, where ${whose} stands.` };
    }
    if (parser.sizeBytes !== sizeBytes) {
      return { kind: "size", text: `names ${counted(sizeBytes, "byte")} for a message of ${parser.sizeBytes}.` };
    }
    if (found.topic === SCHEDULE_TOPIC || tagsCode <= MAX_EXTENSION_ADDRESS) return undefined;
    const expected = tagsCodeOf(parser.properties());
    if (tagsCode === expected) return undefined;
    return { kind: "target", text: `has the tags code ${tagsCode} for a message whose tags make ${expected}.` };
  }
}
