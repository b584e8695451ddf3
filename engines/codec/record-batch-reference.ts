import type { Header } from "../engine.js";
import { encodeHeaders } from "./record-batch.js";
import { varintSizeBytes, varlongSizeBytes, writeVarint, writeVarlong } from "./varint.js";

export interface PlainRecord {
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly Header[];
}

/**
 * The plain encoder of a record batch, slow and obvious: what the kernel's must equal byte for byte (tests), and where
 * tests get their batches from.
 */
export function encodeRecordBatch(
  records: readonly PlainRecord[],
  options: { baseOffset: number; leaderEpoch: number; logAppendTimeMs?: number },
): Uint8Array {
  const baseTimestamp = records[0]!.timestampMs;
  const payload = Buffer.concat(
    records.map((record, i) => encodeRecord(record, record.timestampMs - baseTimestamp, i)),
  );
  const batch = Buffer.alloc(61 + payload.byteLength);
  batch.writeBigInt64BE(BigInt(options.baseOffset), 0);
  batch.writeInt32BE(batch.byteLength - 12, 8);
  batch.writeInt32BE(options.leaderEpoch, 12);
  batch.writeInt8(2, 16);
  batch.writeInt16BE(options.logAppendTimeMs === undefined ? 0 : 0x08, 21);
  batch.writeInt32BE(records.length - 1, 23);
  batch.writeBigInt64BE(BigInt(baseTimestamp), 27);
  const maxTimestamp = options.logAppendTimeMs ?? Math.max(...records.map((record) => record.timestampMs));
  batch.writeBigInt64BE(BigInt(maxTimestamp), 35);
  batch.fill(0xff, 43, 57);
  batch.writeInt32BE(records.length, 57);
  batch.set(payload, 61);
  batch.writeUInt32BE(bitwiseCrc32c(batch.subarray(21)), 17);
  return batch;
}

function encodeRecord(record: PlainRecord, timestampDelta: number, offsetDelta: number): Uint8Array {
  const parts = [
    Uint8Array.of(0),
    varlong(timestampDelta),
    varint(offsetDelta),
    varint(record.key?.byteLength ?? -1),
    record.key ?? Uint8Array.of(),
    varint(record.value?.byteLength ?? -1),
    record.value ?? Uint8Array.of(),
    encodeHeaders(record.headers ?? []),
  ];
  const body = Buffer.concat(parts);
  return Buffer.concat([varint(body.byteLength), body]);
}

function varint(value: number): Uint8Array {
  const bytes = new Uint8Array(varintSizeBytes(value));
  writeVarint(value, bytes, 0);
  return bytes;
}

function varlong(value: number): Uint8Array {
  const bytes = new Uint8Array(varlongSizeBytes(value));
  writeVarlong(value, bytes, 0);
  return bytes;
}

/** CRC-32C a bit at a time. */
function bitwiseCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
