import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  BLANK_SIZE_BYTES,
  type CommitlogMessage,
  encodeBlank,
  encodeMessage,
  encodeProperties,
  javaStringHash,
  tagsCodeOf,
} from "../codec/commitlog-message.js";
import { heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { Consumequeue } from "./consumequeue.js";
import { type ConsumequeueUnit, decodeUnit, UNIT_SIZE_BYTES } from "./consumequeue-unit.js";
import { Dispatcher, DispatchOutcome } from "./dispatcher.js";
import { OpenFiles } from "./open-files.js";
import { type Queue, QueueTable } from "./queue-table.js";

const BUFFER_BYTES = 1 << 20;
const LOG_POSITION = 4_096_000_000_000;
const HOST = { address: Uint8Array.of(127, 0, 0, 1), port: 1 };

let buffer: number;
let queues: QueueTable;
let dispatcher: Dispatcher;

beforeEach(() => {
  const kernel = kernelOf(heap);
  const storage = new FaultyStorage();
  const files = new OpenFiles(storage, 8);
  buffer = heap.allocate(BUFFER_BYTES);
  queues = new QueueTable(heap, kernel, (topic, queueId) => {
    return new Consumequeue(storage, files, `/${topic}/${queueId}`, 50 * UNIT_SIZE_BYTES, { indexBytes: 0 });
  });
  dispatcher = new Dispatcher(heap, kernel, queues, null);
});

afterEach(() => {
  dispatcher.release();
  queues.release();
  heap.release(buffer);
});

it("makes the unit that RocketMQ makes", () => {
  const queue = queues.add("TopicTest", 3);
  queue.dispatchedOffset = 7;
  queue.files.writtenUnits = 7;
  const tags = encodeProperties([{ name: "TAGS", value: "delivered" }]);
  const sizeBytes = put([message({ topic: "TopicTest", queueId: 3, queueOffset: 7, properties: tags })], 4_096);
  expect(dispatcher.run(buffer, sizeBytes, 4_096)).toBe(DispatchOutcome.AT_END);
  const unit = heap.bytes.slice(queue.unitsAddress, queue.unitsAddress + UNIT_SIZE_BYTES);
  const sizeHex = sizeBytes.toString(16).padStart(8, "0");
  expect(Buffer.from(unit).toString("hex")).toBe(`0000000000001000${sizeHex}fffffffff18e6084`);
});

it("makes a unit for each message of each queue, in order, whatever its tags", () => {
  const tags = fc.oneof(fc.constant(null), fc.string({ maxLength: 12 }), fc.string({ maxLength: 6, unit: "grapheme" }));
  const other = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom(..."KEYSTAGDL ") });
  const messages = fc.array(
    fc.record({
      topic: fc.constantFrom("a", "topic-b", "an-eight", "an-eighu", "a-longer-topic"),
      queueId: fc.nat(2),
      tags,
      other,
    }),
    {
      maxLength: 300,
    },
  );
  let round = 0;
  fc.assert(
    fc.property(messages, (inputs) => {
      round++;
      const expected = new Map<Queue, ConsumequeueUnit[]>();
      const records: CommitlogMessage[] = [];
      let position = LOG_POSITION;
      for (const { topic, queueId, tags, other } of inputs) {
        const name = `${topic}-${round}`;
        const queue = queues.find(name, queueId) ?? queues.add(name, queueId);
        const units = expected.get(queue) ?? [];
        expected.set(queue, units);
        const properties = encodeProperties([
          { name: other, value: "TAGS\u0001x" },
          ...(tags === null ? [] : [{ name: "TAGS", value: tags.replaceAll("\u0002", "") }]),
          { name: "z", value: other },
        ]);
        const record = message({ topic: name, queueId, queueOffset: units.length, properties });
        const { length } = encodeMessage(record);
        units.push({ physicalOffset: position, sizeBytes: length, tagsCode: tagsCodeOf(properties) });
        records.push(record);
        position += length;
      }
      const sizeBytes = put(records, LOG_POSITION);
      expect(dispatcher.run(buffer, sizeBytes, LOG_POSITION)).toBe(DispatchOutcome.AT_END);
      expect(dispatcher.consumedBytes).toBe(sizeBytes);
      expect(new Set(dispatcher.takeListed())).toEqual(new Set(expected.keys()));
      for (const [queue, units] of expected) expect(unitsOf(queue)).toEqual(units);
    }),
    { numRuns: 60 },
  );
});

it("gives a delayed message's unit the time when it is due", () => {
  const queue = queues.add("SCHEDULE_TOPIC_XXXX", 2);
  const levels = ["1", "3", "18", "99", "0"];
  const records = levels.map((level, queueOffset) =>
    message({
      topic: "SCHEDULE_TOPIC_XXXX",
      queueId: 2,
      queueOffset,
      properties: encodeProperties([
        { name: "TAGS", value: "t" },
        { name: "DELAY", value: level },
      ]),
    }),
  );
  dispatcher.run(buffer, put(records, 0), 0);
  const storedMs = records[0]!.storeTimestampMs;
  expect(unitsOf(queue).map(({ tagsCode }) => tagsCode)).toEqual([
    storedMs + 1_000,
    storedMs + 10_000,
    storedMs + 7_200_000,
    storedMs + 7_200_000,
    javaStringHash("t"),
  ]);
});

it("passes over prepared and rolled back transactions, not over committed ones", () => {
  const queue = queues.add("t", 0);
  const records = [0x4, 0x0, 0xc, 0x8].map((sysFlag) =>
    message({ queueOffset: sysFlag === 0x8 ? 1 : 0, sysFlag, body: new Uint8Array(sysFlag) }),
  );
  const sizeBytes = put(records, 0);
  expect(dispatcher.run(buffer, sizeBytes, 0)).toBe(DispatchOutcome.AT_END);
  expect(unitsOf(queue).map(({ sizeBytes }) => sizeBytes)).toEqual([92, 100]);
});

it("stops before what it cannot dispatch, and says why", () => {
  queues.add("t", 0);
  const first = message({ queueOffset: 0 });
  const firstBytes = encodeMessage(first).length;
  const stopsAt = (sizeBytes: number) => {
    const outcome = dispatcher.run(buffer, sizeBytes, 0);
    return { outcome, consumedBytes: dispatcher.consumedBytes };
  };
  expect(stopsAt(put([first, message({ topic: "u", queueOffset: 0 })], 0))).toEqual({
    outcome: DispatchOutcome.UNKNOWN_QUEUE,
    consumedBytes: firstBytes,
  });
  expect(stopsAt(put([message({ queueOffset: 1 }), message({ queueOffset: 3 })], 0))).toEqual({
    outcome: DispatchOutcome.OUT_OF_ORDER,
    consumedBytes: firstBytes,
  });
  const sizeBytes = put([message({ queueOffset: 2 })], 0);
  encodeBlank(heap.bytes, buffer + sizeBytes, 1_000);
  expect(stopsAt(sizeBytes + BLANK_SIZE_BYTES)).toEqual({
    outcome: DispatchOutcome.AT_BLANK,
    consumedBytes: firstBytes,
  });
  put([message({ queueOffset: 3 })], 0);
  expect(stopsAt(firstBytes - 1)).toEqual({ outcome: DispatchOutcome.NO_RECORD, consumedBytes: 0 });
  heap.bytes.fill(0, buffer, buffer + 200);
  expect(stopsAt(200)).toEqual({ outcome: DispatchOutcome.NO_RECORD, consumedBytes: 0 });
});

function message(fields: Partial<CommitlogMessage>): CommitlogMessage {
  return {
    ...{ topic: "t", queueId: 0, queueOffset: 0, physicalOffset: 0, flag: 0, sysFlag: 0 },
    ...{ bornTimestampMs: 1, bornHost: HOST, storeTimestampMs: 1_700_000_000_000, storeHost: HOST },
    ...{ reconsumeTimes: 0, preparedTransactionOffset: 0, body: new Uint8Array(0), properties: new Uint8Array(0) },
    ...fields,
  };
}

/** Puts the records into the buffer, back to back. @returns their bytes */
function put(records: readonly CommitlogMessage[], position: number): number {
  let at = 0;
  for (const record of records) {
    const bytes = encodeMessage({ ...record, physicalOffset: position + at });
    heap.bytes.set(bytes, buffer + at);
    at += bytes.length;
  }
  return at;
}

/** What the queue's files and its buffer hold. */
function unitsOf(queue: Queue): ConsumequeueUnit[] {
  queue.drain();
  const units: ConsumequeueUnit[] = [];
  for (let i = queue.files.firstUnit; i < queue.dispatchedOffset; i++) units.push(queue.files.unitAt(i)!);
  return units;
}

it("reads back the units that it encodes", () => {
  const view = new DataView(new ArrayBuffer(UNIT_SIZE_BYTES));
  const unit = { physicalOffset: -1, sizeBytes: -1, tagsCode: 0 };
  view.setBigInt64(0, 2n ** 40n);
  view.setInt32(8, 176);
  view.setBigInt64(12, -5n);
  decodeUnit(view, 0, unit);
  expect(unit).toEqual({ physicalOffset: 2 ** 40, sizeBytes: 176, tagsCode: -5 });
});
