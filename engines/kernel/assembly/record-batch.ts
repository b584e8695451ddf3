// Kafka's record batch v2, encoded in place. The layout is documented in codec/record-batch.ts, which also holds the plain
// reference encoder that the tests compare with, byte for byte.
//
// An open batch is described by a 64-byte control block (little-endian, one cache line) that JavaScript never reads on
// the hot path:
//
//    0  u32  cursor         heap address of the next record; 0 = no batch is open
//    4  u32  limit          heap address that no record may pass
//    8  i32  recordCount
//   12  u32  batchAddress   heap address of the batch's first byte
//   16  i64  baseTimestamp  of the first record
//   24  i64  maxTimestamp
//   32  f64  maxTimestamp as a number, set by sealRecordBatch
//   40  f64  timestamp of the last record, as it came; NaN before the first
//   48  u64  its delta to baseTimestamp, zigzag

import { copyBytes } from "./copy";

const HEADER_SIZE_BYTES: usize = 61;

export const CURSOR: usize = 0;
export const LIMIT: usize = 4;
export const RECORD_COUNT: usize = 8;
export const BATCH_ADDRESS: usize = 12;
const BASE_TIMESTAMP: usize = 16;
const MAX_TIMESTAMP: usize = 24;
const SEALED_MAX_TIMESTAMP: usize = 32;
const LAST_TIMESTAMP: usize = 40;
const LAST_DELTA_ZIGZAG: usize = 48;

export const NOT_IN_HEAP: u32 = 0xffff_ffff;

/** Opens an empty batch at `batchAddress`; no record will pass `limit`. */
export function openRecordBatch(control: usize, batchAddress: u32, limit: u32): void {
  store<u32>(control, batchAddress + <u32>HEADER_SIZE_BYTES, CURSOR);
  store<u32>(control, limit, LIMIT);
  store<i32>(control, 0, RECORD_COUNT);
  store<u32>(control, batchAddress, BATCH_ADDRESS);
  store<f64>(control, NaN, LAST_TIMESTAMP);
}

/**
 * Appends a record without headers. A size of -1 stands for null, an address of -1 for bytes outside the heap.
 * @returns 0: does not fit, or no batch is open, or bytes outside the heap (nothing was written); 1: appended;
 * 2: appended, and another record of this size would not fit
 */
export function appendRecord(
  control: usize,
  timestampMs: f64,
  keyAddress: u32,
  keySizeBytes: i32,
  valueAddress: u32,
  valueSizeBytes: i32,
): i32 {
  if ((keyAddress == NOT_IN_HEAP && keySizeBytes > 0) || (valueAddress == NOT_IN_HEAP && valueSizeBytes > 0)) return 0;
  return append(control, timestampMs, keyAddress, keySizeBytes, valueAddress, valueSizeBytes, 0, 0);
}

/** As `appendRecord` with a null key, which most messages have: fewer arguments, fewer branches. */
export function appendValue(control: usize, timestampMs: f64, valueAddress: u32, valueSizeBytes: i32): i32 {
  if (valueAddress == NOT_IN_HEAP && valueSizeBytes > 0) return 0;
  return append(control, timestampMs, 0, -1, valueAddress, valueSizeBytes, 0, 0);
}

/** As `appendRecord`, with the encoded headers (header count and headers) at `headersAddress`. */
export function appendRecordWithHeaders(
  control: usize,
  timestampMs: f64,
  keyAddress: u32,
  keySizeBytes: i32,
  valueAddress: u32,
  valueSizeBytes: i32,
  headersAddress: u32,
  headersSizeBytes: i32,
): i32 {
  return append(
    control,
    timestampMs,
    keyAddress,
    keySizeBytes,
    valueAddress,
    valueSizeBytes,
    headersAddress,
    headersSizeBytes,
  );
}

/**
 * Writes the header of the open batch, all but its checksum, and closes the batch.
 * @param logAppendTimeMs the broker's time, or a negative number for CreateTime
 * @returns size of the whole batch in bytes
 */
export function sealRecordBatch(control: usize, baseOffset: f64, leaderEpoch: i32, logAppendTimeMs: f64): i32 {
  const batch = <usize>load<u32>(control, BATCH_ADDRESS);
  const sizeBytes = <i32>(load<u32>(control, CURSOR) - <u32>batch);
  const recordCount = load<i32>(control, RECORD_COUNT);
  const isLogAppendTime = logAppendTimeMs >= 0;
  const maxTimestamp = isLogAppendTime ? <i64>logAppendTimeMs : load<i64>(control, MAX_TIMESTAMP);

  store<i64>(batch, bswap<i64>(<i64>baseOffset), 0);
  store<i32>(batch, bswap<i32>(sizeBytes - 12), 8);
  store<i32>(batch, bswap<i32>(leaderEpoch), 12);
  store<u8>(batch, 2, 16);
  store<u8>(batch, 0, 21);
  store<u8>(batch, isLogAppendTime ? 8 : 0, 22);
  store<i32>(batch, bswap<i32>(recordCount - 1), 23);
  store<i64>(batch, bswap<i64>(load<i64>(control, BASE_TIMESTAMP)), 27);
  store<i64>(batch, bswap<i64>(maxTimestamp), 35);
  store<i64>(batch, -1, 43);
  store<i16>(batch, -1, 51);
  store<i32>(batch, -1, 53);
  store<i32>(batch, bswap<i32>(recordCount), 57);

  store<f64>(control, <f64>maxTimestamp, SEALED_MAX_TIMESTAMP);
  store<u64>(control, 0, CURSOR);
  return sizeBytes;
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
export function append(
  control: usize,
  timestampMs: f64,
  keyAddress: u32,
  keySizeBytes: i32,
  valueAddress: u32,
  valueSizeBytes: i32,
  headersAddress: u32,
  headersSizeBytes: i32,
): i32 {
  const recordCount = load<i32>(control, RECORD_COUNT);
  const offsetZigzag = <u64>recordCount << 1;
  const keyBytes = <usize>max(keySizeBytes, 0);
  const valueBytes = <usize>max(valueSizeBytes, 0);
  const cursor = <usize>load<u32>(control, CURSOR);
  const limit = <usize>load<u32>(control, LIMIT);

  // A record of ordinary size, well before the limit, is written front to back, its length last: two bytes, known.
  if (
    headersSizeBytes == 0 &&
    keyBytes + valueBytes - ORDINARY_LEAST_BYTES <= ORDINARY_MOST_BYTES - ORDINARY_LEAST_BYTES &&
    cursor + keyBytes + valueBytes + MOST_FRAMING_BYTES <= limit
  ) {
    if (timestampMs != load<f64>(control, LAST_TIMESTAMP)) noteTimestamp(control, timestampMs);
    let at = cursor + 2;
    store<u8>(at, 0);
    at = writeVarint(at + 1, load<u64>(control, LAST_DELTA_ZIGZAG));
    at = writeVarint(at, offsetZigzag);
    at = writeBytes(at, keyAddress, keySizeBytes);
    at = writeBytes(at, valueAddress, valueSizeBytes);
    store<u8>(at, 0);
    at++;
    const bodyZigzag = <u32>(at - cursor - 2) << 1;
    store<u16>(cursor, <u16>((bodyZigzag & 0x7f) | 0x80 | ((bodyZigzag >> 7) << 8)));
    store<u32>(control, <u32>at, CURSOR);
    store<i32>(control, recordCount + 1, RECORD_COUNT);
    return at + (at - cursor) > limit ? 2 : 1;
  }

  const deltaZigzag = deltaZigzagOf(control, timestampMs);
  const bodySizeBytes = bodySizeOf(deltaZigzag, offsetZigzag, keySizeBytes, valueSizeBytes, headersSizeBytes);
  const bodyZigzag = <u64>bodySizeBytes << 1;
  const end = <u64>cursor + varintSize(bodyZigzag) + bodySizeBytes;
  if (end > <u64>limit) return 0;

  noteTimestamp(control, timestampMs);
  let at = writeVarint(cursor, bodyZigzag);
  store<u8>(at, 0);
  at = writeVarint(at + 1, deltaZigzag);
  at = writeVarint(at, offsetZigzag);
  at = writeBytes(at, keyAddress, keySizeBytes);
  at = writeBytes(at, valueAddress, valueSizeBytes);
  if (headersSizeBytes == 0) store<u8>(at, 0);
  else copyBytes(at, headersAddress, headersSizeBytes);
  store<u32>(control, <u32>end, CURSOR);
  store<i32>(control, recordCount + 1, RECORD_COUNT);
  return end + (end - <u64>cursor) > <u64>limit ? 2 : 1;
}

/** Size of a record without its length field. No headers (size 0) are encoded as a count of zero. */
// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
export function bodySizeOf(
  deltaZigzag: u64,
  offsetZigzag: u64,
  keySizeBytes: i32,
  valueSizeBytes: i32,
  headersSizeBytes: i32,
): usize {
  return (
    1 +
    varintSize(deltaZigzag) +
    varintSize(offsetZigzag) +
    varintSize(zigzag(keySizeBytes)) +
    <usize>max(keySizeBytes, 0) +
    varintSize(zigzag(valueSizeBytes)) +
    <usize>max(valueSizeBytes, 0) +
    <usize>max(headersSizeBytes, 1)
  );
}

/** Key and value sizes whose record's length, whatever its deltas, is a varint of two bytes: 64 to 8191. */
const ORDINARY_LEAST_BYTES: usize = 64 - 6;
const ORDINARY_MOST_BYTES: usize = 8191 - 27;
/** Length 2, attributes 1, timestamp delta 10, offset delta 5, key length 5, value length 5, header count 1. */
const MOST_FRAMING_BYTES: usize = 29;

/** Notes the timestamp of a record that is about to be written. Many records share one, so it is not done for each. */
export function noteTimestamp(control: usize, timestampMs: f64): void {
  const timestamp = <i64>timestampMs;
  const isFirst = load<i32>(control, RECORD_COUNT) == 0;
  if (isFirst) store<i64>(control, timestamp, BASE_TIMESTAMP);
  if (isFirst || timestamp > load<i64>(control, MAX_TIMESTAMP)) store<i64>(control, timestamp, MAX_TIMESTAMP);
  store<u64>(control, deltaZigzagOf(control, timestampMs), LAST_DELTA_ZIGZAG);
  store<f64>(control, timestampMs, LAST_TIMESTAMP);
}

export function deltaZigzagOf(control: usize, timestampMs: f64): u64 {
  if (load<i32>(control, RECORD_COUNT) == 0) return 0;
  const delta = <i64>timestampMs - load<i64>(control, BASE_TIMESTAMP);
  return <u64>((delta << 1) ^ (delta >> 63));
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function zigzag(value: i32): u64 {
  return <u64>(<u32>((value << 1) ^ (value >> 31)));
}

/** Length and bytes; a length of -1 and no bytes stand for null. */
// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function writeBytes(at: usize, address: u32, sizeBytes: i32): usize {
  at = writeVarint(at, zigzag(sizeBytes));
  if (sizeBytes <= 0) return at;
  copyBytes(at, address, sizeBytes);
  return at + <usize>sizeBytes;
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
export function varintSize(value: u64): usize {
  return <usize>((70 - clz<u64>(value | 1)) / 7);
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function writeVarint(at: usize, value: u64): usize {
  if (value < 0x80) {
    store<u8>(at, <u8>value);
    return at + 1;
  }
  if (value < 0x4000) {
    store<u16>(at, <u16>((value & 0x7f) | 0x80 | ((value >> 7) << 8)));
    return at + 2;
  }
  return writeLongVarint(at, value);
}

function writeLongVarint(at: usize, value: u64): usize {
  while (value >= 0x80) {
    store<u8>(at, <u8>(value | 0x80));
    at++;
    value >>= 7;
  }
  store<u8>(at, <u8>value);
  return at + 1;
}
