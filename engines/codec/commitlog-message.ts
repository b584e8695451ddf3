/**
 * RocketMQ's commitlog record, byte for byte: the plain reference that the kernel's encoder and scanner are tested
 * against, and what everything off the hot path decodes with.
 *
 *   at    bytes  field                      unit and meaning
 *    0        4  totalSize                  bytes of the whole record
 *    4        4  magic                      0xDAA320A7 (V1), 0xDAA320AB (V2: topic length in two bytes)
 *    8        4  bodyCRC                    CRC-32 (IEEE) of the body & 0x7FFFFFFF
 *   12        4  queueId
 *   16        4  flag                       the user's, opaque
 *   20        8  queueOffset                which message of its queue
 *   28        8  physicalOffset             where this record stands in the commitlog, bytes
 *   36        4  sysFlag                    bits: see SysFlag
 *   40        8  bornTimestamp              ms, the client's clock
 *   48        8  bornHost                   address (4, or 16 with BORN_HOST_V6), port i32
 *   56        8  storeTimestamp             ms, the store's clock
 *   64        8  storeHost                  as bornHost
 *   72        4  reconsumeTimes
 *   76        8  preparedTransactionOffset
 *   84    4 + n  body
 *        1|2 + n topic                      UTF-8
 *          2 + n properties                 UTF-8: name 0x01 value 0x02, repeated
 *
 * Integers are big-endian and signed; offsets above are for IPv4 hosts. A file of the commitlog ends with a blank: its
 * remaining byte count and BLANK_MAGIC, 8 bytes, the rest left as it was.
 *
 * Only the body has a checksum, unless the record ends with the optional `__CRC32#` property, which covers all before
 * it. A changed bit in a field without checksum is found only where structure, position or queue order contradict it.
 *
 * Source: RocketMQ 5.3, store/MessageExtEncoder.java, store/CommitLog.java, common/message/MessageDecoder.java.
 */

import { isUtf8 } from "node:buffer";
import { crc32 as nativeCrc32 } from "@node-rs/crc32";
import { CorruptDataError } from "../errors.js";
import { invariant } from "../invariant.js";

export const MAGIC_V1 = 0xdaa320a7 | 0;
export const MAGIC_V2 = 0xdaa320ab | 0;
export const BLANK_MAGIC = 0xcbd43194 | 0;
export const BLANK_SIZE_BYTES = 4 + 4;

export const BODY_CRC_AT = 8;
export const QUEUE_OFFSET_AT = 20;
export const PHYSICAL_OFFSET_AT = 28;
export const SYS_FLAG_AT = 36;
const BORN_TIMESTAMP_AT = 40;
const BORN_HOST_AT = 48;

/** All but body, topic and properties, for V1 and IPv4 hosts. */
const FIXED_SIZE_BYTES = 4 + 4 + 4 + 4 + 4 + 8 + 8 + 4 + 8 + 8 + 8 + 8 + 4 + 8 + 4 + 1 + 2;
const V6_EXTRA_BYTES = 16 - 4;
export const MAX_PROPERTIES_SIZE_BYTES = 32_767;
/** Topics of more UTF-16 units than this need V2. */
export const MAX_V1_TOPIC_LENGTH = 127;

export const SysFlag = {
  COMPRESSED: 0x1,
  TRANSACTION_MASK: 0xc,
  TRANSACTION_PREPARED: 0x4,
  TRANSACTION_COMMIT: 0x8,
  TRANSACTION_ROLLBACK: 0xc,
  BORN_HOST_V6: 0x10,
  STORE_HOST_V6: 0x20,
  INNER_BATCH: 0x80,
} as const;

interface HostAddress {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
}

export interface CommitlogMessage {
  queueId: number;
  flag: number;
  queueOffset: number;
  physicalOffset: number;
  /** The two host bits follow from the hosts. */
  sysFlag: number;
  bornTimestampMs: number;
  bornHost: HostAddress;
  storeTimestampMs: number;
  storeHost: HostAddress;
  reconsumeTimes: number;
  preparedTransactionOffset: number;
  body: Uint8Array;
  topic: string;
  /** As stored, without the `__CRC32#` property. */
  properties: Uint8Array;
}

export const TAGS_PROPERTY = "TAGS";
export const KEYS_PROPERTY = "KEYS";
export const NAME_END = 0x01;
export const PAIR_END = 0x02;

const CRC_PROPERTY_PREFIX = new TextEncoder().encode("__CRC32#\u0001");
const CRC_DIGIT_COUNT = 10;
/** `__CRC32#` 0x01, ten decimal digits, 0x02. */
export const CRC_PROPERTY_SIZE_BYTES = 9 + CRC_DIGIT_COUNT + 1;

/** Bytes of a record. Pure; `propertiesSizeBytes` includes a CRC property. */
export function recordSizeBytes(
  bodySizeBytes: number,
  topicSizeBytes: number,
  propertiesSizeBytes: number,
  isV2: boolean,
  v6HostCount: number,
): number {
  return (
    FIXED_SIZE_BYTES +
    (isV2 ? 1 : 0) +
    v6HostCount * V6_EXTRA_BYTES +
    bodySizeBytes +
    topicSizeBytes +
    propertiesSizeBytes
  );
}

/** Plain reference encoder: the record as a new array. */
export function encodeMessage(message: CommitlogMessage, appendPropertyCrc = false): Uint8Array {
  const topic = new TextEncoder().encode(message.topic);
  const isV2 = message.topic.length > MAX_V1_TOPIC_LENGTH;
  const properties = appendPropertyCrc ? withCrcPlaceholder(message.properties) : message.properties;
  invariant(properties.length <= MAX_PROPERTIES_SIZE_BYTES, "properties fit their 16-bit length");
  const hosts = [message.bornHost, message.storeHost];
  const v6HostCount = hosts.filter((host) => host.address.length === 16).length;
  const totalSize = recordSizeBytes(message.body.length, topic.length, properties.length, isV2, v6HostCount);
  const bytes = new Uint8Array(totalSize);
  const out = new Writer(bytes);

  out.int32(totalSize);
  out.int32(isV2 ? MAGIC_V2 : MAGIC_V1);
  out.int32(bodyCrc(message.body));
  out.int32(message.queueId);
  out.int32(message.flag);
  out.int64(message.queueOffset);
  out.int64(message.physicalOffset);
  out.int32(sysFlagWithHosts(message));
  out.int64(message.bornTimestampMs);
  out.bytes(message.bornHost.address);
  out.int32(message.bornHost.port);
  out.int64(message.storeTimestampMs);
  out.bytes(message.storeHost.address);
  out.int32(message.storeHost.port);
  out.int32(message.reconsumeTimes);
  out.int64(message.preparedTransactionOffset);
  out.int32(message.body.length);
  out.bytes(message.body);
  if (isV2) out.int16(topic.length);
  else out.int8(topic.length);
  out.bytes(topic);
  out.int16(properties.length);
  out.bytes(properties);
  invariant(out.at === totalSize, "a record has the size that was computed for it");
  if (appendPropertyCrc) writeCrcProperty(bytes);
  return bytes;
}

function sysFlagWithHosts(message: CommitlogMessage): number {
  const v6Bits =
    (message.bornHost.address.length === 16 ? SysFlag.BORN_HOST_V6 : 0) |
    (message.storeHost.address.length === 16 ? SysFlag.STORE_HOST_V6 : 0);
  return (message.sysFlag & ~(SysFlag.BORN_HOST_V6 | SysFlag.STORE_HOST_V6)) | v6Bits;
}

/** CRC-32 (IEEE) of a body, top bit cleared. */
function bodyCrc(body: Uint8Array): number {
  return nativeCrc32(body) & 0x7fffffff;
}

function withCrcPlaceholder(properties: Uint8Array): Uint8Array {
  const needsEnd = properties.length > 0 && properties[properties.length - 1] !== PAIR_END;
  const extended = new Uint8Array(properties.length + (needsEnd ? 1 : 0) + CRC_PROPERTY_SIZE_BYTES);
  extended.set(properties);
  if (needsEnd) extended[properties.length] = PAIR_END;
  return extended;
}

/** Fills the last 20 bytes with the CRC of all before them: decimal digits, least significant first. */
function writeCrcProperty(record: Uint8Array): void {
  const at = record.length - CRC_PROPERTY_SIZE_BYTES;
  let crc = nativeCrc32(record.subarray(0, at)) & 0x7fffffff;
  record.set(CRC_PROPERTY_PREFIX, at);
  for (let digit = 0; digit < CRC_DIGIT_COUNT; digit++) {
    record[at + CRC_PROPERTY_PREFIX.length + digit] = 0x30 + (crc % 10);
    crc = Math.floor(crc / 10);
  }
  record[record.length - 1] = PAIR_END;
}

/**
 * Decodes the record at byte `at` of `bytes`, which is byte `physicalOffset` of the commitlog. The body and properties
 * are views of `bytes`.
 * @param checksBody false: the body's CRC is not looked at
 * @param limit where the file, or what is readable of it, ends in `bytes`
 * @throws CorruptDataError for what is no whole, sound record of that position (a blank included)
 */
export function decodeMessage(
  bytes: Uint8Array,
  at: number,
  limit: number,
  physicalOffset: number,
  file: string,
  checksBody = true,
): CommitlogMessage {
  const fail = (what: string): never => {
    throw new CorruptDataError(what, file, physicalOffset);
  };
  const available = limit - at;
  if (available < FIXED_SIZE_BYTES) fail("a message that does not fit before the file's end");
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, available);
  const totalSize = view.getInt32(0);
  const magic = view.getInt32(4);
  if (magic !== MAGIC_V1 && magic !== MAGIC_V2) fail("bytes without a message's magic");
  if (totalSize < FIXED_SIZE_BYTES || totalSize > available) fail("a message of impossible size");

  const sysFlag = view.getInt32(SYS_FLAG_AT);
  const bornAddressSize = (sysFlag & SysFlag.BORN_HOST_V6) !== 0 ? 16 : 4;
  const storeAddressSize = (sysFlag & SysFlag.STORE_HOST_V6) !== 0 ? 16 : 4;
  const storeTimestampAt = BORN_HOST_AT + bornAddressSize + 4;
  const storeHostAt = storeTimestampAt + 8;
  const reconsumeTimesAt = storeHostAt + storeAddressSize + 4;
  const bodyLengthAt = reconsumeTimesAt + 4 + 8;
  const bodyAt = bodyLengthAt + 4;
  const topicLengthSize = magic === MAGIC_V2 ? 2 : 1;
  if (bodyAt + topicLengthSize + 2 > totalSize) fail("a message shorter than its header");
  const bodySize = view.getInt32(bodyLengthAt);
  const topicLengthAt = bodyAt + bodySize;
  if (bodySize < 0 || topicLengthAt + topicLengthSize + 2 > totalSize) fail("a body longer than its message");
  const topicSize = magic === MAGIC_V2 ? view.getInt16(topicLengthAt) : view.getInt8(topicLengthAt);
  const topicAt = topicLengthAt + topicLengthSize;
  const propertiesLengthAt = topicAt + topicSize;
  if (topicSize <= 0 || propertiesLengthAt + 2 > totalSize) fail("a topic longer than its message");
  const propertiesSize = view.getInt16(propertiesLengthAt);
  const propertiesAt = propertiesLengthAt + 2;
  if (propertiesSize < 0 || propertiesAt + propertiesSize !== totalSize) fail("properties that do not end the message");

  const slice = (from: number, sizeBytes: number) => bytes.subarray(at + from, at + from + sizeBytes);
  const body = slice(bodyAt, bodySize);
  if (checksBody && view.getInt32(BODY_CRC_AT) !== bodyCrc(body)) fail("a body that does not match its CRC");
  const topicBytes = slice(topicAt, topicSize);
  if (!isUtf8(topicBytes)) fail("a topic that is not UTF-8");
  let properties = slice(propertiesAt, propertiesSize);
  if (endsWithCrcProperty(properties)) {
    const record = slice(0, totalSize).slice();
    const stored = record.slice(-CRC_PROPERTY_SIZE_BYTES);
    writeCrcProperty(record);
    if (stored.some((byte, i) => byte !== record[totalSize - CRC_PROPERTY_SIZE_BYTES + i])) {
      fail("a message that does not match its CRC property");
    }
    properties = properties.subarray(0, propertiesSize - CRC_PROPERTY_SIZE_BYTES);
  }

  const message: CommitlogMessage = {
    queueId: view.getInt32(12),
    flag: view.getInt32(16),
    queueOffset: readInt64(view, QUEUE_OFFSET_AT),
    physicalOffset: readInt64(view, PHYSICAL_OFFSET_AT),
    sysFlag,
    bornTimestampMs: readInt64(view, BORN_TIMESTAMP_AT),
    bornHost: {
      address: slice(BORN_HOST_AT, bornAddressSize),
      port: view.getInt32(BORN_HOST_AT + bornAddressSize),
    },
    storeTimestampMs: readInt64(view, storeTimestampAt),
    storeHost: { address: slice(storeHostAt, storeAddressSize), port: view.getInt32(storeHostAt + storeAddressSize) },
    reconsumeTimes: view.getInt32(reconsumeTimesAt),
    preparedTransactionOffset: readInt64(view, reconsumeTimesAt + 4),
    body,
    topic: new TextDecoder().decode(topicBytes),
    properties,
  };
  if (message.physicalOffset !== physicalOffset) fail("a message that names another position as its own");
  if (message.queueId < 0 || message.queueOffset < 0 || !Number.isSafeInteger(message.queueOffset)) {
    fail("a message of an impossible queue or queue offset");
  }
  const { bornTimestampMs, storeTimestampMs } = message;
  if (!Number.isSafeInteger(bornTimestampMs) || !Number.isSafeInteger(storeTimestampMs) || storeTimestampMs <= 0) {
    fail("a message with impossible timestamps");
  }
  return message;
}

function endsWithCrcProperty(properties: Uint8Array): boolean {
  const at = properties.length - CRC_PROPERTY_SIZE_BYTES;
  return at >= 0 && CRC_PROPERTY_PREFIX.every((byte, i) => properties[at + i] === byte);
}

/** The 8 bytes that end a file: `sizeBytes` is what the file has left, they included. */
export function encodeBlank(target: Uint8Array, at: number, sizeBytes: number): void {
  const view = new DataView(target.buffer, target.byteOffset + at, BLANK_SIZE_BYTES);
  view.setInt32(0, sizeBytes);
  view.setInt32(4, BLANK_MAGIC);
}

/** Whether a blank of exactly the `available` bytes that the file has left stands at byte `at`. */
export function isBlank(bytes: Uint8Array, at: number, available: number): boolean {
  if (available < BLANK_SIZE_BYTES) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, BLANK_SIZE_BYTES);
  return view.getInt32(0) === available && view.getInt32(4) === BLANK_MAGIC;
}

export interface Property {
  readonly name: string;
  readonly value: string;
}

export function encodeProperties(properties: readonly Property[]): Uint8Array {
  return new TextEncoder().encode(properties.map(({ name, value }) => `${name}\u0001${value}\u0002`).join(""));
}

/**
 * RocketMQ's parser: splits at 0x02 (a missing last one is accepted); drops a pair without 0x01, with an empty name or an
 * empty value; of a repeated name the last value wins.
 */
export function parseProperties(bytes: Uint8Array): Property[] {
  const values = new Map<string, string>();
  for (const pair of new TextDecoder().decode(bytes).split("\u0002")) {
    const nameEnd = pair.indexOf("\u0001");
    if (nameEnd <= 0 || nameEnd === pair.length - 1) continue;
    values.set(pair.slice(0, nameEnd), pair.slice(nameEnd + 1));
  }
  return [...values].map(([name, value]) => ({ name, value }));
}

/** Java's `String.hashCode`: signed 32 bits. */
export function javaStringHash(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(31, hash) + text.charCodeAt(i)) | 0;
  return hash;
}

/** What a consumequeue unit says of a message's tags: the hash of the `TAGS` value, 0 without one. */
export function tagsCodeOf(properties: Uint8Array): number {
  if (properties.length === 0) return 0;
  const tags = parseProperties(properties).find(({ name }) => name === TAGS_PROPERTY);
  return tags === undefined ? 0 : javaStringHash(tags.value);
}

/** A signed 64-bit integer as a number; garbage beyond 2^53 comes out as a number that is not a safe integer. */
export function readInt64(view: DataView, at: number): number {
  return view.getInt32(at) * 4_294_967_296 + view.getUint32(at + 4);
}

/** Writes a safe integer as signed 64 bits. */
export function writeInt64(view: DataView, at: number, value: number): void {
  view.setInt32(at, Math.floor(value / 4_294_967_296));
  view.setUint32(at + 4, value >>> 0);
}

class Writer {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  int8(value: number): void {
    this.#view.setInt8(this.at, value);
    this.at += 1;
  }

  int16(value: number): void {
    this.#view.setInt16(this.at, value);
    this.at += 2;
  }

  int32(value: number): void {
    this.#view.setInt32(this.at, value);
    this.at += 4;
  }

  int64(value: number): void {
    writeInt64(this.#view, this.at, value);
    this.at += 8;
  }

  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.at);
    this.at += value.byteLength;
  }
}
