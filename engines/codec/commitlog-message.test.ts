import { describe, expect, it } from "vitest";
import { CorruptDataError } from "../errors.js";
import {
  BLANK_MAGIC,
  type CommitlogMessage,
  decodeMessage,
  encodeBlank,
  encodeMessage,
  encodeProperties,
  isBlank,
  javaStringHash,
  MAGIC_V2,
  parseProperties,
  readInt64,
  recordSizeBytes,
  tagsCodeOf,
  writeInt64,
} from "./commitlog-message.js";

/** Byte-identical to what RocketMQ's own encoder makes of the same message. */
const GOLDEN = `
000000b0daa320a777d189820000000300000000000000000000000700000000
00001000000000000000018bcfe568007f0000010000c3500000018bcfe5687b
c0a8010a00002a9f0000000000000000000000000000000548656c6c6f09546f
7069635465737400474b4559530170617263656c2d3802554e49515f4b455901
3746303030303031324139463138423441414332303030303030303030304141
02544147530164656c69766572656402`.replaceAll("\n", "");

const GOLDEN_MESSAGE: CommitlogMessage = {
  queueId: 3,
  flag: 0,
  queueOffset: 7,
  physicalOffset: 4_096,
  sysFlag: 0,
  bornTimestampMs: 1_700_000_000_000,
  bornHost: { address: Uint8Array.of(127, 0, 0, 1), port: 50_000 },
  storeTimestampMs: 1_700_000_000_123,
  storeHost: { address: Uint8Array.of(192, 168, 1, 10), port: 10_911 },
  reconsumeTimes: 0,
  preparedTransactionOffset: 0,
  body: bytesOf("Hello"),
  topic: "TopicTest",
  properties: encodeProperties([
    { name: "KEYS", value: "parcel-8" },
    { name: "UNIQ_KEY", value: "7F0000012A9F18B4AAC20000000000AA" },
    { name: "TAGS", value: "delivered" },
  ]),
};

describe("the record", () => {
  it("is RocketMQ's, byte for byte", () => {
    expect(hex(encodeMessage(GOLDEN_MESSAGE))).toBe(GOLDEN);
  });

  it("with the CRC property is RocketMQ's, byte for byte", () => {
    const body = GOLDEN.slice("000000b0".length).replace("0047" + "4b455953", "005b" + "4b455953");
    const crcProperty = "5f5f4352433332230133363034333730303830" + "02";
    expect(hex(encodeMessage(GOLDEN_MESSAGE, true))).toBe(`000000c4${body}${crcProperty}`);
  });

  it.each([false, true])("is decoded to what was encoded (CRC property: %s)", (appendPropertyCrc) => {
    const bytes = encodeMessage(GOLDEN_MESSAGE, appendPropertyCrc);
    expect(decodeMessage(bytes, 0, bytes.length, 4_096, "f")).toEqual(GOLDEN_MESSAGE);
  });

  it("has two bytes of topic length from 128 characters on, and says so in its magic", () => {
    const message = { ...GOLDEN_MESSAGE, topic: `%RETRY%${"g".repeat(121)}` };
    const bytes = encodeMessage(message);
    expect(message.topic).toHaveLength(128);
    expect(new DataView(bytes.buffer).getInt32(4)).toBe(MAGIC_V2);
    expect(bytes).toHaveLength(recordSizeBytes(5, 128, 71, true, 0));
    expect(decodeMessage(bytes, 0, bytes.length, 4_096, "f").topic).toBe(message.topic);
    expect(encodeMessage({ ...message, topic: "g".repeat(127) })).toHaveLength(recordSizeBytes(5, 127, 71, false, 0));
  });

  it("takes 12 bytes more for each IPv6 host, and marks it in sysFlag", () => {
    const v6 = { address: Uint8Array.from({ length: 16 }, (_, i) => i), port: 1 };
    const bytes = encodeMessage({ ...GOLDEN_MESSAGE, bornHost: v6, storeHost: v6 });
    expect(bytes).toHaveLength(176 + 24);
    const decoded = decodeMessage(bytes, 0, bytes.length, 4_096, "f");
    expect(decoded).toEqual({ ...GOLDEN_MESSAGE, bornHost: v6, storeHost: v6, sysFlag: 0x30 });
  });

  it("is not accepted at another position than its own", () => {
    const bytes = encodeMessage(GOLDEN_MESSAGE);
    expect(() => decodeMessage(bytes, 0, bytes.length, 8_192, "f")).toThrow(CorruptDataError);
  });

  it("names file and position when it is corrupt", () => {
    const bytes = encodeMessage(GOLDEN_MESSAGE);
    bytes[90]! ^= 1;
    expect(() => decodeMessage(bytes, 0, bytes.length, 4_096, "00000000000000000000")).toThrow(
      "a body that does not match its CRC in 00000000000000000000 at byte 4096",
    );
  });
});

describe("the blank at a file's end", () => {
  it("is the bytes left and the blank's magic", () => {
    const bytes = new Uint8Array(24);
    encodeBlank(bytes, 8, 16);
    expect(hex(bytes)).toBe(`${"00".repeat(8)}00000010cbd43194${"00".repeat(8)}`);
    expect(BLANK_MAGIC).toBe(0xcbd43194 | 0);
  });

  it("counts only if it names all that the file has left", () => {
    const bytes = new Uint8Array(24);
    encodeBlank(bytes, 8, 16);
    expect(isBlank(bytes, 8, 16)).toBe(true);
    expect(isBlank(bytes, 8, 15)).toBe(false);
    expect(isBlank(bytes, 0, 24)).toBe(false);
    expect(isBlank(bytes, 20, 4)).toBe(false);
  });
});

describe("properties", () => {
  it.each([
    ["a\u0001b\u0002c\u0001d\u0002", { a: "b", c: "d" }],
    ["a\u0001b\u0002c\u0001d", { a: "b", c: "d" }], // the last separator may be missing
    ["a\u0001\u0002c\u0001d\u0002", { c: "d" }], // an empty value is dropped
    ["\u0001b\u0002ab\u0002c\u0001d\u0002", { c: "d" }], // so is an empty name, and a pair without one
    ["a\u0001b\u0002a\u0001c\u0002", { a: "c" }], // the last wins
    ["a\u0001b\u0001c\u0002", { a: "b\u0001c" }], // a value may hold 0x01
    ["", {}],
  ])("are parsed by RocketMQ's rules: %j", (text, expected) => {
    const parsed = parseProperties(bytesOf(text));
    expect(Object.fromEntries(parsed.map(({ name, value }) => [name, value]))).toEqual(expected);
  });

  it("give the tags' Java hash as tagsCode, sign-extended, 0 without tags", () => {
    expect(tagsCodeOf(GOLDEN_MESSAGE.properties)).toBe(-242_327_420);
    expect(tagsCodeOf(new Uint8Array(0))).toBe(0);
    expect(tagsCodeOf(encodeProperties([{ name: "KEYS", value: "k" }]))).toBe(0);
  });
});

it.each([
  ["", 0],
  ["delivered", -242_327_420],
  ["TopicTest#7F0000012A9F18B4AAC20000000000AA", -1_171_230_186],
  ["TopicTest#parcel-8", -931_637_386],
  ["größer €", 173_919_437],
  ["😀", 1_772_899],
])("hashes %j as Java does", (text, hash) => {
  expect(javaStringHash(text)).toBe(hash);
});

it.each([
  0,
  1,
  -1,
  0x7fff_ffff,
  -0x8000_0000,
  2 ** 32,
  -(2 ** 32) - 1,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
])("writes and reads the 64-bit integer %d as BigInt does", (value) => {
  const view = new DataView(new ArrayBuffer(8));
  writeInt64(view, 0, value);
  expect(view.getBigInt64(0)).toBe(BigInt(value));
  expect(readInt64(view, 0)).toBe(value);
});

it("reads garbage beyond 2^53 as no safe integer", () => {
  const view = new DataView(new ArrayBuffer(8));
  for (const value of [0x7fff_ffff_ffff_ffffn, -0x8000_0000_0000_0000n, 2n ** 53n]) {
    view.setBigInt64(0, value);
    expect(Number.isSafeInteger(readInt64(view, 0))).toBe(false);
  }
});

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
