import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeMessage, PHYSICAL_OFFSET_AT, readInt64 } from "../codec/commitlog-message.js";
import { connect, deletedFilesOpen } from "../engine.contract-serving.js";
import { type Consumer, Message, type PartitionHandle, type StorageEngine } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { heap } from "../heap.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { TRANSFER_PATHS } from "../storage/transfer.js";
import { commitlog } from "./index.js";

const SMALL = { segmentSizeBytes: 8_192, consumequeueFileSizeBytes: 400 };

let directory: string;
let engine: StorageEngine;
let queues: readonly PartitionHandle[];
const connections: Awaited<ReturnType<typeof connect>>[] = [];

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-serving-"));
});
afterEach(async () => {
  await engine.close();
  for (const connection of connections.splice(0)) connection.close();
  fs.rmSync(directory, { recursive: true, force: true });
});

async function open(settings: Record<string, unknown>): Promise<void> {
  const listener = { acknowledged() {}, failed() {} };
  engine = await commitlog.open({ directory, storage: new DiskStorage(), heap, settings, listener });
  queues = await engine.createTopic("t", 2);
}

async function serve(): Promise<{ consumer: Consumer; take: (sizeBytes: number) => Promise<Buffer> }> {
  const connection = await connect();
  connections.push(connection);
  return { consumer: engine.serve!(connection.server), take: (size) => connection.receiver.take(size) };
}

function append(queue: number, value: string, tags?: string): void {
  const headers = tags === undefined ? [] : [{ key: "TAGS", value: Buffer.from(tags) }];
  const message = new Message(heap, Buffer.from(value), null, headers);
  while (!engine.append(queues[queue]!, message, 1_000)) engine.poll();
}

/** Value and position in the log of each record. */
function recordsIn(bytes: Buffer): { value: string; position: number; sizeBytes: number }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: ReturnType<typeof recordsIn> = [];
  for (let at = 0; at < bytes.byteLength; at += view.getInt32(at)) {
    const position = readInt64(view, at + PHYSICAL_OFFSET_AT);
    const { body } = decodeMessage(bytes, at, bytes.byteLength, position, "what was sent");
    found.push({ value: Buffer.from(body).toString(), position, sizeBytes: view.getInt32(at) });
  }
  return found;
}

/** The log's own bytes at a position, which a record does not cross a file's end at. */
function logBytes(position: number, sizeBytes: number): Buffer {
  const base = position - (position % SMALL.segmentSizeBytes);
  const file = fs.readFileSync(path.join(directory, "commitlog", String(base).padStart(20, "0")));
  return file.subarray(position - base, position - base + sizeBytes);
}

describe.each(TRANSFER_PATHS)("a commitlog served by %s", (transfer) => {
  it.each([0, 2_000])(
    "sends one queue's records as the log has them, over files (batches of %d bytes)",
    async (batchSizeBytes) => {
      await open({ ...SMALL, transfer, batchSizeBytes, lingerMs: 1_000_000 });
      for (let i = 0; i < 200; i++) append(i % 5 === 0 ? 1 : 0, `${i};`.repeat(20 + (i % 30)));
      await engine.flush();
      expect(fs.readdirSync(path.join(directory, "commitlog")).length).toBeGreaterThan(3);
      const { consumer, take } = await serve();
      for (const [queue, count] of [
        [0, 160],
        [1, 40],
      ] as const) {
        const values: string[] = [];
        for (let next = 0; next < count; ) {
          const { sizeBytes, messageCount, nextOffset } = await consumer.send(queues[queue]!, next, 3_000);
          const bytes = await take(sizeBytes);
          const records = recordsIn(bytes);
          expect(records).toHaveLength(messageCount);
          expect(sizeBytes).toBeLessThanOrEqual(3_000);
          expect(bytes).toEqual(Buffer.concat(records.map((each) => logBytes(each.position, each.sizeBytes))));
          values.push(...records.map(({ value }) => value));
          next = nextOffset;
        }
        const expected = Array.from({ length: 200 }, (_, i) => i).filter((i) => (i % 5 === 0) === (queue === 1));
        expect(values).toEqual(expected.map((i) => `${i};`.repeat(20 + (i % 30))));
      }
    },
  );

  it("sends only records whose unit has the hash of a wanted tag", async () => {
    await open({ ...SMALL, transfer });
    const tags = ["Aa", "BB", "other", undefined]; // the first two have one hash
    for (let i = 0; i < 120; i++) append(0, `value ${i}`, tags[i % 4]);
    await engine.flush();
    const { consumer, take } = await serve();
    const sendAll = async (wanted: string[]): Promise<string[]> => {
      const values: string[] = [];
      for (let next = 0; next < 120; ) {
        const outcome = await consumer.send(queues[0]!, next, 5_000, { tags: wanted });
        expect(outcome.nextOffset).toBeGreaterThan(next);
        const records = recordsIn(await take(outcome.sizeBytes));
        expect(records).toHaveLength(outcome.messageCount);
        values.push(...records.map(({ value }) => value));
        next = outcome.nextOffset;
      }
      return values;
    };
    const every = (wanted: number[]) =>
      Array.from({ length: 120 }, (_, i) => i)
        .filter((i) => wanted.includes(i % 4))
        .map((i) => `value ${i}`);
    expect(await sendAll(["Aa"])).toEqual(every([0, 1]));
    expect(await sendAll(["other"])).toEqual(every([2]));
    expect(await sendAll(["other", "BB"])).toEqual(every([0, 1, 2]));
    expect(await sendAll(["nobody's"])).toEqual([]);
    expect(await sendAll([])).toEqual([]);
  });
});

it("sends what is in the file alone, whatever waits to be written", async () => {
  await open({ ...SMALL, writePath: "write" });
  append(0, "waiting");
  const { consumer, take } = await serve();
  const before = await consumer.send(queues[0]!, 0, 1_000);
  expect(before).toEqual({ nextOffset: 0, messageCount: 0, sizeBytes: 0 });
  await engine.flush();
  const after = await consumer.send(queues[0]!, 0, 1_000);
  expect(recordsIn(await take(after.sizeBytes)).map(({ value }) => value)).toEqual(["waiting"]);
});

it("reaches into eight files with one send at most, and the next goes on", async () => {
  await open(SMALL);
  for (let i = 0; i < 60; i++) append(0, "x".repeat(2_000)); // three to a file
  await engine.flush();
  const { consumer, take } = await serve();
  const counts: number[] = [];
  for (let next = 0; next < 60; ) {
    const { sizeBytes, messageCount, nextOffset } = await consumer.send(queues[0]!, next, 1_000_000);
    expect(recordsIn(await take(sizeBytes))).toHaveLength(messageCount);
    counts.push(messageCount);
    next = nextOffset;
  }
  expect(counts).toEqual([24, 24, 12]);
});

it.runIf(process.platform === "linux")("closes a file of earlier sends that retention deletes", async () => {
  await open({ ...SMALL, retentionBytes: 0, retentionCheckMs: 1 });
  for (let i = 0; i < 60; i++) append(0, "x".repeat(400));
  await engine.flush();
  const { consumer, take } = await serve();
  await take((await consumer.send(queues[0]!, 0, 1_000)).sizeBytes);
  const first = path.join(directory, "commitlog", "0".repeat(20));
  expect(fs.existsSync(first)).toBe(true);
  await expect
    .poll(() => {
      engine.poll();
      return [fs.existsSync(first), deletedFilesOpen(directory)];
    })
    .toEqual([false, []]);
  append(0, "next");
  await engine.flush();
  expect((await consumer.send(queues[0]!, 60, 1_000)).messageCount).toBe(1);
});

it("makes a unit that points nowhere anew, and sends what it should point at", async () => {
  await withUnitThatPointsNowhere(false);
  const { consumer, take } = await serve();
  const before = await consumer.send(queues[0]!, 0, 100_000);
  expect(before.nextOffset).toBe(7);
  await take(before.sizeBytes);
  const behind = await consumer.send(queues[0]!, 7, 100_000);
  expect(behind).toMatchObject({ nextOffset: 15, messageCount: 8 });
  await take(behind.sizeBytes);
});

it("ends before a unit that points nowhere and whose message is rotten, and then says where that is", async () => {
  await withUnitThatPointsNowhere(true);
  const { consumer, take } = await serve();
  const before = await consumer.send(queues[0]!, 0, 100_000);
  expect(before.nextOffset).toBe(7);
  await take(before.sizeBytes);
  const failure = consumer.send(queues[0]!, 7, 100_000);
  await expect(failure).rejects.toThrow(CorruptDataError);
  await expect(failure).rejects.toMatchObject({ positionBytes: 7 * 20 });
});

/** Of message 7 of 15. */
async function withUnitThatPointsNowhere(isMessageRotten: boolean): Promise<void> {
  await open(SMALL);
  for (let i = 0; i < 15; i++) append(0, `value ${i}`);
  await engine.flush();
  await engine.close();
  const file = path.join(directory, "consumequeue", "t", "0", "0".repeat(20));
  const units = fs.readFileSync(file);
  if (isMessageRotten) {
    const log = path.join(directory, "commitlog", "0".repeat(20));
    const records = fs.readFileSync(log);
    records[units.readInt32BE(7 * 20 + 4) + 90]! ^= 1;
    fs.writeFileSync(log, records);
  }
  units.writeInt32BE(1, 7 * 20); // four gigabytes on
  fs.writeFileSync(file, units);
  await open(SMALL);
}
