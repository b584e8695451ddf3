import { BLANK_SIZE_BYTES, decodeMessage, isBlank, SysFlag } from "../codec/commitlog-message.js";
import type { Heap } from "../heap.js";
import type { CommitLog } from "./commit-log.js";
import { type ConsumequeueUnit, encodeUnit, isData, UNIT_SIZE_BYTES } from "./consumequeue-unit.js";
import { tagsCodeOfMessage } from "./dispatcher.js";
import type { MappedFile } from "./mapped-file.js";
import type { Queue, QueueTable } from "./queue-table.js";
import { ParseOutcome, type RecordParser } from "./record-parser.js";
import { claimedSize } from "./record-search.js";
import type { Recovered } from "./recovery.js";

const CHUNK_BYTES = 1 << 20;
/** A read that meets rot waits for no more than this: about a tenth of a second. */
const MOST_WALKED_BYTES = 64 << 20;
const MOST_UNITS = 1_000;

/**
 * Makes rotten units of a queue's files again while the store is open, from the log: its records between those that the
 * next sound units before and behind point at. RocketMQ hands out whatever a unit points at, or skips it. Done by the read
 * that met the rot, never by an append; what takes longer than a moment is left to the next opening.
 */
export class UnitMender {
  #buffer = 0;
  #bufferBytes = 0;
  #loadedFrom = 0;
  #loadedTo = 0;

  constructor(
    private readonly heap: Heap,
    private readonly log: CommitLog,
    private readonly queues: QueueTable,
    private readonly parser: RecordParser,
    private readonly damaged: Recovered["damaged"],
    /** Is told what was done. */
    private readonly repairs: string[],
  ) {}

  /**
   * @returns whether the unit of message `offset` is sound now. It may be about to reach the device as any unit is, so a
   * crash may bring the rot back, which recovery finds as it finds any.
   */
  mend(queue: Queue, offset: number): boolean {
    const { files } = queue;
    if (offset >= files.writtenUnits) return false;
    this.#loadedTo = this.#loadedFrom;
    if (this.#soundUnit(queue, offset) !== undefined) return true;
    let first = offset;
    let from = this.log.startOffset;
    for (; first > queue.startOffset; first--) {
      if (offset - first > MOST_UNITS) return false;
      const before = this.#soundUnit(queue, first - 1);
      if (before === undefined) continue;
      from = before.physicalOffset + before.sizeBytes;
      break;
    }
    let end = offset + 1;
    let to = this.log.dispatchedOffset;
    for (; end < files.writtenUnits; end++) {
      if (end - offset > MOST_UNITS) return false;
      const behind = this.#soundUnit(queue, end);
      if (behind === undefined) continue;
      to = behind.physicalOffset;
      break;
    }
    if (to - from > MOST_WALKED_BYTES) return false;
    const units = this.#unitsOf(queue, first, end, from, to);
    if (units === undefined) return false;
    files.rewrite(first, units);
    this.repairs.push(
      `consumequeue/${queue.topic}/${queue.queueId}: units ${first} to ${end - 1} were rotten when they were read; made anew from the log.`,
    );
    return true;
  }

  release(): void {
    if (this.#buffer !== 0) this.heap.release(this.#buffer);
  }

  /** The unit of a message, if its record stands where it says. */
  #soundUnit(queue: Queue, offset: number): ConsumequeueUnit | undefined {
    const unit = queue.files.unitAt(offset);
    if (unit === undefined || !isData(unit)) return undefined;
    const { physicalOffset, sizeBytes } = unit;
    if (physicalOffset < this.log.startOffset || physicalOffset + sizeBytes > this.log.dispatchedOffset)
      return undefined;
    const file = this.log.fileOf(physicalOffset);
    if (physicalOffset + sizeBytes > file.endOffset || sizeBytes > MOST_WALKED_BYTES) return undefined;
    if (this.#parse(file, physicalOffset, sizeBytes) !== ParseOutcome.OK) return undefined;
    const { parser } = this;
    const isRight =
      parser.queueBlock === queue.block && parser.queueOffset === offset && parser.sizeBytes === sizeBytes;
    return isRight ? unit : undefined;
  }

  /** The bytes of the units `first` to `end - 1`, whose records stand between two positions; undefined if one does not. */
  #unitsOf(queue: Queue, first: number, end: number, from: number, to: number): Uint8Array | undefined {
    const { heap, log, parser } = this;
    const units = new Uint8Array((end - first) * UNIT_SIZE_BYTES);
    const view = new DataView(units.buffer);
    let next = first;
    for (let position = from; position < to && next < end; ) {
      const file = log.fileOf(position);
      const leftBytes = file.endOffset - position;
      const seenBytes = this.#load(file, position, Math.min(leftBytes, BLANK_SIZE_BYTES));
      if (isBlank(heap.bytes, this.#addressOf(position), leftBytes)) {
        position = file.endOffset;
        continue;
      }
      const claimedBytes = claimedSize(heap, this.#addressOf(position), seenBytes);
      if (claimedBytes > Math.min(leftBytes, MOST_WALKED_BYTES)) return undefined;
      if (this.#parse(file, position, claimedBytes) !== ParseOutcome.OK) {
        const range = this.damaged.find((each) => position >= each.from && position < each.to);
        if (range === undefined) return undefined;
        position = range.to;
        continue;
      }
      const transaction = parser.sysFlag & SysFlag.TRANSACTION_MASK;
      const isInQueue = transaction !== SysFlag.TRANSACTION_PREPARED && transaction !== SysFlag.TRANSACTION_ROLLBACK;
      const { sizeBytes } = parser;
      if (isInQueue && parser.queueBlock === queue.block && parser.queueOffset === next) {
        const address = this.#addressOf(position);
        const message = decodeMessage(heap.bytes, address, address + sizeBytes, position, file.path, false);
        const unit = { physicalOffset: position, sizeBytes, tagsCode: tagsCodeOfMessage(message) };
        encodeUnit(unit, view, (next - first) * UNIT_SIZE_BYTES);
        next++;
      }
      position += sizeBytes;
    }
    return next === end ? units : undefined;
  }

  #parse(file: MappedFile, position: number, sizeBytes: number): number {
    const availableBytes = this.#load(file, position, sizeBytes);
    return this.parser.parse(this.#addressOf(position), availableBytes, position, this.queues);
  }

  #addressOf(position: number): number {
    return this.#buffer + position - this.#loadedFrom;
  }

  /** Brings at least `sizeBytes` bytes of the log at `position` into the buffer. @returns how many are there */
  #load(file: MappedFile, position: number, sizeBytes: number): number {
    if (position < this.#loadedFrom || position + sizeBytes > this.#loadedTo) {
      if (sizeBytes > this.#bufferBytes) {
        this.release();
        this.#bufferBytes = Math.max(CHUNK_BYTES, sizeBytes);
        this.#buffer = this.heap.allocate(this.#bufferBytes, 64);
      }
      const wantedBytes = Math.min(this.#bufferBytes, file.endOffset - position);
      this.#loadedFrom = position;
      this.#loadedTo = position + file.read(this.heap.bytes, this.#buffer, wantedBytes, position);
    }
    return this.#loadedTo - position;
  }
}
