/**
 * Kafka's record batch, format v2 (magic 2): the unit of append, of checksum and of a fetch. Big-endian.
 *
 *   at  bytes  field                 type    unit and meaning
 *    0      8  baseOffset            i64     offset of the first record
 *    8      4  batchLength           i32     bytes after this field: size of the batch - 12
 *   12      4  partitionLeaderEpoch  i32     set by the leader
 *   16      1  magic                 i8      2
 *   17      4  crc                   u32     CRC-32C of bytes 21 to the end, so the leader can set what stands before it
 *   21      2  attributes            i16     bits 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
 *   23      4  lastOffsetDelta       i32     last offset - baseOffset; kept when compaction removes records
 *   27      8  baseTimestamp         i64     ms, of the first record
 *   35      8  maxTimestamp          i64     ms, largest of the records, or the broker's append time
 *   43      8  producerId            i64     -1: not idempotent, as are the two that follow
 *   51      2  producerEpoch         i16     -1
 *   53      4  baseSequence          i32     -1
 *   57      4  recordsCount          i32
 *   61      …  records, back to back, or one compressed stream of them
 *
 * A record is zigzag varints and bytes: length of what follows · attributes (one byte, 0) · timestampDelta ·
 * offsetDelta · key length (-1 null), key · value length (-1 null), value · header count, and per header key length,
 * UTF-8 key, value length (-1 null), value.
 *
 * Source: Kafka, clients/…/common/record/DefaultRecordBatch.java, DefaultRecord.java.
 */

import type { Header, MessageVisitor, StoredMessage } from "../engine.js";
import { CorruptDataError, CorruptPayloadError } from "../errors.js";
import type { Heap } from "../heap.js";
import { crc32c } from "./checksums.js";
import { decompress, MAX_PAYLOAD_SIZE_BYTES } from "./compression.js";
import { MAX_VARINT_BYTES, readVarint, readVarlong, varintSizeBytes, writeVarint } from "./varint.js";

export const BATCH_HEADER_SIZE_BYTES = 8 + 4 + 4 + 1 + 4 + 2 + 4 + 8 + 8 + 8 + 2 + 4 + 4;
/** baseOffset and batchLength: what `batchLength` does not count. */
export const BATCH_PREFIX_SIZE_BYTES = 8 + 4;
export const CRC_AT = 8 + 4 + 4 + 1;
/** Where the bytes under the checksum begin. */
export const CHECKED_AT = CRC_AT + 4;

export const LENGTH_AT = 8;
const LEADER_EPOCH_AT = 12;
export const MAGIC_AT = 16;
export const ATTRIBUTES_AT = 21;
const LAST_OFFSET_DELTA_AT = 23;
const BASE_TIMESTAMP_AT = 27;
export const MAX_TIMESTAMP_AT = 35;
const RECORDS_COUNT_AT = 57;

const COMPRESSION_MASK = 0x07;
const LOG_APPEND_TIME_FLAG = 0x08;
const CONTROL_FLAG = 0x20;
const RESERVED_ATTRIBUTES = 0xff80;

/** By the number that bits 0-2 of the attributes hold. */
export const COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"] as const;

const UTF8 = new TextEncoder();

/** Size of a record with these parts as the first of its batch (both deltas 0), its own length field included. */
export function firstRecordSizeBytes(keySizeBytes: number, valueSizeBytes: number, headersSizeBytes: number): number {
  const bodySizeBytes =
    3 +
    varintSizeBytes(keySizeBytes) +
    Math.max(0, keySizeBytes) +
    varintSizeBytes(valueSizeBytes) +
    Math.max(0, valueSizeBytes) +
    headersSizeBytes;
  return varintSizeBytes(bodySizeBytes) + bodySizeBytes;
}

/** Bytes of the header count and the headers as a record carries them. */
export function encodeHeaders(headers: readonly Header[]): Uint8Array {
  const keys = headers.map((header) => UTF8.encode(header.key));
  let capacity = MAX_VARINT_BYTES;
  headers.forEach((header, i) => {
    capacity += 2 * MAX_VARINT_BYTES + keys[i]!.byteLength + (header.value?.byteLength ?? 0);
  });
  const bytes = new Uint8Array(capacity);
  let at = writeVarint(headers.length, bytes, 0);
  headers.forEach(({ value }, i) => {
    const key = keys[i]!;
    at = writeVarint(key.byteLength, bytes, at);
    bytes.set(key, at);
    at = writeVarint(value?.byteLength ?? -1, bytes, at + key.byteLength);
    if (value === null) return;
    bytes.set(value, at);
    at += value.byteLength;
  });
  return bytes.subarray(0, at);
}

/**
 * What is checked of a batch besides its header: its checksum; the form of its records, where none is kept; or nothing
 * more, for a reader who is about to parse the records anyhow.
 */
export type BatchCheck = "checksum" | "form" | "header";

/** What a batch's header says of where it ends. */
export interface BatchExtent {
  baseOffset: number;
  lastOffset: number;
  /** Whole batch, its first 12 bytes included. */
  sizeBytes: number;
}

/** Fills `into` from the header at byte `at`, without a look at the checksum. @returns false if no batch begins so */
export function readExtent(view: DataView, at: number, into: BatchExtent): boolean {
  const lastOffsetDelta = view.getInt32(at + LAST_OFFSET_DELTA_AT);
  into.baseOffset = readInt64(view, at);
  into.lastOffset = into.baseOffset + lastOffsetDelta;
  into.sizeBytes = view.getInt32(at + LENGTH_AT) + BATCH_PREFIX_SIZE_BYTES;
  return view.getInt8(at + MAGIC_AT) === 2 && into.sizeBytes >= BATCH_HEADER_SIZE_BYTES && lastOffsetDelta >= 0;
}

/** Whether what may be a batch's header, by its magic, has no bit that means nothing and counts that can be. */
export function hasPlausibleHeader(view: DataView, address: number): boolean {
  if ((view.getInt16(address + ATTRIBUTES_AT) & RESERVED_ATTRIBUTES) !== 0) return false;
  const recordCount = view.getInt32(address + RECORDS_COUNT_AT);
  return recordCount >= 0 && view.getInt32(address + LAST_OFFSET_DELTA_AT) >= Math.max(0, recordCount - 1);
}

/** Why bytes are no record batch; `incomplete` alone can be the honest end of a log that was cut while writing. */
export type BatchFault =
  | "an incomplete record batch"
  | "a record batch that needs the next one's header to be judged"
  | "a record batch of impossible length"
  | "a record batch of unknown format"
  | "a record batch with a wrong checksum"
  | "a record batch written without a checksum"
  | "a record batch whose offsets do not follow"
  | "a malformed record batch";

/**
 * Reads record batches out of the heap; one instance holds the fields of the batch it looked at last, so that walking a
 * log allocates nothing.
 */
export class RecordBatchReader {
  baseOffset = 0;
  lastOffset = 0;
  /** Whole batch, its first 12 bytes included. */
  sizeBytes = 0;
  leaderEpoch = 0;
  maxTimestamp = 0;
  recordCount = 0;
  #attributes = 0;
  #baseTimestamp = 0;
  readonly #cursor = { at: 0 };
  readonly #heapBytes: Uint8Array;
  /** What the cursor moves over: the heap, or the records of a compressed batch. */
  #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #message: StoredMessage = { offset: 0, timestampMs: 0, key: null, value: null, headers: NO_HEADERS };

  constructor(
    heap: Heap,
    private readonly check: BatchCheck = "checksum",
  ) {
    this.#heapBytes = heap.bytes;
    this.#bytes = heap.bytes;
    this.#view = heap.view;
  }

  /** Of the first record, or the delete horizon of a compacted batch; ms, -1 if there is none. */
  get baseTimestamp(): number {
    return this.#baseTimestamp;
  }

  /** The codec's name; undefined for a number that has none. */
  get compression(): (typeof COMPRESSIONS)[number] | undefined {
    return COMPRESSIONS[this.#attributes & COMPRESSION_MASK];
  }

  /** A control batch holds markers of transactions, no messages. */
  get isControl(): boolean {
    return (this.#attributes & CONTROL_FLAG) !== 0;
  }

  /** All records have the time at which the broker appended them, `maxTimestamp`. */
  get isLogAppendTime(): boolean {
    return (this.#attributes & LOG_APPEND_TIME_FLAG) !== 0;
  }

  /**
   * Looks at the batch at `address`, of which `availableBytes` are there, and checks all but its records: length,
   * format, counts, checksum and offset. Fills this reader's fields.
   *
   * The base offset is not under the checksum. Where offsets follow without a gap, `expectedOffset` proves it. Compaction
   * leaves gaps in all segments but the last; there a base offset that is too large is told from a gap by the batch that
   * follows, which then begins below this one's end. (Kafka checks neither.)
   *
   * @param expectedOffset offset that follows here if nothing was compacted away
   * @param gaps "refused", or "allowed" with `moreBytes`: whether the log goes on beyond `availableBytes`
   * @returns what is wrong, or null; `sizeBytes` is set whenever the length field itself was readable and possible
   */
  inspect(
    address: number,
    availableBytes: number,
    expectedOffset: number,
    gaps: "refused" | "allowed",
    moreBytes: boolean,
  ): BatchFault | null {
    this.sizeBytes = 0;
    if (availableBytes < MAGIC_AT + 1) return "an incomplete record batch";
    const view = this.#view;
    const sizeBytes = view.getInt32(address + LENGTH_AT) + BATCH_PREFIX_SIZE_BYTES;
    if (sizeBytes < BATCH_HEADER_SIZE_BYTES) return "a record batch of impossible length";
    this.sizeBytes = sizeBytes;
    if (this.#heapBytes[address + MAGIC_AT] !== 2) return "a record batch of unknown format";
    if (sizeBytes > availableBytes) return "an incomplete record batch";
    if (this.check === "checksum") {
      const crc = view.getUint32(address + CRC_AT);
      if (crc32c(address + CHECKED_AT, sizeBytes - CHECKED_AT) !== crc) {
        return crc === 0 && this.#isWholeHeader(address)
          ? "a record batch written without a checksum"
          : "a record batch with a wrong checksum";
      }
    }
    this.baseOffset = readInt64(view, address);
    this.leaderEpoch = view.getInt32(address + LEADER_EPOCH_AT);
    this.#attributes = view.getInt16(address + ATTRIBUTES_AT);
    const lastOffsetDelta = view.getInt32(address + LAST_OFFSET_DELTA_AT);
    this.lastOffset = this.baseOffset + lastOffsetDelta;
    this.#baseTimestamp = readInt64(view, address + BASE_TIMESTAMP_AT);
    this.maxTimestamp = readInt64(view, address + MAX_TIMESTAMP_AT);
    this.recordCount = view.getInt32(address + RECORDS_COUNT_AT);
    if (this.recordCount < 0 || lastOffsetDelta < 0) return "a malformed record batch";
    if (this.check === "form" && !this.#hasFormOfRecords(address)) return "a malformed record batch";
    if (this.baseOffset === expectedOffset) return null;
    if (this.baseOffset < expectedOffset || gaps === "refused") return "a record batch whose offsets do not follow";
    if (availableBytes - sizeBytes >= MAGIC_AT + 1) {
      return readInt64(view, address + sizeBytes) <= this.lastOffset
        ? "a record batch whose offsets do not follow"
        : null;
    }
    return moreBytes ? "a record batch that needs the next one's header to be judged" : null;
  }

  /**
   * Visits the records, from offset `fromOffset` on, of the batch at `address` that `inspect` just found sound. Control
   * batches hold no messages.
   * @param path @param positionBytes where the batch was read from, for the error
   * @returns messages visited
   * @throws CorruptDataError at the first record that does not have the form it should have
   */
  visitRecords(
    address: number,
    fromOffset: number,
    visit: MessageVisitor,
    path: string,
    positionBytes: number,
  ): number {
    if ((this.#attributes & CONTROL_FLAG) !== 0) return 0;
    const message = this.#message;
    let end = address + this.sizeBytes;
    this.#cursor.at = address + BATCH_HEADER_SIZE_BYTES;
    const codec = this.#attributes & COMPRESSION_MASK;
    if (codec === 0) {
      this.#bytes = this.#heapBytes;
    } else {
      this.#bytes = decompressRecords(this.#heapBytes.slice(this.#cursor.at, end), codec, path, positionBytes);
      this.#cursor.at = 0;
      end = this.#bytes.byteLength;
    }
    let visited = 0;
    for (let i = 0; i < this.recordCount; i++) {
      if (!this.#readRecord(message, end)) throw new CorruptDataError("A malformed record", path, positionBytes);
      if (message.offset < fromOffset) continue;
      visit(message);
      visited++;
    }
    if (this.#cursor.at !== end) {
      throw new CorruptDataError("A record batch with bytes after its last record", path, positionBytes);
    }
    return visited;
  }

  /** Tells a header without a checksum from one whose end a crash left zero: what follows the checksum is there. */
  #isWholeHeader(address: number): boolean {
    const recordCount = this.#view.getInt32(address + RECORDS_COUNT_AT);
    return recordCount > 0 && this.#view.getInt32(address + LAST_OFFSET_DELTA_AT) >= recordCount - 1;
  }

  #hasFormOfRecords(address: number): boolean {
    try {
      this.visitRecords(address, 0, () => {}, "", 0);
      return true;
    } catch (error) {
      if (error instanceof CorruptDataError) return false;
      throw error;
    }
  }

  /** Reads one record at the cursor and moves past it. @returns false if it is malformed or passes `end` */
  #readRecord(message: StoredMessage, end: number): boolean {
    const bytes = this.#bytes;
    const cursor = this.#cursor;
    const bodySizeBytes = readVarint(bytes, cursor, end);
    const bodyEnd = cursor.at + bodySizeBytes;
    if (!(bodySizeBytes >= MINIMUM_BODY_SIZE_BYTES && bodyEnd <= end)) return false;
    cursor.at++;
    const timestampDelta = readVarlong(bytes, cursor, bodyEnd);
    const offsetDelta = readVarint(bytes, cursor, bodyEnd);
    message.offset = this.baseOffset + offsetDelta;
    message.timestampMs =
      (this.#attributes & LOG_APPEND_TIME_FLAG) !== 0 ? this.maxTimestamp : this.#baseTimestamp + timestampDelta;
    if (!(offsetDelta >= 0 && message.offset <= this.lastOffset && !Number.isNaN(timestampDelta))) return false;

    const key = this.#readBytes(bodyEnd);
    const value = this.#readBytes(bodyEnd);
    const headerCount = readVarint(bytes, cursor, bodyEnd);
    if (key === undefined || value === undefined || !(headerCount >= 0 && headerCount <= bodyEnd - cursor.at))
      return false;
    message.key = key;
    message.value = value;
    message.headers = NO_HEADERS;
    if (headerCount > 0) {
      const headers = this.#readHeaders(headerCount, bodyEnd);
      if (headers === undefined) return false;
      message.headers = headers;
    }
    return cursor.at === bodyEnd;
  }

  #readHeaders(headerCount: number, end: number): Header[] | undefined {
    const headers: Header[] = [];
    for (let i = 0; i < headerCount; i++) {
      const key = this.#readBytes(end);
      const value = this.#readBytes(end);
      if (key === undefined || key === null || value === undefined) return undefined;
      // A TextDecoder refuses shared memory: Buffer copies first.
      headers.push({ key: Buffer.from(key).toString("utf8"), value });
    }
    return headers;
  }

  /** A length and so many bytes, in place: null for the length -1, undefined if they do not fit before `end`. */
  #readBytes(end: number): Uint8Array | null | undefined {
    const sizeBytes = readVarint(this.#bytes, this.#cursor, end);
    const at = this.#cursor.at;
    if (sizeBytes === -1) return null;
    if (!(sizeBytes >= 0 && at + sizeBytes <= end)) return undefined;
    this.#cursor.at = at + sizeBytes;
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + at, sizeBytes);
  }
}

/** @throws CorruptDataError */
function decompressRecords(payload: Uint8Array, codec: number, path: string, positionBytes: number): Uint8Array {
  const name = COMPRESSIONS[codec];
  if (name === undefined)
    throw new CorruptDataError(`A record batch of unknown compression ${codec}`, path, positionBytes);
  try {
    return decompress(name, payload, MAX_PAYLOAD_SIZE_BYTES);
  } catch (error) {
    if (!(error instanceof CorruptPayloadError)) throw error;
    throw new CorruptDataError(
      `A record batch whose records cannot be decompressed (${error.message})`,
      path,
      positionBytes,
    );
  }
}

/** Attributes, two deltas, two lengths, header count: a byte each at least. */
const MINIMUM_BODY_SIZE_BYTES = 6;

const NO_HEADERS: readonly Header[] = [];

/** An int64 as a number: exact up to 2^53, which no offset and no time in ms passes. */
export function readInt64(view: DataView, at: number): number {
  return view.getInt32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
}
