import { crc32OfView } from "../codec/checksums.js";
import { SysFlag } from "../codec/commitlog-message.js";
import type { Heap } from "../heap.js";
import type { Kernel } from "../kernel/kernel.js";
import type { QueueTable } from "./queue-table.js";

/** Bodies up to this size are checked in the kernel; above, a native CRC is faster. */
export const KERNEL_CRC_LIMIT_BYTES = 384;

// Layout of the result block and the outcomes, documented in kernel/assembly/commitlog-message.ts.
const RESULT_SIZE_BYTES = 96;
const SIZE_AT = 0;
const QUEUE_AT = 4;
const QUEUE_ID_AT = 8;
const SYS_FLAG_AT = 12;
const TOPIC_AT = 16;
const TOPIC_SIZE_AT = 20;
const BODY_AT = 24;
const BODY_SIZE_AT = 28;
const PROPERTIES_AT = 32;
const PROPERTIES_SIZE_AT = 36;
const KEYS_AT = 40;
const KEYS_SIZE_AT = 44;
const OTHER_PROPERTIES_AT = 48;
const BODY_CRC_AT = 52;
const PASSED_AT = 56;
const NEEDS_CRC_AT = 60;
const QUEUE_OFFSET_AT = 64;
const BORN_TIMESTAMP_AT = 72;
const STORE_TIMESTAMP_AT = 80;
const PASSED_TIMESTAMP_AT = 88;

export const ParseOutcome = {
  OK: 0,
  BLANK: 1,
  TOO_SHORT: 2,
  BAD_MAGIC: 3,
  BAD_BODY_CRC: 8,
  BAD_PROPERTY_CRC: 12,
} as const;

/** What an outcome other than OK says of the bytes, in the words of a CorruptDataError. */
export const OUTCOME_TEXTS: readonly string[] = [
  "a sound message",
  "the blank of a file's end",
  "a message that does not fit before the file's end",
  "bytes without a message's magic",
  "a message of impossible size",
  "a body longer than its message",
  "a topic longer than its message",
  "properties that do not end the message",
  "a body that does not match its CRC",
  "a message that names another position as its own",
  "a message of an impossible queue or queue offset",
  "a message with impossible timestamps",
  "a message that does not match its CRC property, or lacks it",
];

/** The halves of a position, as the kernel takes it: V8 puts a number above 2^31 on its heap for a call. */
export function highHalf(position: number): number {
  return (position / 4_294_967_296) | 0;
}

export function lowHalf(position: number): number {
  return position | 0;
}

/** Reads records in the heap through the kernel; its fields describe the last record that parsed as OK. */
export class RecordParser {
  readonly #result: number;
  /** Bodies up to this size are checked in the kernel; -1 = no body is checked anywhere. */
  readonly #crcLimitBytes: number;
  /** Made once: the checksum of a large body and its reader share it. */
  #body: Uint8Array | null = null;

  constructor(
    private readonly heap: Heap,
    private readonly kernel: Kernel,
    /** Refuses a record without the CRC property: else a spoilt name of the property leaves the record unchecked. */
    needsPropertyCrc: boolean,
    /** False: a body is taken for right whatever its CRC. */
    checksBodies = true,
  ) {
    this.#crcLimitBytes = checksBodies ? KERNEL_CRC_LIMIT_BYTES : -1;
    this.#result = heap.allocate(RESULT_SIZE_BYTES, 64);
    heap.view.setUint32(this.#result + NEEDS_CRC_AT, needsPropertyCrc ? 1 : 0, true);
  }

  /**
   * Checks the record at `address`, byte `position` of the log, with `availableBytes` up to the file's end: its structure,
   * its position, its body's CRC, and the CRC property if it has or needs one.
   * @returns an outcome: index into OUTCOME_TEXTS
   */
  parse(address: number, availableBytes: number, position: number, queues: QueueTable): number {
    const outcome = this.kernel.parseCommitlogMessage(
      address,
      availableBytes,
      highHalf(position),
      lowHalf(position),
      this.#crcLimitBytes,
      queues.tableAddress,
      queues.tableMask,
      this.#result,
    );
    return outcome === ParseOutcome.OK ? this.#checkLargeBody() : outcome;
  }

  /**
   * Passes over sound records of known queues, no inner batches, none older than `storeTimestampMs` or the one before it, and parses the
   * first that is not so, or whose body is too large for the kernel. `passedBytes` says how far it came.
   * @returns the outcome for the record it stopped at; TOO_SHORT when nothing is left
   */
  pass(
    address: number,
    availableBytes: number,
    position: number,
    queues: QueueTable,
    storeTimestampMs: number,
  ): number {
    const outcome = this.kernel.passCommitlogMessages(
      address,
      availableBytes,
      highHalf(position),
      lowHalf(position),
      this.#crcLimitBytes,
      queues.tableAddress,
      queues.tableMask,
      storeTimestampMs,
      this.#result,
    );
    return outcome === ParseOutcome.OK ? this.#checkLargeBody() : outcome;
  }

  get passedBytes(): number {
    return this.heap.view.getInt32(this.#result + PASSED_AT, true);
  }

  /** Store time of the last record passed over. */
  get passedTimestampMs(): number {
    return this.heap.view.getFloat64(this.#result + PASSED_TIMESTAMP_AT, true);
  }

  #checkLargeBody(): number {
    this.#body = null;
    if (this.#crcLimitBytes < 0 || this.bodySizeBytes <= this.#crcLimitBytes) return ParseOutcome.OK;
    const crc = crc32OfView(this.body) & 0x7fffffff;
    const isRight = crc === this.heap.view.getInt32(this.#result + BODY_CRC_AT, true);
    return isRight ? ParseOutcome.OK : ParseOutcome.BAD_BODY_CRC;
  }

  /** The body's bytes, a view of the heap. */
  get body(): Uint8Array {
    const at = this.heap.view.getUint32(this.#result + BODY_AT, true);
    this.#body ??= this.heap.bytes.subarray(at, at + this.bodySizeBytes);
    return this.#body;
  }

  get sizeBytes(): number {
    return this.heap.view.getInt32(this.#result + SIZE_AT, true);
  }

  /** The block of the record's queue, or 0 when it is unknown. */
  get queueBlock(): number {
    return this.heap.view.getUint32(this.#result + QUEUE_AT, true);
  }

  get queueId(): number {
    return this.heap.view.getInt32(this.#result + QUEUE_ID_AT, true);
  }

  get sysFlag(): number {
    return this.heap.view.getInt32(this.#result + SYS_FLAG_AT, true);
  }

  get isCompressed(): boolean {
    return (this.sysFlag & SysFlag.COMPRESSED) !== 0;
  }

  get bodySizeBytes(): number {
    return this.heap.view.getInt32(this.#result + BODY_SIZE_AT, true);
  }

  /** 0 = no KEYS property. */
  get keysSizeBytes(): number {
    return this.heap.view.getUint32(this.#result + KEYS_SIZE_AT, true);
  }

  get keysAddress(): number {
    return this.heap.view.getUint32(this.#result + KEYS_AT, true);
  }

  /** Properties other than KEYS, repeated names counted each time. */
  get otherPropertyCount(): number {
    return this.heap.view.getUint32(this.#result + OTHER_PROPERTIES_AT, true);
  }

  get queueOffset(): number {
    return this.heap.view.getFloat64(this.#result + QUEUE_OFFSET_AT, true);
  }

  get bornTimestampMs(): number {
    return this.heap.view.getFloat64(this.#result + BORN_TIMESTAMP_AT, true);
  }

  get storeTimestampMs(): number {
    return this.heap.view.getFloat64(this.#result + STORE_TIMESTAMP_AT, true);
  }

  /** Copies of bytes that need not be UTF-8. */
  topic(): string {
    return this.#text(TOPIC_AT, TOPIC_SIZE_AT);
  }

  /** A copy of the properties as stored. */
  properties(): Uint8Array {
    const at = this.heap.view.getUint32(this.#result + PROPERTIES_AT, true);
    return this.heap.bytes.slice(at, at + this.heap.view.getInt32(this.#result + PROPERTIES_SIZE_AT, true));
  }

  release(): void {
    this.heap.release(this.#result);
  }

  #text(addressAt: number, sizeAt: number): string {
    const address = this.heap.view.getUint32(this.#result + addressAt, true);
    const sizeBytes = this.heap.view.getInt32(this.#result + sizeAt, true);
    return new TextDecoder().decode(this.heap.bytes.slice(address, address + sizeBytes));
  }
}
