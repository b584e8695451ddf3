import { decodeMessage, PHYSICAL_OFFSET_AT, readInt64 } from "./codec/commitlog-message.js";
import { decompress } from "./codec/compression.js";
import { BATCH_HEADER_SIZE_BYTES, type BatchCheck, RecordBatchReader } from "./codec/record-batch.js";
import { codecOfBody } from "./commitlog/body-compression.js";
import { type ConformanceTraits, type ConformanceVariant, describeConformance } from "./engine.contract.js";
import type { MessageVisitor } from "./engine.js";
import { heap } from "./heap.js";
import { engineNames, loadEngine } from "./registry.js";

const LARGEST_VALUE_BYTES = 1 << 20;

const TRAITS: Readonly<Record<string, ConformanceTraits>> = {
  "partitioned-log": {
    smallFiles: { segmentSizeBytes: 8_192, indexIntervalBytes: 512 },
    rollsFiles: true,
    refusesWhenFull: true,
    hasChecksums: true,
    hasTags: false,
    smallRetention: { retentionMs: -1, retentionBytes: 20_000, retentionCheckMs: 1, fileDeleteDelayMs: 0 },
    readServed: recordBatches("checksum"),
  },
  commitlog: {
    smallFiles: { segmentSizeBytes: 8_192, consumequeueFileSizeBytes: 400, keyIndexSlots: 50, keyIndexItems: 60 },
    rollsFiles: true,
    refusesWhenFull: true,
    hasChecksums: true,
    hasTags: true,
    smallRetention: { retentionMs: -1, retentionBytes: 20_000, retentionCheckMs: 1 },
    readServed: records(true),
  },
  raw: {
    smallFiles: { segmentSizeBytes: 8_192, preallocate: true },
    rollsFiles: false,
    refusesWhenFull: false,
    hasChecksums: false,
    hasTags: false,
    smallRetention: null,
    readServed: null,
  },
};

/** Each of an engine's choices that is not its default. */
const VARIANTS: Readonly<Record<string, readonly (ConformanceVariant & Partial<ConformanceTraits>)[]>> = {
  "partitioned-log": [
    { name: "no checksum", settings: { checksum: false }, hasChecksums: false, readServed: recordBatches("form") },
    { name: "assembled and indexed late", settings: { assembly: "broker", indexBuilding: "deferred" } },
    { name: "mmap", settings: { writePath: "mmap", mapWindowBytes: 65_536 } },
  ],
  commitlog: [
    { name: "written by write", settings: { writePath: "write" } },
    {
      name: "written by write, indexed inline, zstd",
      settings: { writePath: "write", indexBuilding: "inline", compression: "zstd", compressionThresholdBytes: 100 },
    },
    {
      name: "assembled by producers, indexed inline, lz4",
      settings: { assembly: "producer", indexBuilding: "inline", compression: "lz4", compressionThresholdBytes: 1 },
    },
    {
      name: "no checksum, zlib",
      settings: { checksum: false, compression: "zlib", compressionThresholdBytes: 0 },
      hasChecksums: false,
      readServed: records(false),
    },
  ],
};

const definitions = await Promise.all(engineNames().map((name) => loadEngine(name)));
for (const definition of definitions) {
  if (!definition.storesMessages) continue;
  const traits = TRAITS[definition.name]!;
  describeConformance(definition, traits);
  for (const variant of VARIANTS[definition.name] ?? []) {
    describeConformance(definition, { ...traits, ...variant }, variant);
  }
}

/** Reads whole record batches, one behind the other. */
function recordBatches(check: BatchCheck): (bytes: Uint8Array, visit: MessageVisitor) => void {
  return (bytes, visit) => {
    const batch = new RecordBatchReader(heap, check);
    const address = heap.allocate(Math.max(BATCH_HEADER_SIZE_BYTES, bytes.byteLength));
    try {
      heap.bytes.set(bytes, address);
      for (let at = 0, expected = 0; at < bytes.byteLength; at += batch.sizeBytes) {
        const fault = batch.inspect(address + at, bytes.byteLength - at, expected, "allowed", false);
        if (fault !== null) throw new Error(`${fault} at byte ${at}`);
        batch.visitRecords(address + at, 0, visit, "what was sent", at);
        expected = batch.lastOffset + 1;
      }
    } finally {
      heap.release(address);
    }
  };
}

/** Reads whole records, one behind the other. */
function records(checksBody: boolean): (bytes: Uint8Array, visit: MessageVisitor) => void {
  return (bytes, visit) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.byteLength; at += view.getInt32(at)) {
      const position = readInt64(view, at + PHYSICAL_OFFSET_AT);
      const record = decodeMessage(bytes, at, bytes.byteLength, position, "what was sent", checksBody);
      const value = decompress(codecOfBody(record.sysFlag)!, record.body, LARGEST_VALUE_BYTES);
      visit({ offset: record.queueOffset, timestampMs: record.bornTimestampMs, key: null, value, headers: [] });
    }
  };
}
