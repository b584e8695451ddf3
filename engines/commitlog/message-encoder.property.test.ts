import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import {
  type CommitlogMessage,
  decodeMessage,
  encodeMessage,
  encodeProperties,
  parseProperties,
} from "../codec/commitlog-message.js";
import { Message } from "../engine.js";
import { CorruptDataError, UnrepresentableError } from "../errors.js";
import { heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { Consumequeue } from "./consumequeue.js";
import { MessageEncoder } from "./message-encoder.js";
import { OpenFiles } from "./open-files.js";
import { QueueTable } from "./queue-table.js";
import { ParseOutcome, RecordParser } from "./record-parser.js";
import { parseHost, settingsSchema } from "./settings.js";

// The kernel's encoder and parser against the plain ones of the codec.

const kernel = kernelOf(heap);
const storage = new FaultyStorage();
const openFiles = new OpenFiles(storage, 4);
const queues = new QueueTable(
  heap,
  kernel,
  (topic, queueId) => new Consumequeue(storage, openFiles, `/${topic}/${queueId}`, 400, { indexBytes: 0 }),
);
const parser = new RecordParser(heap, kernel, false);
const record = heap.allocate(8_192);
const placedValue = heap.allocate(2_000);
const placedKey = heap.allocate(200);

afterAll(() => {
  parser.release();
  queues.release();
  for (const address of [record, placedValue, placedKey]) heap.release(address);
});

const text = fc.string({ minLength: 1, maxLength: 12, unit: "grapheme" });
const header = fc.record({ name: fc.oneof(fc.constant("TAGS"), text), value: text });
const host = fc.constantFrom("127.0.0.1:0", "10.1.2.3:65535", "[::1]:7", "[2001:db8::ff00:42:8329]:10911");

const inputs = fc.record({
  topic: fc.oneof(
    fc.string({ minLength: 1, maxLength: 30, unit: fc.constantFrom(..."abZ09_-.%|") }),
    fc.constantFrom("t".repeat(127), `%RETRY%${"g".repeat(121)}`),
  ),
  queueId: fc.nat(100),
  value: fc.oneof(fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ minLength: 380, maxLength: 1_500 })),
  key: fc.option(text),
  headers: fc.uniqueArray(header, { maxLength: 3, selector: ({ name }) => name }),
  queueOffset: fc.nat(),
  physicalOffset: fc.maxSafeNat(),
  bornTimestampMs: fc.maxSafeInteger(),
  storeTimestampMs: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  isInHeap: fc.boolean(),
  settings: fc.record({ appendPropertyCrc: fc.boolean(), bornHost: host, storeHost: host }),
});
type Input = typeof inputs extends fc.Arbitrary<infer T> ? T : never;

it("encodes as the plain encoder does, and touches nothing behind", () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const expected = encodeMessage(messageOf(input), input.settings.appendPropertyCrc);
      expect(Buffer.compare(encodeInKernel(input), expected)).toBe(0);
    }),
    { numRuns: 300 },
  );
});

it("parses what it encoded, as the plain decoder does", () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const bytes = encodeInKernel(input);
      expect(parser.parse(record, bytes.length, input.physicalOffset, queues)).toBe(ParseOutcome.OK);
      const { key, headers } = input;
      expect({
        sizeBytes: parser.sizeBytes,
        queueBlock: parser.queueBlock,
        queueId: parser.queueId,
        topic: parser.topic(),
        body: parser.body.slice(),
        key: heap.bytes.slice(parser.keysAddress, parser.keysAddress + parser.keysSizeBytes),
        otherPropertyCount: parser.otherPropertyCount,
        properties: parseProperties(parser.properties()),
        queueOffset: parser.queueOffset,
        bornTimestampMs: parser.bornTimestampMs,
        storeTimestampMs: parser.storeTimestampMs,
      }).toEqual({
        sizeBytes: bytes.length,
        queueBlock: queueOf(input).block,
        queueId: input.queueId,
        topic: input.topic,
        body: input.value,
        key: bytesOf(key ?? ""),
        otherPropertyCount: headers.length,
        properties: propertiesOf(input),
        queueOffset: input.queueOffset,
        bornTimestampMs: input.bornTimestampMs,
        storeTimestampMs: input.storeTimestampMs,
      });
    }),
  );
});

it("parses a cut or flipped record as the plain decoder does: both refuse it, or neither", () => {
  fc.assert(
    fc.property(inputs, fc.nat(), fc.nat(), (input, bit, cut) => {
      const bytes = encodeInKernel(input);
      const sizeBytes = cut % 4 === 0 ? cut % bytes.length : bytes.length;
      const flipped = bit % (bytes.length * 8);
      bytes[flipped >> 3]! ^= 1 << (flipped & 7);
      heap.bytes.set(bytes, record);
      const outcome = parser.parse(record, sizeBytes, input.physicalOffset, queues);
      let decoded: CommitlogMessage | undefined;
      try {
        decoded = decodeMessage(bytes, 0, sizeBytes, input.physicalOffset, "f");
      } catch (error) {
        expect(error).toBeInstanceOf(CorruptDataError);
      }
      // A topic that is not UTF-8 is the one thing that the kernel leaves to its caller: it belongs to no queue.
      const isAccepted = outcome === ParseOutcome.OK && !(decoded === undefined && parser.queueBlock === 0);
      expect(isAccepted).toBe(decoded !== undefined);
      if (decoded !== undefined) {
        expect(parser.topic()).toBe(decoded.topic);
        expect(parser.queueOffset).toBe(decoded.queueOffset);
        expect(parser.bodySizeBytes).toBe(decoded.body.length);
      }
    }),
    { numRuns: 1_000 },
  );
});

it.each<
  [string, Partial<{ value: Uint8Array | null; key: Uint8Array; headers: { key: string; value: Uint8Array | null }[] }>]
>([
  ["a null value", { value: null }],
  ["a value above the limit", { value: new Uint8Array(5_001) }],
  ["an empty key", { key: new Uint8Array(0) }],
  ["a key that is not UTF-8", { key: Uint8Array.of(0xff) }],
  ["a key with 0x01", { key: bytesOf("a\u0001") }],
  ["a key with 0x02", { key: bytesOf("\u0002a") }],
  ["a header without a name", { headers: [{ key: "", value: bytesOf("v") }] }],
  ["a header without a value", { headers: [{ key: "h", value: null }] }],
  ["a header with an empty value", { headers: [{ key: "h", value: bytesOf("") }] }],
  ["a header with 0x02 in its name", { headers: [{ key: "h\u0002", value: bytesOf("v") }] }],
  ["a header with 0x01 in its value", { headers: [{ key: "h", value: bytesOf("\u0001") }] }],
  ["a header whose name is no text", { headers: [{ key: "\ud800", value: bytesOf("v") }] }],
  ["a header whose value is no text", { headers: [{ key: "h", value: Uint8Array.of(0xc0, 0x80) }] }],
  ["a reserved header", { headers: [{ key: "UNIQ_KEY", value: bytesOf("v") }] }],
  ["KEYS as a header", { headers: [{ key: "KEYS", value: bytesOf("v") }] }],
  ["a header twice", { headers: ["a", "b"].map((value) => ({ key: "h", value: bytesOf(value) })) }],
  ["too long a key", { key: new Uint8Array(32_800).fill(97) }],
  ["too long headers", { headers: [{ key: "h", value: new Uint8Array(32_766).fill(97) }] }],
])("refuses %s", (_, { value = bytesOf("v"), key = null, headers = [] }) => {
  const encoder = new MessageEncoder(heap, kernel, settingsSchema.parse({ maxMessageSizeBytes: 5_000 }));
  const queue = queues.find("refusals", 0) ?? queues.add("refusals", 0);
  try {
    expect(() => encoder.prepare(queue, new Message(heap, value, key, headers))).toThrow(UnrepresentableError);
  } finally {
    encoder.release();
  }
});

function queueOf({ topic, queueId }: Input) {
  return queues.find(topic, queueId) ?? queues.add(topic, queueId);
}

function encodeInKernel(input: Input): Uint8Array {
  const encoder = new MessageEncoder(heap, kernel, settingsSchema.parse(input.settings));
  const queue = queueOf(input);
  const value = input.isInHeap ? placed(input.value, placedValue) : input.value;
  const key = input.key === null ? null : input.isInHeap ? placed(bytesOf(input.key), placedKey) : bytesOf(input.key);
  const headers = input.headers.map(({ name, value }) => ({ key: name, value: bytesOf(value) }));
  const message = new Message(heap, value, key, headers);
  heap.bytes.fill(0xaa, record, record + 8_192);
  const sizeBytes = encoder.prepare(queue, message);
  const { queueOffset, physicalOffset, bornTimestampMs, storeTimestampMs } = input;
  encoder.setStoreTimestamp(storeTimestampMs);
  encoder.encode(record, queue, queueOffset, physicalOffset, bornTimestampMs);
  encoder.release();
  expect(heap.bytes.slice(record + sizeBytes, record + 8_192).every((byte) => byte === 0xaa)).toBe(true);
  return heap.bytes.slice(record, record + sizeBytes);
}

function messageOf(input: Input): CommitlogMessage {
  const { topic, queueId, queueOffset, physicalOffset, bornTimestampMs, storeTimestampMs, value, settings } = input;
  return {
    ...{ topic, queueId, queueOffset, physicalOffset, bornTimestampMs, storeTimestampMs },
    ...{ flag: 0, sysFlag: 0, reconsumeTimes: 0, preparedTransactionOffset: 0 },
    bornHost: parseHost(settings.bornHost),
    storeHost: parseHost(settings.storeHost),
    body: value,
    properties: encodeProperties(propertiesOf(input)),
  };
}

function propertiesOf({ key, headers }: Input): { name: string; value: string }[] {
  return [...(key === null ? [] : [{ name: "KEYS", value: key }]), ...headers];
}

function placed(bytes: Uint8Array, address: number): Uint8Array {
  heap.bytes.set(bytes, address);
  return heap.bytes.subarray(address, address + bytes.length);
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
