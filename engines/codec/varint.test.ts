import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  MAX_VARINT_BYTES,
  MAX_VARLONG_BYTES,
  readVarint,
  readVarlong,
  varintSizeBytes,
  varlongSizeBytes,
  writeVarint,
  writeVarlong,
} from "./varint.js";

const hex = (write: (value: number, target: Uint8Array, at: number) => number, value: number) => {
  const target = new Uint8Array(MAX_VARLONG_BYTES);
  return Buffer.from(target.subarray(0, write(value, target, 0))).toString("hex");
};

/** Observed with Kafka's own classes. */
const GOLDEN: [number, string][] = [
  [0, "00"],
  [-1, "01"],
  [1, "02"],
  [-2, "03"],
  [63, "7e"],
  [-64, "7f"],
  [64, "8001"],
  [-65, "8101"],
  [300, "d804"],
  [8_192, "808001"],
  [2 ** 31 - 1, "feffffff0f"],
  [-(2 ** 31), "ffffffff0f"],
];

describe("varint", () => {
  it("has Kafka's bytes", () => {
    for (const [value, bytes] of GOLDEN) {
      expect(hex(writeVarint, value)).toBe(bytes);
      expect(hex(writeVarlong, value)).toBe(bytes);
      expect(readVarint(Buffer.from(bytes, "hex"), { at: 0 }, bytes.length / 2)).toBe(value);
    }
    expect(hex(writeVarlong, 1_700_000_000_000)).toBe("80a0abfef962");
  });

  it("reads back what it wrote, from any place, and knows its size", () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.nat(7), (value, at) => {
        const target = new Uint8Array(16).fill(0xff);
        const end = writeVarint(value, target, at);
        expect(end - at).toBe(varintSizeBytes(value));
        const cursor = { at };
        expect(readVarint(target, cursor, end)).toBe(value);
        expect(cursor.at).toBe(end);
        for (let cut = at; cut < end; cut++) expect(readVarint(target, { at }, cut)).toBeNaN();
      }),
    );
  });

  it("refuses what is too long or does not fit 32 bits", () => {
    expect(readVarint(Buffer.from("808080808000", "hex"), { at: 0 }, 6)).toBeNaN();
    expect(readVarint(Buffer.from("ffffffff1f", "hex"), { at: 0 }, MAX_VARINT_BYTES)).toBeNaN();
  });
});

describe("varlong", () => {
  /** The definition in 64-bit arithmetic. */
  const definition = (value: number) => {
    let folded = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
    const bytes: number[] = [];
    do {
      const byte = Number(folded & 0x7fn);
      folded >>= 7n;
      bytes.push(folded === 0n ? byte : byte | 0x80);
    } while (folded !== 0n);
    return Buffer.from(bytes).toString("hex");
  };

  it("equals the definition and reads back, for every safe integer", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.maxSafeInteger(),
          fc.integer({ min: -300, max: 300 }),
          fc.constantFrom(2 ** 31, 2 ** 32, -(2 ** 32)),
        ),
        (value) => {
          const bytes = hex(writeVarlong, value);
          expect(bytes).toBe(definition(value));
          expect(bytes.length / 2).toBe(varlongSizeBytes(value));
          const cursor = { at: 0 };
          expect(readVarlong(Buffer.from(bytes, "hex"), cursor, bytes.length / 2)).toBe(value);
          expect(cursor.at).toBe(bytes.length / 2);
          expect(readVarlong(Buffer.from(bytes, "hex"), { at: 0 }, bytes.length / 2 - 1)).toBeNaN();
        },
      ),
      { numRuns: 500 },
    );
    for (const edge of [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
      const bytes = Buffer.from(definition(edge), "hex");
      expect(readVarlong(bytes, { at: 0 }, bytes.byteLength)).toBe(edge);
    }
  });

  it("refuses what is too long or no safe integer", () => {
    expect(readVarlong(Buffer.from("8080808080808080808000", "hex"), { at: 0 }, 11)).toBeNaN();
    expect(readVarlong(Buffer.from("ffffffffffffffffff01", "hex"), { at: 0 }, 10)).toBeNaN();
  });
});
