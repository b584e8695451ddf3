import { BLANK_MAGIC, BODY_CRC_AT, parseProperties, SysFlag } from "../codec/commitlog-message.js";
import { OpenError } from "../errors.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { ConsumequeueUnit } from "./consumequeue-unit.js";
import { type Dispatcher, DispatchOutcome } from "./dispatcher.js";
import { isLostPart, LOST_PART_HEADER_BYTES } from "./lost-part.js";
import type { MappedFile } from "./mapped-file.js";
import { isTopicName } from "./names.js";
import type { Queue, QueueTable } from "./queue-table.js";
import { OUTCOME_TEXTS, ParseOutcome, type RecordParser } from "./record-parser.js";
import { claimedSize, findCandidate, LARGEST_RECORD_BYTES, SEARCH_BYTES } from "./record-search.js";
import { UNKNOWN_TAGS_CODE } from "./tag-filter.js";

/** Small enough for the processor's cache, so that the second look at a record costs little. */
const CHUNK_BYTES = 512 << 10;
const SMALLEST_RECORD_BYTES = 91;
/** So many zeros behind a bad record: nothing was ever written there. */
const ZEROS_THAT_END_THE_SEARCH = 16 << 20;

const BAD_TOPIC = OUTCOME_TEXTS.length;
const LEFT_BEHIND = OUTCOME_TEXTS.length + 1;
const REASONS = [
  ...OUTCOME_TEXTS,
  "a message of an impossible topic",
  "a message older than the one before it, left behind by an earlier life of the file",
];
const LOST_END = "messages lost with the end of their file";
const LOST_PART = "messages lost with a part of the log";
/** The dispatched offset of a queue of which a whole scan has seen no record yet: no record's is the next. */
export const BEFORE_FIRST = -1;

/** A part of the log that holds no sound record, between parts that do. */
export interface DamagedRange {
  readonly from: number;
  readonly to: number;
  readonly reason: string;
  /** It reaches to the end of a file, and nothing of it is there. */
  readonly isLost: boolean;
}

export interface ScanResult {
  readonly startOffset: number;
  /** Behind the last sound record (or at a file's end, when it ended with a blank). */
  readonly endOffset: number;
  /** Position of what stopped the scan, and why; undefined when only zeros, or nothing, follow. */
  readonly stoppedBy: string | undefined;
  /** Behind the last byte that is not zero: what lies from `endOffset` to here is given up. */
  readonly garbageEnd: number;
  readonly storeTimestampMs: number;
  readonly scannedBytes: number;
  readonly damaged: readonly DamagedRange[];
}

/** The units before the scanned part do not fit to it: the whole log has to be scanned. */
export class PrefixError extends Error {
  override name = "PrefixError";
}

/**
 * Reads the log from `from` on, record by record, and dispatches the sound ones. Stops at the first that is not, unless
 * something behind it is known to have been on the device: then the bytes between are damaged, not torn.
 *
 * RocketMQ stops at the first bad record in any case, and so gives up all that follows one flipped bit.
 */
export class LogScan {
  readonly #bufferAddress: number;
  readonly #bufferSizeBytes: number;
  readonly #damaged: DamagedRange[] = [];
  #storeTimestampMs = 0;
  #scannedBytes = 0;

  constructor(
    private readonly heap: Heap,
    private readonly files: readonly MappedFile[],
    private readonly queues: QueueTable,
    private readonly parser: RecordParser,
    private readonly dispatcher: Dispatcher,
    /**
     * A record stored before this time was on the device; Infinity after a clean shutdown. Of those stored within that
     * very millisecond the last may have come after the sync.
     */
    private readonly durableUntilMs: number,
    /** Whether the scan begins with the log, so that a queue's first record says where the queue begins. */
    private readonly isWhole: boolean,
    private readonly hadConsumequeue: boolean,
    fileSizeBytes: number,
    /** Where files end that had lost their end: what follows is the log's, though nothing proves that it is. */
    private readonly cutShort: ReadonlySet<number>,
  ) {
    this.#bufferSizeBytes = Math.max(SEARCH_BYTES, Math.min(fileSizeBytes, LARGEST_RECORD_BYTES));
    this.#bufferAddress = heap.allocate(this.#bufferSizeBytes, 64);
  }

  /** @throws PrefixError unless the scan is whole */
  run(from: number): ScanResult {
    let position = from;
    while (true) {
      const file = this.files.find(({ baseOffset, endOffset }) => position >= baseOffset && position < endOffset);
      if (file === undefined) return this.#result(from, position, undefined, position);
      const stopped = this.#scanFile(file, position);
      if (stopped === undefined) {
        position = file.endOffset;
        continue;
      }
      const found = this.#findNext(stopped.position);
      if (this.cutShort.has(file.endOffset) && (found.position ?? file.endOffset) >= file.endOffset) {
        this.#damaged.push({ from: stopped.position, to: file.endOffset, reason: LOST_END, isLost: true });
        position = file.endOffset;
        continue;
      }
      if (found.position === undefined) {
        const isBlankSpace = found.garbageEnd <= stopped.position;
        return this.#result(from, stopped.position, isBlankSpace ? undefined : stopped.reason, found.garbageEnd);
      }
      this.#damaged.push({ from: stopped.position, to: found.position, reason: stopped.reason, isLost: false });
      position = found.position;
    }
  }

  release(): void {
    this.heap.release(this.#bufferAddress);
  }

  #result(startOffset: number, endOffset: number, stoppedBy: string | undefined, garbageEnd: number): ScanResult {
    return {
      startOffset,
      endOffset,
      stoppedBy,
      garbageEnd: Math.max(garbageEnd, endOffset),
      storeTimestampMs: this.#storeTimestampMs,
      scannedBytes: this.#scannedBytes,
      damaged: this.#damaged,
    };
  }

  /** @returns what it stopped at, or undefined at the file's blank */
  #scanFile(file: MappedFile, from: number): { position: number; reason: string } | undefined {
    let position = from;
    let wantedBytes = CHUNK_BYTES;
    while (position < file.endOffset) {
      const chunkBytes = this.#read(file, position, wantedBytes);
      const { passedBytes, outcome } = this.#passOver(chunkBytes, position, file.endOffset);
      const dispatched = this.#dispatch(position, passedBytes);
      if (dispatched.reason !== undefined) {
        this.#storeTimestampMs = this.dispatcher.storeTimestampMs; // not that of the chunk's end, which is behind it
        return { position: position + dispatched.bytes, reason: dispatched.reason };
      }
      position += passedBytes;
      wantedBytes = CHUNK_BYTES;
      if (outcome === ParseOutcome.OK) continue;
      if (outcome === ParseOutcome.BLANK) {
        const availableBytes = chunkBytes - passedBytes;
        // It may be cut in two by the chunk's end.
        if (availableBytes < Math.min(LOST_PART_HEADER_BYTES, file.endOffset - position)) continue;
        const blankAt = this.#bufferAddress + passedBytes;
        if (isLostPart(this.heap.bytes, blankAt, availableBytes, file.endOffset - position)) {
          this.#damaged.push({ from: position, to: file.endOffset, reason: LOST_PART, isLost: true });
        }
        return undefined;
      }
      // What the chunk's end may have cut in two is looked at again at the start of the next.
      if (passedBytes > 0) continue;
      const claimedBytes = claimedSize(this.heap, this.#bufferAddress, chunkBytes);
      if (claimedBytes <= chunkBytes || claimedBytes > Math.min(this.#bufferSizeBytes, file.endOffset - position)) {
        if (outcome === ParseOutcome.BAD_BODY_CRC && this.heap.view.getInt32(this.#bufferAddress + BODY_CRC_AT) === 0) {
          throw uncheckedError(position);
        }
        return { position, reason: REASONS[outcome]! };
      }
      wantedBytes = claimedBytes;
    }
    return undefined;
  }

  /** Checks the buffer's records. @returns the bytes of the sound ones, and OK at the end or else what follows them */
  #passOver(chunkBytes: number, position: number, fileEnd: number): { passedBytes: number; outcome: number } {
    let at = 0;
    while (at < chunkBytes) {
      const address = this.#bufferAddress + at;
      let outcome = this.parser.pass(address, chunkBytes - at, position + at, this.queues, this.#storeTimestampMs);
      const { passedBytes } = this.parser;
      if (passedBytes > 0) this.#storeTimestampMs = this.parser.passedTimestampMs;
      at += passedBytes;
      if (at === chunkBytes) break;
      outcome = this.#judge(outcome, this.#bufferAddress + at, chunkBytes - at, position + at, fileEnd);
      if (outcome === ParseOutcome.OK && this.#isLeftBehind(position + at)) outcome = LEFT_BEHIND;
      if (outcome !== ParseOutcome.OK) return { passedBytes: at, outcome };
      if (this.#isInnerBatch()) throw innerBatchError(position + at);
      if (this.parser.queueBlock === 0) this.#addQueue();
      this.#storeTimestampMs = this.parser.storeTimestampMs;
      at += this.parser.sizeBytes;
    }
    return { passedBytes: at, outcome: ParseOutcome.OK };
  }

  #read(file: MappedFile, position: number, wantedBytes: number): number {
    const sizeBytes = Math.min(wantedBytes, file.endOffset - position);
    const read = file.read(this.heap.bytes, this.#bufferAddress, sizeBytes, position);
    invariant(read === sizeBytes, "a commitlog file has its full size");
    this.#scannedBytes += read;
    return read;
  }

  /** What is to be thought of the record at `position`, parsed with that outcome. */
  #judge(outcome: number, address: number, availableBytes: number, position: number, fileEnd: number): number {
    if (outcome !== ParseOutcome.OK) {
      return this.#isBlank(address, availableBytes, fileEnd - position) ? ParseOutcome.BLANK : outcome;
    }
    // A topic that no directory may be called is as bad as a wrong checksum.
    return this.parser.queueBlock === 0 && !isTopicName(this.parser.topic()) ? BAD_TOPIC : ParseOutcome.OK;
  }

  /**
   * Whether the record just parsed belongs to an earlier life of the file: RocketMQ does not clear what it discards, and
   * new records may end where an old one begins. It is older than its predecessor then, and no consumequeue has it.
   */
  #isLeftBehind(position: number): boolean {
    if (!this.hadConsumequeue || this.parser.storeTimestampMs >= this.#storeTimestampMs) return false;
    if (this.parser.queueBlock === 0) return true;
    const unit = this.queues.atBlock(this.parser.queueBlock).files.unitAt(this.parser.queueOffset);
    return unit === undefined || unit.physicalOffset !== position;
  }

  #addQueue(): void {
    const queue = this.queues.add(this.parser.topic(), this.parser.queueId);
    if (this.isWhole) queue.dispatchedOffset = BEFORE_FIRST;
  }

  /** By its flag and its property: a flag alone may be a flipped bit. */
  #isInnerBatch(): boolean {
    if ((this.parser.sysFlag & SysFlag.INNER_BATCH) === 0) return false;
    return parseProperties(this.parser.properties()).some(({ name }) => name === INNER_NUM_PROPERTY);
  }

  #isBlank(address: number, availableBytes: number, leftInFile: number): boolean {
    const { view } = this.heap;
    return availableBytes >= 8 && view.getInt32(address) === leftInFile && view.getInt32(address + 4) === BLANK_MAGIC;
  }

  /** Makes units of the `sizeBytes` checked bytes at the buffer's start. */
  #dispatch(position: number, sizeBytes: number): { bytes: number; reason?: string } {
    let done = 0;
    while (done < sizeBytes) {
      const outcome = this.dispatcher.run(this.#bufferAddress + done, sizeBytes - done, position + done);
      done += this.dispatcher.consumedBytes;
      if (outcome === DispatchOutcome.AT_END) break;
      invariant(outcome === DispatchOutcome.OUT_OF_ORDER, "checked records are dispatched");
      const reason = this.#mendOrder(this.#bufferAddress + done, sizeBytes - done, position + done);
      if (reason !== undefined) return { bytes: done, reason };
    }
    return { bytes: done };
  }

  /**
   * A record whose queue offset is not its queue's next: the queue's first, or one behind damage, or nonsense.
   * @returns undefined when the record can be dispatched now
   */
  #mendOrder(address: number, sizeBytes: number, position: number): string | undefined {
    this.parser.parse(address, sizeBytes, position, this.queues);
    const queue = this.queues.atBlock(this.parser.queueBlock);
    const queueOffset = this.parser.queueOffset;
    const expected = queue.dispatchedOffset;
    if (!this.isWhole) {
      throw new PrefixError(
        `queue ${queue.queueId} of ${queue.topic} goes on with message ${queueOffset}, its consumequeue with ${expected}`,
      );
    }
    const damage = this.#damaged.at(-1);
    if (expected === BEFORE_FIRST) {
      // The queue begins here, unless its first messages may be the damaged ones.
      const start = damage !== undefined && this.files[0]!.baseOffset === 0 ? 0 : queueOffset;
      queue.files.startAt(start);
      queue.dispatchedOffset = start;
      return undefined;
    }
    if (queueOffset < expected || damage === undefined || queueOffset - expected > this.#mostLostMessages()) {
      return `message ${queueOffset} of queue ${queue.queueId} of ${queue.topic} where message ${expected} belongs`;
    }
    this.#pointAtDamage(queue, queueOffset, damage);
    return undefined;
  }

  /** A queue offset has no checksum: what claims that more messages are lost than the damage has room for is damaged, too. */
  #mostLostMessages(): number {
    const damagedBytes = this.#damaged.reduce((sum, { from, to }) => sum + to - from, 0);
    return Math.ceil(damagedBytes / SMALLEST_RECORD_BYTES);
  }

  /** Units for the messages that the damage swallowed: a fetch of one reports the damage instead of skipping it. */
  #pointAtDamage(queue: Queue, until: number, damage: DamagedRange): void {
    while (queue.dispatchedOffset < until) {
      if (!queue.hasRoom) this.queues.makeUnitRoom(queue);
      queue.pushUnit(unitOfDamage(damage, true));
    }
  }

  /**
   * The next sound record behind `position` that is known to have been on the device, in its file or at the start of a
   * later one; and where the bytes that are not zero end.
   */
  #findNext(position: number): { position?: number; garbageEnd: number } {
    let garbageEnd = position;
    for (const file of this.files) {
      if (file.endOffset <= position) continue;
      let from = Math.max(position, file.baseOffset);
      let zeros = 0;
      while (from < file.endOffset && zeros < ZEROS_THAT_END_THE_SEARCH) {
        const chunkBytes = this.#read(file, from, SEARCH_BYTES);
        const chunk = this.heap.bytes.subarray(this.#bufferAddress, this.#bufferAddress + chunkBytes);
        const lastByte = lastNonZero(chunk);
        if (lastByte < 0) {
          zeros += chunkBytes;
        } else {
          garbageEnd = from + lastByte + 1;
          zeros = chunkBytes - 1 - lastByte;
          const found = this.#findInChunk(chunkBytes, from, position, file.endOffset);
          if (found !== undefined) return { position: found, garbageEnd };
        }
        if (from + chunkBytes >= file.endOffset) break;
        // A record may straddle the chunk's end.
        from += SEARCH_BYTES >> 1;
      }
    }
    return { garbageEnd };
  }

  #findInChunk(chunkBytes: number, chunkPosition: number, behind: number, fileEnd: number): number | undefined {
    const end = this.#bufferAddress + chunkBytes;
    const positionAtZero = chunkPosition - this.#bufferAddress;
    for (let from = this.#bufferAddress; ; ) {
      const at = findCandidate(this.heap, from, end, positionAtZero);
      if (at === undefined) return undefined;
      from = at + 1;
      const position = at + positionAtZero;
      if (position <= behind) continue;
      const outcome = this.parser.parse(at, end - at, position, this.queues);
      if (this.#judge(outcome, at, end - at, position, fileEnd) !== ParseOutcome.OK) continue;
      const { storeTimestampMs } = this.parser;
      // Older than what precedes it: left behind by an earlier life of the file, not part of this log.
      if (storeTimestampMs < this.durableUntilMs && storeTimestampMs >= this.#storeTimestampMs) return position;
    }
  }
}

/**
 * The unit of a message that the damage swallowed. Of a lost part it says a byte more than the file has, so that RocketMQ
 * passes over it, as over a message that was deleted, instead of handing out what is no message.
 * @param isFollowed the log goes on behind the damage
 */
export function unitOfDamage({ from, to, isLost }: DamagedRange, isFollowed: boolean): ConsumequeueUnit {
  const sizeBytes = to - from + (isLost && isFollowed ? 1 : 0);
  return { physicalOffset: from, sizeBytes: Math.min(sizeBytes, 0x7fff_fffe), tagsCode: UNKNOWN_TAGS_CODE };
}

/** A batch takes several queue offsets and a unit of another kind: taken for a message it would look like a gap. */
function innerBatchError(position: number): OpenError {
  return new OpenError(
    `The message at byte ${position} of the commitlog is an inner batch (a topic of queue.type BatchCQ), which this engine does not read. Open the directory with RocketMQ.`,
  );
}

/** Rather than to cut off all that was written without checksums. */
function uncheckedError(position: number): OpenError {
  return new OpenError(
    `The message at byte ${position} of the commitlog has no checksum: it was written with checksum false. Open the directory with checksum false.`,
  );
}

/** How many messages an inner batch holds. */
const INNER_NUM_PROPERTY = "INNER_NUM";

function lastNonZero(bytes: Uint8Array): number {
  // Compared with itself, a byte further on, it is the C library that reads: most of what a scan ends with is zeros.
  if (bytes[0] === 0 && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0) return -1;
  for (let at = bytes.length - 1; at >= 0; at--) if (bytes[at] !== 0) return at;
  return -1;
}
