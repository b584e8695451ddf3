import fc from "fast-check";
import { expect, it } from "vitest";
import { CorruptDataError } from "../errors.js";
import {
  BODY_CRC_AT,
  type CommitlogMessage,
  CRC_PROPERTY_SIZE_BYTES,
  decodeMessage,
  encodeMessage,
  encodeProperties,
  PHYSICAL_OFFSET_AT,
  QUEUE_OFFSET_AT,
  SYS_FLAG_AT,
} from "./commitlog-message.js";

const text = fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" });
const host = fc.record({
  address: fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 })),
  port: fc.integer({ min: 0, max: 65_535 }),
});
const safeNatural = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

const messages: fc.Arbitrary<CommitlogMessage> = fc.record({
  queueId: fc.nat(),
  flag: fc.integer(),
  queueOffset: safeNatural,
  physicalOffset: safeNatural,
  sysFlag: fc.constant(0),
  bornTimestampMs: fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
  bornHost: host,
  storeTimestampMs: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  storeHost: host,
  reconsumeTimes: fc.nat(),
  preparedTransactionOffset: safeNatural,
  body: fc.uint8Array({ maxLength: 300 }),
  topic: fc.string({ minLength: 1, maxLength: 200, unit: fc.constantFrom(..."aZ9_-%|.") }),
  properties: fc.array(fc.record({ name: text, value: text }), { maxLength: 4 }).map(encodeProperties),
});

it("decodes what it encoded, wherever that stands", () => {
  fc.assert(
    fc.property(messages, fc.boolean(), fc.nat(50), (message, appendPropertyCrc, at) => {
      const record = encodeMessage(message, appendPropertyCrc);
      const bytes = new Uint8Array(at + record.length + 8);
      bytes.set(record, at);
      const decoded = decodeMessage(bytes, at, bytes.length, message.physicalOffset, "f");
      const v6Bits =
        (message.bornHost.address.length === 16 ? 0x10 : 0) | (message.storeHost.address.length === 16 ? 0x20 : 0);
      expect(decoded).toEqual({ ...message, sysFlag: v6Bits });
    }),
  );
});

it("refuses a record that is cut anywhere", () => {
  fc.assert(
    fc.property(messages, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (message, where) => {
      const record = encodeMessage(message);
      const limit = Math.floor(where * record.length);
      expect(() => decodeMessage(record, 0, limit, message.physicalOffset, "f")).toThrow(CorruptDataError);
    }),
  );
});

it("refuses a record with the CRC property and any bit before it flipped", () => {
  fc.assert(
    fc.property(messages, fc.nat(), (message, bit) => {
      const record = encodeMessage(message, true);
      flip(record, bit % ((record.length - CRC_PROPERTY_SIZE_BYTES) * 8));
      expect(() => decodeMessage(record, 0, record.length, message.physicalOffset, "f")).toThrow(CorruptDataError);
    }),
    { numRuns: 500 },
  );
});

it("refuses a flipped bit in sizes, magic, CRC, position and body; anywhere else the body stays right", () => {
  fc.assert(
    fc.property(messages, fc.nat(), (message, bit) => {
      const record = encodeMessage(message);
      const at = Math.floor((bit % (record.length * 8)) / 8);
      flip(record, bit % (record.length * 8));
      let decoded: CommitlogMessage;
      try {
        decoded = decodeMessage(record, 0, record.length, message.physicalOffset, "f");
      } catch (error) {
        expect(error).toBeInstanceOf(CorruptDataError);
        return;
      }
      expect(decoded.body).toEqual(message.body);
      const isProtected =
        at < BODY_CRC_AT + 4 || (at >= PHYSICAL_OFFSET_AT && at < SYS_FLAG_AT) || isInBody(record, message, at);
      expect(isProtected).toBe(false);
      if (at < QUEUE_OFFSET_AT || at >= PHYSICAL_OFFSET_AT) expect(decoded.queueOffset).toBe(message.queueOffset);
    }),
    { numRuns: 1_000 },
  );
});

it("refuses noise", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      expect(() => decodeMessage(noise, 0, noise.length, 0, "f")).toThrow(CorruptDataError);
    }),
  );
});

/** Body and its length. */
function isInBody(record: Uint8Array, message: CommitlogMessage, at: number): boolean {
  const behindBody =
    record.length - message.properties.length - 2 - message.topic.length - (message.topic.length > 127 ? 2 : 1);
  return at >= behindBody - message.body.length - 4 && at < behindBody;
}

function flip(bytes: Uint8Array, bit: number): void {
  bytes[bit >> 3]! ^= 1 << (bit & 7);
}
