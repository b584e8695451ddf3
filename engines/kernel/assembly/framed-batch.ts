// Messages kept as a client would send them, until the batch that they make is assembled into Kafka's record batch.
//
// A frame (little-endian):
//
//    0  u32  size of the frame, its 20 fixed bytes included
//    4  f64  timestamp, ms
//   12  i32  size of the key, -1 = null
//   16  i32  size of the value, -1 = null
//   20  ...  key, value, and the rest: the encoded headers (header count and headers), or nothing
//
// The control block is that of an open batch (record-batch.ts), whose cursor says how far the batch would reach if it were
// encoded, so that both ways make the same batches of the same messages. One field more:
//
//   56  u32  framesEnd      heap address of the next frame; the first is at batchAddress

import { copyBytes } from "./copy";
import {
  append,
  BATCH_ADDRESS,
  bodySizeOf,
  CURSOR,
  deltaZigzagOf,
  LIMIT,
  NOT_IN_HEAP,
  noteTimestamp,
  openRecordBatch,
  RECORD_COUNT,
  varintSize,
} from "./record-batch";

const FRAMES_END: usize = 56;

const FRAME_TIMESTAMP: usize = 4;
const FRAME_KEY_SIZE: usize = 12;
const FRAME_VALUE_SIZE: usize = 16;
const FRAME_HEADER_SIZE_BYTES: usize = 20;

/** Opens an empty batch of frames at `address`; the batch that they make will not pass `limit` if encoded there. */
export function openFramedBatch(control: usize, address: u32, limit: u32): void {
  openRecordBatch(control, address, limit);
  store<u32>(control, address, FRAMES_END);
}

/** As `appendRecord`, with the same answers. */
export function frameRecord(
  control: usize,
  timestampMs: f64,
  keyAddress: u32,
  keySizeBytes: i32,
  valueAddress: u32,
  valueSizeBytes: i32,
): i32 {
  if ((keyAddress == NOT_IN_HEAP && keySizeBytes > 0) || (valueAddress == NOT_IN_HEAP && valueSizeBytes > 0)) return 0;
  return frame(control, timestampMs, keyAddress, keySizeBytes, valueAddress, valueSizeBytes, 0, 0);
}

/** As `appendValue`, with the same answers. */
export function frameValue(control: usize, timestampMs: f64, valueAddress: u32, valueSizeBytes: i32): i32 {
  if (valueAddress == NOT_IN_HEAP && valueSizeBytes > 0) return 0;
  return frame(control, timestampMs, 0, -1, valueAddress, valueSizeBytes, 0, 0);
}

/** As `appendRecordWithHeaders`, with the same answers. */
export function frameRecordWithHeaders(
  control: usize,
  timestampMs: f64,
  keyAddress: u32,
  keySizeBytes: i32,
  valueAddress: u32,
  valueSizeBytes: i32,
  headersAddress: u32,
  headersSizeBytes: i32,
): i32 {
  return frame(
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

/** Encodes the frames of the open batch at `target`; the batch stays open there, for `sealRecordBatch`. */
export function assembleRecordBatch(control: usize, target: u32): void {
  let at = <usize>load<u32>(control, BATCH_ADDRESS);
  const end = <usize>load<u32>(control, FRAMES_END);
  openRecordBatch(control, target, target + load<u32>(control, CURSOR) - <u32>at);
  while (at < end) {
    const sizeBytes = load<u32>(at);
    const keySizeBytes = load<i32>(at, FRAME_KEY_SIZE);
    const valueSizeBytes = load<i32>(at, FRAME_VALUE_SIZE);
    const key = <u32>(at + FRAME_HEADER_SIZE_BYTES);
    const value = key + max(keySizeBytes, 0);
    const headers = value + max(valueSizeBytes, 0);
    const headersSizeBytes = <u32>at + sizeBytes - headers;
    append(control, load<f64>(at, FRAME_TIMESTAMP), key, keySizeBytes, value, valueSizeBytes, headers, headersSizeBytes);
    at += sizeBytes;
  }
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function frame(
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
  const cursor = <u64>load<u32>(control, CURSOR);
  const limit = <u64>load<u32>(control, LIMIT);
  const bodySizeBytes = bodySizeOf(
    deltaZigzagOf(control, timestampMs),
    <u64>recordCount << 1,
    keySizeBytes,
    valueSizeBytes,
    headersSizeBytes,
  );
  const recordSizeBytes = <u64>varintSize(<u64>bodySizeBytes << 1) + bodySizeBytes;
  const end = cursor + recordSizeBytes;
  if (end > limit) return 0;

  noteTimestamp(control, timestampMs);
  const start = <usize>load<u32>(control, FRAMES_END);
  store<f64>(start, timestampMs, FRAME_TIMESTAMP);
  store<i32>(start, keySizeBytes, FRAME_KEY_SIZE);
  store<i32>(start, valueSizeBytes, FRAME_VALUE_SIZE);
  let at = start + FRAME_HEADER_SIZE_BYTES;
  if (keySizeBytes > 0) {
    copyBytes(at, keyAddress, keySizeBytes);
    at += keySizeBytes;
  }
  if (valueSizeBytes > 0) {
    copyBytes(at, valueAddress, valueSizeBytes);
    at += valueSizeBytes;
  }
  if (headersSizeBytes > 0) {
    copyBytes(at, headersAddress, headersSizeBytes);
    at += headersSizeBytes;
  }
  store<u32>(start, <u32>(at - start));
  store<u32>(control, <u32>at, FRAMES_END);
  store<u32>(control, <u32>end, CURSOR);
  store<i32>(control, recordCount + 1, RECORD_COUNT);
  return end + recordSizeBytes > limit ? 2 : 1;
}
