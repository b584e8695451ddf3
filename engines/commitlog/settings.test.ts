import { expect, it } from "vitest";
import { parseHost, settingsSchema } from "./settings.js";

it("has RocketMQ's defaults", () => {
  expect(settingsSchema.parse({})).toMatchObject({
    flush: "async",
    writePath: "mmap",
    assembly: "broker",
    indexBuilding: "deferred",
    checksum: true,
    compression: "none",
    compressionThresholdBytes: 4_096,
    compressionLevel: 5,
    pageCacheAdvice: "none",
    batchSizeBytes: 0,
    segmentSizeBytes: 1_073_741_824,
    consumequeueFileSizeBytes: 6_000_000,
    maxMessageSizeBytes: 4_194_304,
    flushIntervalMs: 500,
    flushLeastPages: 4,
    flushThoroughIntervalMs: 10_000,
    consumequeueFlushIntervalMs: 1_000,
    consumequeueFlushLeastPages: 2,
    consumequeueFlushThoroughIntervalMs: 60_000,
    appendPropertyCrc: false,
  });
});

it.each([
  { consumequeueFileSizeBytes: 6_000_001 },
  { segmentSizeBytes: 2 ** 31 },
  { mapWindowBytes: 100_000 },
  { mapWindowBytes: (256 << 20) + 65_536 },
  { bornHost: "localhost:1" },
  { bornHost: "127.0.0.1" },
  { storeHost: "127.0.0.1:65536" },
  { storeHost: "::1:1" },
  { storeHost: "[1.2.3.4:1" },
  { batchSize: 1 },
  { batchSizeBytes: 1_000, bufferMemoryBytes: 999 },
])("refuses %j", (settings) => {
  expect(settingsSchema.safeParse(settings).success).toBe(false);
});

it("takes windows of up to 256 MiB, and says why no more", () => {
  expect(settingsSchema.parse({ mapWindowBytes: 256 << 20 }).mapWindowBytes).toBe(268_435_456);
  expect(() => settingsSchema.parse({ mapWindowBytes: 512 << 20 })).toThrow(/at most 268435456: up to five windows/);
});

it.each([
  ["gzip", /cannot say gzip: use one of none, zlib, lz4 and zstd/],
  ["snappy", /cannot say snappy.*use one of none, zlib, lz4 and zstd/],
  ["lzma", /use one of none, zlib, lz4 and zstd/],
])("refuses the compression %s with what there is", (compression, sentence) => {
  expect(() => settingsSchema.parse({ compression })).toThrow(sentence);
});

it.each([
  ["10.1.2.3:10911", [10, 1, 2, 3], 10_911],
  ["[::1]:7", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 7],
  ["[2001:db8::ff00:42:8329]:0", [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0x42, 0x83, 0x29], 0],
  ["[::ffff:1.2.3.4]:1", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4], 1],
  ["[fe80::]:1", [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1],
])("reads the host %s", (text, address, port) => {
  expect(settingsSchema.parse({ storeHost: text }).storeHost).toBe(text);
  expect(parseHost(text)).toEqual({ address: Uint8Array.from(address), port });
});
