import { KEYS_PROPERTY, parseProperties, readInt64 } from "../codec/commitlog-message.js";
import { decompress } from "../codec/compression.js";
import type { FetchOutcome, Header, MessageVisitor, StoredMessage } from "../engine.js";
import { CorruptDataError, CorruptPayloadError } from "../errors.js";
import type { Heap } from "../heap.js";
import { codecOfBody, MAX_UNFOLDED_SIZE_BYTES } from "./body-compression.js";
import type { CommitLog } from "./commit-log.js";
import { type ConsumequeueUnit, decodeUnit, isData, TAGS_CODE_AT, UNIT_SIZE_BYTES } from "./consumequeue-unit.js";
import { isLostPart } from "./lost-part.js";
import { readHeader } from "./mapped-file.js";
import type { Queue, QueueTable } from "./queue-table.js";
import { OUTCOME_TEXTS, ParseOutcome, type RecordParser } from "./record-parser.js";
import { LARGEST_RECORD_BYTES } from "./record-search.js";
import type { Recovered } from "./recovery.js";
import type { TagFilter } from "./tag-filter.js";
import { UnitMender } from "./unit-mender.js";

const SIZE_FIELD_BYTES = 4;
const UNITS_A_READ = 1_024;
/** Records of a queue that lie so close together are read at once. */
const READ_AHEAD_BYTES = 256 << 10;
/** Less than a page between two records is no reason to read them apart: the device reads the page, and a call costs more. */
const NEAR_BYTES = 4_096;

/** So many messages a fetch by tags looks at: RocketMQ's maxFilterMessageSize, which is bytes of units. */
export const MAX_FILTERED_UNITS = 16_000 / UNIT_SIZE_BYTES;

const ADVICE_ON_LOSS = "It cannot be restored; read on behind it.";
const NO_HEADERS: readonly Header[] = [];

/**
 * Reads messages by queue offset: the unit says where the record lies; the record is read through its window while that
 * is mapped, else from the file into a buffer, together with the queue's next ones if they lie near.
 */
export class Reader {
  readonly #units: number;
  readonly #mender: UnitMender;
  /** The unit being read was made anew: if its message is not there either, it is the log that is damaged. */
  #hasMended = false;
  #buffer = 0;
  #bufferSizeBytes = 0;
  /** Positions in the log that the buffer holds. */
  #bufferedFrom = 0;
  #bufferedTo = 0;
  readonly #unit: ConsumequeueUnit = { physicalOffset: 0, sizeBytes: 0, tagsCode: 0 };
  readonly #message: StoredMessage = { offset: 0, timestampMs: 0, key: null, value: null, headers: NO_HEADERS };

  constructor(
    private readonly heap: Heap,
    private readonly log: CommitLog,
    private readonly queues: QueueTable,
    private readonly parser: RecordParser,
    /** Where recovery knows the log to be damaged. */
    private readonly damaged: Recovered["damaged"],
    /** Is told of units that were made anew. */
    repairs: string[],
  ) {
    this.#mender = new UnitMender(heap, log, queues, parser, damaged, repairs);
    this.#units = heap.allocate(UNITS_A_READ * UNIT_SIZE_BYTES, 64);
  }

  /** Visits the messages of `queue` from `fromOffset` on. @throws CorruptDataError */
  fetch(queue: Queue, fromOffset: number, maxBytes: number, visit: MessageVisitor): FetchOutcome {
    const end = queue.visibleOffset;
    let offset = fromOffset;
    let sizeBytes = 0;
    while (offset < end && (sizeBytes < maxBytes || offset === fromOffset)) {
      const unitCount = this.readUnits(queue, offset, end - offset);
      for (let i = 0; i < unitCount && (sizeBytes < maxBytes || offset === fromOffset); i++) {
        sizeBytes += this.#read(queue, offset, i, unitCount, null);
        visit(this.#message);
        offset++;
      }
    }
    return { nextOffset: offset, messageCount: offset - fromOffset, sizeBytes };
  }

  /**
   * Visits those of them that `filter` lets through. What its units say has other tags is not read; a record whose tags
   * have the hash of a wanted one is, and counts as read. @throws CorruptDataError
   */
  fetchTagged(
    queue: Queue,
    fromOffset: number,
    maxBytes: number,
    visit: MessageVisitor,
    filter: TagFilter,
  ): FetchOutcome {
    const end = Math.min(queue.visibleOffset, fromOffset + MAX_FILTERED_UNITS);
    let offset = fromOffset;
    let messageCount = 0;
    let sizeBytes = 0;
    while (offset < end && (sizeBytes < maxBytes || offset === fromOffset)) {
      const unitCount = this.readUnits(queue, offset, end - offset);
      for (let i = 0; i < unitCount && (sizeBytes < maxBytes || offset === fromOffset); i++, offset++) {
        if (!filter.mayMatch(readInt64(this.heap.view, this.#units + i * UNIT_SIZE_BYTES + TAGS_CODE_AT))) continue;
        sizeBytes += this.#read(queue, offset, i, unitCount, filter);
        if (!filter.matches(this.#message.headers)) continue;
        visit(this.#message);
        messageCount++;
      }
    }
    return { nextOffset: offset, messageCount, sizeBytes };
  }

  /** When the message was stored, or undefined if no record of that message is where its unit says. */
  storeTimestampMs(queue: Queue, offset: number): number | undefined {
    const unit = this.#unit;
    this.readUnits(queue, offset, 1);
    decodeUnit(this.heap.view, this.#units, unit);
    if (!this.isInLog(unit)) return undefined;
    const header = readHeader(this.log.fileOf(unit.physicalOffset), unit.physicalOffset);
    return header?.queueOffset === offset ? header.storeTimestampMs : undefined;
  }

  /** Fills `into` with the unit at `index` of those last read. */
  unitAt(index: number, into: ConsumequeueUnit): void {
    decodeUnit(this.heap.view, this.#units + index * UNIT_SIZE_BYTES, into);
  }

  isKept(position: number): boolean {
    return position >= this.log.startOffset && position < this.log.endOffset;
  }

  /** Checks the record at a position that is kept. Its fields are the parser's, until the next call. @throws CorruptDataError */
  readAt(position: number): { readonly parser: RecordParser; readonly queue: Queue | undefined } {
    const { heap, parser } = this;
    const file = this.log.fileOf(position);
    const fail = (what: string): never => {
      throw new CorruptDataError(what, file.path, position - file.baseOffset);
    };
    let sizeAt = file.addressOf(position, SIZE_FIELD_BYTES);
    if (sizeAt < 0) sizeAt = this.#readRecord(position, SIZE_FIELD_BYTES, 0, 0, null);
    const sizeBytes = heap.view.getInt32(sizeAt);
    if (sizeBytes <= 0 || position + sizeBytes > Math.min(file.endOffset, this.log.endOffset)) {
      fail("a message of impossible size");
    }
    let address = file.addressOf(position, sizeBytes);
    if (address < 0) address = this.#readRecord(position, sizeBytes, 0, 0, null);
    const outcome = parser.parse(address, sizeBytes, position, this.queues);
    if (outcome !== ParseOutcome.OK) fail(OUTCOME_TEXTS[outcome]!);
    return { parser, queue: parser.queueBlock === 0 ? undefined : this.queues.atBlock(parser.queueBlock) };
  }

  /** The message that was parsed last, which stands at `position`. @throws CorruptDataError */
  parsedMessage(position: number): StoredMessage {
    const { heap, parser } = this;
    const message = this.#message;
    message.offset = parser.queueOffset;
    message.timestampMs = parser.bornTimestampMs;
    message.value = parser.isCompressed ? this.#unfolded(position) : parser.body;
    const { keysAddress, keysSizeBytes } = parser;
    message.key = keysSizeBytes === 0 ? null : heap.bytes.subarray(keysAddress, keysAddress + keysSizeBytes);
    message.headers = parser.otherPropertyCount === 0 ? NO_HEADERS : headersOf(parser.properties());
    return message;
  }

  isInLog(unit: ConsumequeueUnit): boolean {
    const { physicalOffset, sizeBytes } = unit;
    return isData(unit) && physicalOffset >= this.log.startOffset && physicalOffset + sizeBytes <= this.log.endOffset;
  }

  /** Whether the unit points at what recovery knows to be damaged, or at more than any message has: at what is lost. */
  isDamaged({ physicalOffset, sizeBytes }: ConsumequeueUnit): boolean {
    if (sizeBytes > LARGEST_RECORD_BYTES) return true;
    return this.damaged.some(({ from, to }) => physicalOffset >= from && physicalOffset < to);
  }

  /** Makes the file's unit of a message anew if it does not lead there, and the log is known to be sound there. */
  mendUnit(queue: Queue, offset: number): boolean {
    const unit = queue.files.unitAt(offset);
    if (unit !== undefined && isData(unit) && this.damaged.some(({ from }) => from === unit.physicalOffset))
      return false;
    return this.#mender.mend(queue, offset);
  }

  damagedAt(position: number): CorruptDataError {
    const { path, baseOffset } = this.log.fileOf(position);
    return new CorruptDataError("A damaged or lost message", path, position - baseOffset, ADVICE_ON_LOSS);
  }

  outsideLog(queue: Queue, offset: number): CorruptDataError {
    const what = `unit ${offset}, which points outside the commitlog,`;
    return new CorruptDataError(what, queue.files.directory, offset * UNIT_SIZE_BYTES);
  }

  release(): void {
    this.heap.release(this.#units);
    this.#mender.release();
    if (this.#buffer !== 0) this.heap.release(this.#buffer);
  }

  /**
   * Reads units from queue offset `offset` on, from the file or from what is gathered for it.
   * @returns how many, at least one and at most `wanted`; they stay until anything else is read
   * @throws CorruptDataError
   */
  readUnits(queue: Queue, offset: number, wanted: number): number {
    const unitCount = Math.min(UNITS_A_READ, wanted);
    const { writtenUnits } = queue.files;
    if (offset >= writtenUnits) {
      const from = queue.unitsAddress + (offset - writtenUnits) * UNIT_SIZE_BYTES;
      this.heap.bytes.copyWithin(this.#units, from, from + unitCount * UNIT_SIZE_BYTES);
      return unitCount;
    }
    const read = queue.files.read(offset, Math.min(unitCount, writtenUnits - offset), this.heap.bytes, this.#units);
    if (read === 0)
      throw new CorruptDataError(`a missing unit ${offset}`, queue.files.directory, offset * UNIT_SIZE_BYTES);
    return read;
  }

  /** Checks the message of the unit at `index` of the buffer and brings it into `#message`. @returns bytes of its record */
  #read(queue: Queue, offset: number, index: number, unitCount: number, filter: TagFilter | null): number {
    const unit = this.#unit;
    decodeUnit(this.heap.view, this.#units + index * UNIT_SIZE_BYTES, unit);
    const { physicalOffset, sizeBytes } = unit;
    if (!this.isInLog(unit)) {
      if (this.#mend(queue, offset, index)) return this.#readAgain(queue, offset, index, unitCount, filter);
      throw this.outsideLog(queue, offset);
    }
    const file = this.log.fileOf(physicalOffset);
    let address = file.addressOf(physicalOffset, sizeBytes);
    if (address < 0) {
      if (sizeBytes > LARGEST_RECORD_BYTES) {
        if (this.#mend(queue, offset, index)) return this.#readAgain(queue, offset, index, unitCount, filter);
        throw this.damagedAt(physicalOffset);
      }
      address = this.#readRecord(physicalOffset, sizeBytes, index, unitCount, filter);
    }
    const { parser } = this;
    const outcome = parser.parse(address, sizeBytes, physicalOffset, this.queues);
    if (outcome !== ParseOutcome.OK) {
      if (this.#mend(queue, offset, index)) return this.#readAgain(queue, offset, index, unitCount, filter);
      if (this.#isLost(address, sizeBytes, file.endOffset - physicalOffset)) throw this.damagedAt(physicalOffset);
      throw new CorruptDataError(OUTCOME_TEXTS[outcome]!, file.path, physicalOffset - file.baseOffset);
    }
    if (parser.queueBlock !== queue.block || parser.queueOffset !== offset || parser.sizeBytes !== sizeBytes) {
      if (this.#mend(queue, offset, index)) return this.#readAgain(queue, offset, index, unitCount, filter);
      throw new CorruptDataError(
        `another message than number ${offset} of queue ${queue.queueId} of ${queue.topic}`,
        file.path,
        physicalOffset - file.baseOffset,
      );
    }
    this.parsedMessage(physicalOffset);
    return sizeBytes;
  }

  /** Makes a unit anew that led to no message of its own; that at `index` of those last read is it then. */
  #mend(queue: Queue, offset: number, index: number): boolean {
    if (this.#hasMended || !this.mendUnit(queue, offset)) return false;
    queue.files.read(offset, 1, this.heap.bytes, this.#units + index * UNIT_SIZE_BYTES);
    return true;
  }

  #readAgain(queue: Queue, offset: number, index: number, unitCount: number, filter: TagFilter | null): number {
    this.#hasMended = true;
    try {
      return this.#read(queue, offset, index, unitCount, filter);
    } finally {
      this.#hasMended = false;
    }
  }

  /** Zeros, or what recovery puts there, are where the message was. */
  #isLost(address: number, sizeBytes: number, leftInFile: number): boolean {
    const { bytes, view } = this.heap;
    return (
      isLostPart(bytes, address, sizeBytes, leftInFile) ||
      (view.getInt32(address) === 0 && view.getInt32(address + 4) === 0)
    );
  }

  #unfolded(position: number): Uint8Array {
    const { path, baseOffset } = this.log.fileOf(position);
    const positionBytes = position - baseOffset;
    const codec = codecOfBody(this.parser.sysFlag);
    if (codec === undefined) throw new CorruptDataError("a body compressed by nothing known", path, positionBytes);
    try {
      // A copy: the codecs read no shared memory.
      return decompress(codec, this.parser.body.slice(), MAX_UNFOLDED_SIZE_BYTES);
    } catch (error) {
      if (!(error instanceof CorruptPayloadError)) throw error;
      throw new CorruptDataError(`a body whose ${codec} payload ${error.what}`, path, positionBytes);
    }
  }

  /** Brings a record into the buffer, and the following units' records with it while they lie near. @returns address */
  #readRecord(position: number, sizeBytes: number, index: number, unitCount: number, filter: TagFilter | null): number {
    if (position < this.#bufferedFrom || position + sizeBytes > this.#bufferedTo) {
      const file = this.log.fileOf(position);
      let to = position + sizeBytes;
      let usefulBytes = sizeBytes;
      const next = { physicalOffset: 0, sizeBytes: 0, tagsCode: 0 };
      for (let i = index + 1; i < unitCount; i++) {
        decodeUnit(this.heap.view, this.#units + i * UNIT_SIZE_BYTES, next);
        if (filter !== null && !filter.mayMatch(next.tagsCode)) continue;
        const nextTo = next.physicalOffset + next.sizeBytes;
        if (!isData(next) || next.physicalOffset < to || nextTo > file.endOffset) break;
        usefulBytes += next.sizeBytes;
        const isNear = next.physicalOffset - to <= NEAR_BYTES || usefulBytes * 2 >= nextTo - position;
        if (!isNear || nextTo - position > READ_AHEAD_BYTES) break;
        to = nextTo;
      }
      this.#makeBuffer(to - position);
      this.#bufferedFrom = 0;
      this.#bufferedTo = 0;
      const read = file.read(this.heap.bytes, this.#buffer, to - position, position);
      this.#bufferedFrom = position;
      this.#bufferedTo = position + read;
    }
    return this.#buffer + (position - this.#bufferedFrom);
  }

  #makeBuffer(sizeBytes: number): void {
    if (sizeBytes <= this.#bufferSizeBytes) return;
    if (this.#buffer !== 0) this.heap.release(this.#buffer);
    this.#bufferSizeBytes = Math.max(READ_AHEAD_BYTES, sizeBytes);
    this.#buffer = this.heap.allocate(this.#bufferSizeBytes, 64);
  }
}

function headersOf(properties: Uint8Array): Header[] {
  const encoder = new TextEncoder();
  return parseProperties(properties)
    .filter(({ name }) => name !== KEYS_PROPERTY)
    .map(({ name, value }) => ({ key: name, value: encoder.encode(value) }));
}
