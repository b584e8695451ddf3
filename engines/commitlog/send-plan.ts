import { FILES_A_SEND, type SendPlan } from "../consumers.js";
import type { CommitLog } from "./commit-log.js";
import type { ConsumequeueUnit } from "./consumequeue-unit.js";
import type { Queue } from "./queue-table.js";
import { MAX_FILTERED_UNITS, type Reader } from "./reader.js";
import type { TagFilter } from "./tag-filter.js";

/** A range that may still grow. */
interface OpenRange {
  readonly path: string;
  readonly positionBytes: number;
  sizeBytes: number;
}

/**
 * Finds the records that a send is to move, by the consumequeue's units alone, as RocketMQ's GetMessageResult collects
 * slices of its mapped files. Records that follow each other in the log are one range. The log itself is not read.
 */
export class SendPlanner {
  readonly #unit: ConsumequeueUnit = { physicalOffset: 0, sizeBytes: 0, tagsCode: 0 };

  constructor(
    private readonly log: CommitLog,
    private readonly reader: Reader,
  ) {}

  /** @param filter by the hash of tags, or null for all of them @throws CorruptDataError */
  plan(queue: Queue, fromOffset: number, maxBytes: number, filter: TagFilter | null): SendPlan {
    const unit = this.#unit;
    const ranges: OpenRange[] = [];
    let fileCount = 0;
    let messageCount = 0;
    let totalBytes = 0;
    let offset = fromOffset;
    const { visibleOffset } = queue;
    const end = filter === null ? visibleOffset : Math.min(visibleOffset, fromOffset + MAX_FILTERED_UNITS);
    let unitCount = 0;
    for (let i = 0; offset < end; offset++, i++) {
      if (i === unitCount) {
        unitCount = this.reader.readUnits(queue, offset, end - offset);
        i = 0;
      }
      this.reader.unitAt(i, unit);
      if (filter !== null && !filter.mayMatch(unit.tagsCode)) continue;
      if (messageCount > 0 && totalBytes + unit.sizeBytes > maxBytes) break;
      if (!this.reader.isInLog(unit)) {
        if (messageCount > 0) break; // the next send begins with it, and mends it or throws
        if (this.reader.mendUnit(queue, offset)) return this.plan(queue, fromOffset, maxBytes, filter);
        throw this.reader.outsideLog(queue, offset);
      }
      if (this.reader.isDamaged(unit)) {
        if (messageCount > 0) break;
        throw this.reader.damagedAt(unit.physicalOffset);
      }
      const { physicalOffset, sizeBytes } = unit;
      const file = this.log.fileOf(physicalOffset);
      const positionBytes = physicalOffset - file.baseOffset;
      const last = ranges.at(-1);
      if (last?.path === file.path && last.positionBytes + last.sizeBytes === positionBytes) {
        last.sizeBytes += sizeBytes;
      } else {
        // A queue's records are in the log's order, so a file that was left does not come again.
        if (last?.path !== file.path && ++fileCount > FILES_A_SEND) break;
        ranges.push({ path: file.path, positionBytes, sizeBytes });
      }
      totalBytes += sizeBytes;
      messageCount++;
    }
    return { ranges, outcome: { nextOffset: offset, messageCount, sizeBytes: totalBytes } };
  }
}
