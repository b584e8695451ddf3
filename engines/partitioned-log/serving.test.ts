import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect, deletedFilesOpen } from "../engine.contract-serving.js";
import type { Consumer, Message, PartitionHandle, StorageEngine } from "../engine.js";
import { CorruptDataError, OffsetOutOfRangeError, UnsupportedError } from "../errors.js";
import { heap } from "../heap.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { TRANSFER_PATHS } from "../storage/transfer.js";
import { partitionedLog } from "./index.js";
import { appendBatches, message, START_MS } from "./testing.js";

/** A batch of four messages of 100 bytes takes 493 or so: four to a segment, and an index entry for each but the first. */
const SMALL = { segmentSizeBytes: 2_048, indexIntervalBytes: 0 };

let directory: string;
let engine: StorageEngine;
let partition: PartitionHandle;
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
  engine = await partitionedLog.open({ directory, storage: new DiskStorage(), heap, settings, listener });
  [partition] = (await engine.createTopic("t", 1)) as [PartitionHandle];
}

async function serve(): Promise<{ consumer: Consumer; take: (sizeBytes: number) => Promise<Buffer> }> {
  const connection = await connect();
  connections.push(connection);
  return {
    consumer: engine.serve!(connection.server),
    take: (sizeBytes) => connection.receiver.take(sizeBytes),
  };
}

type Served = Awaited<ReturnType<typeof serve>>;

/** Sends everything from `fromOffset` on, and says what came. */
async function sendFrom(
  { consumer, take }: Served,
  fromOffset: number,
  maxBytes: number,
): Promise<{ bytes: Buffer; nextOffset: number }> {
  const parts: Buffer[] = [];
  for (let next = fromOffset; ; ) {
    const outcome = await consumer.send(partition, next, maxBytes);
    if (outcome.messageCount === 0) return { bytes: Buffer.concat(parts), nextOffset: next };
    parts.push(await take(outcome.sizeBytes));
    next = outcome.nextOffset;
  }
}

function segments(): string[] {
  const names = fs.readdirSync(path.join(directory, "t-0")).filter((name) => name.endsWith(".log"));
  return names.sort().map((name) => path.join(directory, "t-0", name));
}

const wholeLog = () => Buffer.concat(segments().map((file) => fs.readFileSync(file)));

/** The position and base offset of each batch in a log's bytes. */
function batchesOf(log: Buffer): { position: number; baseOffset: number }[] {
  const found: { position: number; baseOffset: number }[] = [];
  for (let position = 0; position < log.byteLength; position += 12 + log.readInt32BE(position + 8)) {
    found.push({ position, baseOffset: Number(log.readBigInt64BE(position)) });
  }
  return found;
}

describe.each(TRANSFER_PATHS)("a partitioned log served by %s", (transfer) => {
  it.each(["none", "gzip"])(
    "sends the files' own bytes from the batch that holds the offset on (%s)",
    async (compression) => {
      await open({ ...SMALL, transfer, compression });
      appendBatches(engine, partition, [0, 200]);
      expect(segments().length).toBeGreaterThan(compression === "none" ? 8 : 3);
      const log = wholeLog();
      const batches = batchesOf(log);
      expect(batches).toHaveLength(50);
      const served = await serve();
      for (const maxBytes of [1, 500, 1_700, 1_000_000]) {
        for (const fromOffset of [0, 1, 3, 4, 97, 198]) {
          const start = batches.findLast(({ baseOffset }) => baseOffset <= fromOffset)!.position;
          const { bytes, nextOffset } = await sendFrom(served, fromOffset, maxBytes);
          expect(nextOffset).toBe(200);
          expect(Buffer.compare(bytes, log.subarray(start))).toBe(0);
        }
      }
    },
  );

  it("ends every send between two batches, in the middle of a segment and at its end", async () => {
    await open({ ...SMALL, transfer });
    appendBatches(engine, partition, [0, 100]);
    const ends = new Set(batchesOf(wholeLog()).map(({ position }) => position));
    const { consumer, take } = await serve();
    for (let maxBytes = 400; maxBytes < 6_000; maxBytes += 97) {
      const { sizeBytes, nextOffset } = await consumer.send(partition, 0, maxBytes);
      await take(sizeBytes);
      expect(ends.has(sizeBytes)).toBe(true);
      expect(nextOffset % 4).toBe(0);
    }
  });

  it("sends what was there, whatever rolls while the send is blocked", async () => {
    await open({ segmentSizeBytes: 1_000_000, transfer });
    const large = message(0, 10_000);
    const append = (count: number) => {
      for (let i = 0; i < count; i++) {
        while (!engine.append(partition, large, START_MS)) engine.poll();
      }
      engine.poll();
    };
    append(500);
    const before = wholeLog();
    const { consumer, take } = await serve();
    const blocked = consumer.send(partition, 0, 100_000_000);
    append(300);
    await engine.flush();
    const received = take(before.byteLength);
    const { sizeBytes, nextOffset } = await blocked;
    expect(sizeBytes).toBe(before.byteLength);
    expect(nextOffset).toBe(500);
    expect(Buffer.compare(await received, before)).toBe(0);
  });
});

it.each(TRANSFER_PATHS)(
  "sends a segment whole that retention deletes while the send is blocked (%s)",
  async (transfer) => {
    await open({
      ...{ segmentSizeBytes: 1_000_000, transfer },
      ...{ retentionMs: 1, retentionCheckMs: 1, fileDeleteDelayMs: 0 },
    });
    const large = message(0, 10_000);
    for (let i = 0; i < 500; i++) while (!engine.append(partition, large, START_MS)) engine.poll();
    await engine.flush();
    const before = wholeLog();
    const { consumer, take } = await serve();
    const blocked = consumer.send(partition, 0, 100_000_000);
    const names = () => fs.readdirSync(path.join(directory, "t-0")).filter((name) => /\d{20}/.test(name));
    while (names().join() !== "00000000000000000500.log") {
      engine.poll();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(engine.partitionInfo(partition)).toMatchObject({ startOffset: 500, endOffset: 500 });
    const received = take(before.byteLength);
    expect((await blocked).sizeBytes).toBe(before.byteLength);
    expect(Buffer.compare(await received, before)).toBe(0);
    await expect(consumer.send(partition, 0, 1)).rejects.toThrow(OffsetOutOfRangeError);
  },
);

it.runIf(process.platform === "linux")("closes a segment of earlier sends that retention deletes", async () => {
  await open({ ...SMALL, retentionBytes: 0, retentionCheckMs: 1, fileDeleteDelayMs: 0 });
  appendBatches(engine, partition, [0, 40]);
  await engine.flush();
  const { consumer, take } = await serve();
  await take((await consumer.send(partition, 0, 1)).sizeBytes);
  const isThere = () => fs.readdirSync(path.join(directory, "t-0")).some((name) => name.startsWith("0".repeat(20)));
  expect(isThere()).toBe(true);
  await expect
    .poll(() => {
      for (let i = 0; i < 300; i++) engine.poll();
      return [isThere(), deletedFilesOpen(directory)];
    })
    .toEqual([false, []]);
  appendBatches(engine, partition, [40, 44]);
  await engine.flush();
  expect((await consumer.send(partition, 40, 1)).messageCount).toBe(4);
});

it("does not send what waits in a batch", async () => {
  await open({ lingerMs: 1_000_000 });
  engine.append(partition, message(0) as Message, START_MS);
  const { consumer } = await serve();
  expect(await consumer.send(partition, 0, 1_000)).toEqual({ nextOffset: 0, messageCount: 0, sizeBytes: 0 });
  await engine.flush();
  expect((await consumer.send(partition, 0, 1_000)).messageCount).toBe(1);
});

it("sends what recovery left of a torn log", async () => {
  await open(SMALL);
  appendBatches(engine, partition, [0, 60]);
  await engine.close();
  fs.rmSync(path.join(directory, ".kafka_cleanshutdown"));
  const last = segments().at(-1)!;
  fs.truncateSync(last, fs.statSync(last).size - 10);
  await open(SMALL);
  expect(engine.recovery.truncatedBytes).toBeGreaterThan(0);
  const { bytes, nextOffset } = await sendFrom(await serve(), 0, 3_000);
  expect(nextOffset).toBe(engine.partitionInfo(partition).endOffset);
  expect(nextOffset).toBe(56);
  expect(Buffer.compare(bytes, wholeLog())).toBe(0);
});

it("finds batches where the log has them when an index lies", async () => {
  await open(SMALL);
  appendBatches(engine, partition, [0, 64]);
  await engine.close();
  const log = wholeLog();
  for (const file of segments().slice(0, -1)) {
    const index = file.replace(/log$/, "index");
    const entries = fs.readFileSync(index);
    for (let at = 4; at < entries.byteLength; at += 8) entries.writeInt32BE(entries.readInt32BE(at) + 1, at);
    fs.writeFileSync(index, entries);
  }
  await open(SMALL);
  const served = await serve();
  for (const maxBytes of [1, 700, 5_000]) {
    const { bytes, nextOffset } = await sendFrom(served, 0, maxBytes);
    expect(nextOffset).toBe(64);
    expect(Buffer.compare(bytes, log)).toBe(0);
  }
});

it("ends before what is no batch, and then says where that is", async () => {
  const unindexed = { ...SMALL, indexIntervalBytes: 1_000_000 };
  await open(unindexed);
  appendBatches(engine, partition, [0, 64]);
  await engine.close();
  const second = segments()[1]!;
  const bytes = fs.readFileSync(second);
  const damaged = batchesOf(bytes)[2]!;
  bytes[damaged.position + 16] = 7; // the format's number
  fs.writeFileSync(second, bytes);
  await open(unindexed);
  const { consumer, take } = await serve();
  const base = Number(path.basename(second, ".log"));
  const before = await consumer.send(partition, base, 1_000_000);
  expect(before.nextOffset).toBe(damaged.baseOffset);
  await take(before.sizeBytes);
  const failure = consumer.send(partition, before.nextOffset, 1_000_000);
  await expect(failure).rejects.toThrow(CorruptDataError);
  await expect(failure).rejects.toMatchObject({ file: second, positionBytes: damaged.position });
});

it("sends nothing by tags, which its format does not have", async () => {
  await open({});
  const { consumer } = await serve();
  await expect(consumer.send(partition, 0, 1, { tags: [] })).rejects.toThrow(UnsupportedError);
});
