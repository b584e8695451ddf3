import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Header, StoredMessage } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import { crc32c } from "./checksums.js";
import { CHECKED_AT, CRC_AT, encodeHeaders, firstRecordSizeBytes, RecordBatchReader } from "./record-batch.js";
import { encodeRecordBatch, type PlainRecord } from "./record-batch-reference.js";

const CAPACITY_BYTES = 1 << 20;
const kernel = kernelOf(heap);
const control = heap.allocate(64, 64);
const buffer = heap.allocate(CAPACITY_BYTES);
const inputs = heap.allocate(CAPACITY_BYTES);
const reader = new RecordBatchReader(heap);

afterAll(() => {
  for (const address of [control, buffer, inputs]) heap.release(address);
});

/** The two records of Kafka's golden vectors. */
const GOLDEN: PlainRecord[] = [
  { timestampMs: 1_700_000_000_000, key: Buffer.from("k1"), value: Buffer.from("hello") },
  {
    timestampMs: 1_700_000_000_005,
    key: null,
    value: Buffer.from("world!"),
    headers: [{ key: "h", value: Buffer.from("v") }],
  },
];

const GOLDEN_RECORDS = "1a 00 00 00 04 6b31 0a 68656c6c6f 00   20 00 0a 02 01 0c 776f726c6421 02 02 68 02 76";
const LEADER_FORM = hex(
  `000000000000002a 00000050 00000003 02 bb4a0de2 0000 00000001 0000018bcfe56800 0000018bcfe56805
   ffffffffffffffff ffff ffffffff 00000002 ${GOLDEN_RECORDS}`,
);
/** Base offset 0, leader epoch -1, and the same checksum. */
const PRODUCER_FORM = hex(
  `0000000000000000 00000050 ffffffff 02 bb4a0de2 0000 00000001 0000018bcfe56800 0000018bcfe56805
   ffffffffffffffff ffff ffffffff 00000002 ${GOLDEN_RECORDS}`,
);
const LOG_APPEND_TIME_FORM = hex(
  `000000000000002a 00000050 00000003 02 07b85339 0008 00000001 0000018bcfe56800 0000018bcfe58f0f
   ffffffffffffffff ffff ffffffff 00000002 ${GOLDEN_RECORDS}`,
);

describe("golden vectors of Kafka's own builder", () => {
  test("leader form", () => {
    expect(encodeInKernel(GOLDEN, { baseOffset: 42, leaderEpoch: 3 })).toEqual(LEADER_FORM);
    expect(encodeRecordBatch(GOLDEN, { baseOffset: 42, leaderEpoch: 3 })).toEqual(LEADER_FORM);
  });

  test("producer form: what the leader sets is outside the checksum", () => {
    expect(encodeInKernel(GOLDEN, { baseOffset: 0, leaderEpoch: -1 })).toEqual(PRODUCER_FORM);
  });

  test("LogAppendTime form", () => {
    const options = { baseOffset: 42, leaderEpoch: 3, logAppendTimeMs: 1_700_000_009_999 };
    expect(encodeInKernel(GOLDEN, options)).toEqual(LOG_APPEND_TIME_FORM);
    expect(encodeRecordBatch(GOLDEN, options)).toEqual(LOG_APPEND_TIME_FORM);
    expect(decode(LOG_APPEND_TIME_FORM, 42).map((m) => m.timestampMs)).toEqual([1_700_000_009_999, 1_700_000_009_999]);
  });

  test("is read back", () => {
    expect(decode(LEADER_FORM, 42)).toEqual([
      { offset: 42, timestampMs: 1_700_000_000_000, key: "6b31", value: "68656c6c6f", headers: [] },
      {
        offset: 43,
        timestampMs: 1_700_000_000_005,
        key: null,
        value: "776f726c6421",
        headers: [{ key: "h", value: "76" }],
      },
    ]);
  });
});

const bytesOf = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
const header = fc.record({
  key: fc.string({ unit: "grapheme", maxLength: 20 }),
  value: fc.option(bytesOf(20)),
}) satisfies fc.Arbitrary<Header>;
const record: fc.Arbitrary<PlainRecord> = fc.record({
  timestampMs: fc.oneof(
    fc.integer({ min: 1_699_999_999_000, max: 1_700_000_001_000 }),
    fc.integer({ min: -1, max: 8_640_000_000_000_000 }),
  ),
  key: fc.option(bytesOf(200)),
  value: fc.option(fc.oneof(bytesOf(100), bytesOf(300), bytesOf(9_000))),
  headers: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(header, { maxLength: 4 }) },
  ),
});
const records = fc.array(record, { minLength: 1, maxLength: 20 });
const leader = fc.record({
  baseOffset: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 100 }),
  leaderEpoch: fc.integer({ min: 0, max: 0x7fffffff }),
});

describe("compressed payloads that Kafka wrote", () => {
  const payloads: Record<string, [number, string]> = {
    gzip: [
      1,
      "bdf7b631 1f8b08000000000000ff9362606060c936e4ca48cdc9c9675060e06262e429cf2fca49516462ca602a03004c2710d81f000000",
    ],
    snappy: [
      2,
      "7fee3896 82534e41505059000000000100000001000000211f781a000000046b310a68656c6c6f0020000a02010c776f726c64210202680276",
    ],
    lz4: [3, "29498fea 04224d186040821f0000801a000000046b310a68656c6c6f0020000a02010c776f726c6421020268027600000000"],
    zstd: [4, "3d182ff2 28b52ffd0058f800001a000000046b310a68656c6c6f0020000a02010c776f726c64210202680276010000"],
  };
  test.each(Object.entries(payloads))("%s", (_name, [codec, golden]) => {
    const [crc, payload] = golden.split(" ") as [string, string];
    const batch = Buffer.concat([PRODUCER_FORM.subarray(0, 61), hex(payload)]);
    batch.writeInt32BE(batch.byteLength - 12, 8);
    batch.writeInt16BE(codec, 21);
    batch.set(hex(crc), 17);
    const records = decode(PRODUCER_FORM, 0);
    expect(decode(batch, 0)).toEqual(records);
    // Damage under a right checksum is the writer's; it must not do worse than an error.
    for (let at = 61; at < batch.byteLength; at++) {
      const damaged = Buffer.from(batch);
      damaged[at]! ^= 0x10;
      withChecksum(damaged);
      try {
        decode(damaged, 0);
      } catch (error) {
        expect(error).toBeInstanceOf(CorruptDataError);
      }
    }
  });
});

describe("properties", () => {
  test("the kernel writes what the plain encoder writes, and the reader reads it back", () => {
    fc.assert(
      fc.property(records, leader, (written, options) => {
        const batch = encodeRecordBatch(written, options);
        expect(encodeInKernel(written, options)).toEqual(batch);
        expect(decode(batch, options.baseOffset)).toEqual(
          written.map((each, i) => plain(each, options.baseOffset + i)),
        );
      }),
      { numRuns: 200 },
    );
  });

  test("a record appended next to the limit is written exactly, or not at all", () => {
    fc.assert(
      fc.property(records, fc.integer({ min: 0, max: 40 }), (written, missingBytes) => {
        const batch = encodeRecordBatch(written, { baseOffset: 0, leaderEpoch: 0 });
        const limit = Math.max(61, batch.byteLength - missingBytes);
        heap.bytes.fill(0xaa, buffer + limit, buffer + batch.byteLength + 64);
        kernel.openRecordBatch(control, buffer, buffer + limit);
        const appended = written.map((each) => appendInKernel(each) !== 0);
        expect(appended.every(Boolean)).toBe(missingBytes === 0);
        expect(heap.bytes.subarray(buffer + limit, buffer + batch.byteLength + 64).every((byte) => byte === 0xaa)).toBe(
          true,
        );
        if (!appended[0]) return;
        // Those that did not fit left no trace: the batch of the others is whole.
        const fitting = written.filter((_, i) => appended[i]);
        expect(seal({ baseOffset: 0, leaderEpoch: 0 })).toEqual(
          encodeRecordBatch(fitting, { baseOffset: 0, leaderEpoch: 0 }),
        );
      }),
    );
  });

  test("cut anywhere, it is an error", () => {
    const batch = encodeRecordBatch(GOLDEN, { baseOffset: 7, leaderEpoch: 0 });
    for (let size = 0; size < batch.byteLength; size++) {
      heap.bytes.set(batch, buffer);
      expect(reader.inspect(buffer, size, 7, "refused", false)).not.toBeNull();
    }
  });

  test("with any bit flipped, it is an error; only the leader epoch is under no check", () => {
    const batch = encodeRecordBatch(GOLDEN, { baseOffset: 7, leaderEpoch: 0 });
    for (let bit = 0; bit < batch.byteLength * 8; bit++) {
      const at = bit >> 3;
      const damaged = Buffer.from(batch);
      damaged[at]! ^= 1 << (bit & 7);
      heap.bytes.set(damaged, buffer);
      const fault = reader.inspect(buffer, damaged.byteLength, 7, "refused", false);
      if (at >= 12 && at < 16) expect(decode(damaged, 7)).toEqual(decode(batch, 7));
      else expect(fault).not.toBeNull();
    }
  });

  test("arbitrary bytes under a right checksum are read as records of their form or refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.integer({ min: 0, max: 3 }), (noise, count) => {
        const batch = Buffer.concat([
          encodeRecordBatch(GOLDEN, { baseOffset: 0, leaderEpoch: 0 }).subarray(0, 61),
          noise,
        ]);
        batch.writeInt32BE(batch.byteLength - 12, 8);
        batch.writeInt32BE(Math.max(0, count - 1), 23);
        batch.writeInt32BE(count, 57);
        withChecksum(batch);
        try {
          // What was read covers the payload to its last byte, so its encoding is as long.
          const read = decode(batch, 0);
          expect(read.length).toBe(count);
          expect(
            read.every((message, i) => message.offset >= 0 && message.offset <= Math.max(0, count - 1) && i < count),
          ).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptDataError);
        }
      }),
    );
  });
});

describe("the reader refuses", () => {
  const damages: Record<string, [(batch: Buffer) => void, RegExp]> = {
    "a record that is longer than it says": [(batch) => batch.writeUInt8(0x18, 61), /malformed record/],
    "a record that is shorter than it says": [(batch) => batch.writeUInt8(0x1c, 61), /malformed record/],
    "a record that passes the batch's end": [(batch) => batch.writeUInt8(0x7e, 75), /malformed record/],
    "more records than there are": [(batch) => batch.writeInt32BE(3, 57), /malformed record/],
    "fewer records than there are": [(batch) => batch.writeInt32BE(1, 57), /after its last record/],
    "more headers than bytes": [(batch) => batch.writeUInt8(0x7e, 87), /malformed record/],
    "a negative count of headers": [(batch) => batch.writeUInt8(0x01, 87), /malformed record/],
    "a null header key": [(batch) => batch.writeUInt8(0x01, 88), /malformed record/],
    "an offset beyond the last one": [(batch) => batch.writeInt32BE(0, 23), /malformed record/],
    "an unknown codec": [(batch) => batch.writeInt16BE(7, 21), /unknown compression 7/],
  };
  test.each(Object.entries(damages))("%s", (_name, [damage, message]) => {
    const batch = Buffer.from(LEADER_FORM);
    damage(batch);
    expect(() => decode(withChecksum(batch), 42)).toThrow(message);
    expect(() => decode(batch, 42)).toThrow(CorruptDataError);
  });

  test("a control batch's records to be messages", () => {
    const batch = Buffer.from(LEADER_FORM);
    batch.writeInt16BE(0x20, 21);
    expect(decode(withChecksum(batch), 42)).toEqual([]);
  });

  test("a base offset that does not follow, and tells a gap from damage by the next batch", () => {
    const next = encodeRecordBatch(GOLDEN, { baseOffset: 50, leaderEpoch: 0 });
    const inspect = (baseOffset: number, gaps: "refused" | "allowed", following: Uint8Array, more = false) => {
      const batch = encodeRecordBatch(GOLDEN, { baseOffset, leaderEpoch: 0 });
      heap.bytes.set(Buffer.concat([batch, following]), buffer);
      return reader.inspect(buffer, batch.byteLength + following.byteLength, 40, gaps, more);
    };
    expect(inspect(40, "refused", next)).toBeNull();
    expect(inspect(39, "allowed", next)).toMatch(/do not follow/);
    expect(inspect(44, "refused", next)).toMatch(/do not follow/);
    expect(inspect(44, "allowed", next)).toBeNull();
    expect(inspect(49, "allowed", next)).toMatch(/do not follow/);
    expect(inspect(44, "allowed", Buffer.alloc(0), true)).toMatch(/needs the next/);
    expect(inspect(44, "allowed", Buffer.alloc(0))).toBeNull();
  });
});

test("the size of a first record is known before it is written", () => {
  fc.assert(
    fc.property(record, (each) => {
      const headers = encodeHeaders(each.headers ?? []).byteLength;
      const size = firstRecordSizeBytes(each.key?.byteLength ?? -1, each.value?.byteLength ?? -1, headers);
      expect(size).toBe(encodeRecordBatch([each], { baseOffset: 0, leaderEpoch: 0 }).byteLength - 61);
    }),
  );
});

function encodeInKernel(
  written: readonly PlainRecord[],
  options: { baseOffset: number; leaderEpoch: number; logAppendTimeMs?: number },
): Uint8Array {
  kernel.openRecordBatch(control, buffer, buffer + CAPACITY_BYTES);
  for (const each of written) expect(appendInKernel(each)).not.toBe(0);
  return seal(options);
}

function appendInKernel({ timestampMs, key, value, headers = [] }: PlainRecord): number {
  const keyAddress = inputs;
  const valueAddress = keyAddress + (key?.byteLength ?? 0);
  const headersAddress = valueAddress + (value?.byteLength ?? 0);
  const encodedHeaders = encodeHeaders(headers);
  heap.bytes.set(key ?? [], keyAddress);
  heap.bytes.set(value ?? [], valueAddress);
  heap.bytes.set(encodedHeaders, headersAddress);
  const keySize = key?.byteLength ?? -1;
  const valueSize = value?.byteLength ?? -1;
  if (headers.length === 0 && key === null) return kernel.appendValue(control, timestampMs, valueAddress, valueSize);
  return headers.length === 0
    ? kernel.appendRecord(control, timestampMs, keyAddress, keySize, valueAddress, valueSize)
    : kernel.appendRecordWithHeaders(
        control,
        timestampMs,
        keyAddress,
        keySize,
        valueAddress,
        valueSize,
        headersAddress,
        encodedHeaders.byteLength,
      );
}

function seal(options: { baseOffset: number; leaderEpoch: number; logAppendTimeMs?: number }): Uint8Array {
  const size = kernel.sealRecordBatch(control, options.baseOffset, options.leaderEpoch, options.logAppendTimeMs ?? -1);
  heap.view.setUint32(buffer + CRC_AT, crc32c(buffer + CHECKED_AT, size - CHECKED_AT));
  return Buffer.from(heap.bytes.subarray(buffer, buffer + size));
}

type PlainMessage = Omit<StoredMessage, "key" | "value" | "headers"> & {
  key: string | null;
  value: string | null;
  headers: { key: string; value: string | null }[];
};

/** @throws CorruptDataError */
function decode(batch: Uint8Array, expectedOffset: number): PlainMessage[] {
  heap.bytes.set(batch, buffer);
  const fault = reader.inspect(buffer, batch.byteLength, expectedOffset, "refused", false);
  if (fault !== null) throw new CorruptDataError(fault, "memory", 0);
  const messages: PlainMessage[] = [];
  reader.visitRecords(
    buffer,
    0,
    (message) => messages.push(plain({ ...message, headers: message.headers }, message.offset)),
    "memory",
    0,
  );
  return messages;
}

function plain(each: PlainRecord, offset: number): PlainMessage {
  return {
    offset,
    timestampMs: each.timestampMs,
    key: toHex(each.key),
    value: toHex(each.value),
    headers: (each.headers ?? []).map(({ key, value }) => ({ key, value: toHex(value) })),
  };
}

function toHex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("hex");
}

function withChecksum(batch: Buffer): Buffer {
  heap.bytes.set(batch, inputs);
  batch.writeUInt32BE(crc32c(inputs + CHECKED_AT, batch.byteLength - CHECKED_AT), CRC_AT);
  return batch;
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ""), "hex");
}
