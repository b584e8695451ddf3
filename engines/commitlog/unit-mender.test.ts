import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type EngineListener, Message, type StorageEngine } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { seededRandom } from "../storage/seeded-random.js";
import { commitlog } from "./index.js";

const ROOT = "/store";
const QUEUES = 3;
const PER_QUEUE = 60;
const UNIT_BYTES = 20;
const QUEUE_FILE_UNITS = 20;
const SETTINGS = {
  segmentSizeBytes: 4_096,
  consumequeueFileSizeBytes: QUEUE_FILE_UNITS * UNIT_BYTES,
  keyIndexSlots: 50,
  keyIndexItems: 200,
};
const SILENT: EngineListener = { acknowledged() {}, failed() {} };
const TAGS = ["red", "green"];

let storage: FaultyStorage;
let engine: StorageEngine;

beforeEach(async () => {
  storage = new FaultyStorage();
  await open();
  await engine.createTopic("t", QUEUES);
  for (let i = 0; i < PER_QUEUE; i++) appendToAll(i);
  await engine.flush();
  await engine.close();
});

afterEach(async () => {
  await engine.close();
});

describe("units that are rotten after a clean shutdown are made anew by the read that meets them", () => {
  it.each([0, 1, 6, 7, 8, 9, 10, 11])("a bit of byte %i of a unit", async (byte) => {
    spoil(1, 27, 27, (bytes) => {
      bytes[byte]! ^= 0x40;
    });
    await open();
    expect(engine.recovery).toMatchObject({ scannedBytes: 0, repairs: [] });
    await expectAll();
    expect(engine.recovery.repairs).toEqual([
      "consumequeue/t/1: units 27 to 27 were rotten when they were read; made anew from the log.",
    ]);
    await expectCleanAndWhole();
  });

  it.each([
    ["zeros over the first file", 0, 19, (bytes: Uint8Array) => bytes.fill(0)],
    ["noise over two files", 5, 38, (bytes: Uint8Array) => bytes.fill(0xa7)],
    ["other messages' units", 30, 39, (bytes: Uint8Array) => bytes.copyWithin(0, UNIT_BYTES * 3)],
    ["all but the last unit", 0, PER_QUEUE - 2, (bytes: Uint8Array) => bytes.fill(1)],
  ])("%s", async (_name, first, last, change) => {
    spoil(0, first, last, change);
    await open();
    await expectAll();
    await expectCleanAndWhole();
  });

  it("while messages are appended, and the tags are as they were", async () => {
    spoil(2, 10, 30, (bytes) => bytes.fill(0));
    await open();
    for (let i = PER_QUEUE; i < PER_QUEUE + 10; i++) appendToAll(i);
    engine.poll();
    expect(await read(2, 15)).toBe(bodyOf(2, 15));
    for (let i = PER_QUEUE + 10; i < PER_QUEUE + 20; i++) appendToAll(i);
    await engine.flush();
    const green: number[] = [];
    for (let next = 0; next < PER_QUEUE + 20; ) {
      const visit = ({ offset }: { offset: number }) => green.push(offset);
      next = (await engine.fetch(2, next, 4_096, visit, { tags: ["green"] })).nextOffset;
    }
    expect(green).toEqual(Array.from({ length: (PER_QUEUE + 20) / 2 }, (_, i) => 2 * i + 1));
    await expectAll(PER_QUEUE + 20);
  });

  it.each(Array.from({ length: 40 }, (_, seed) => seed))("whatever is spoilt where (seed %i)", async (seed) => {
    const random = seededRandom(seed);
    for (let i = 0; i < 4; i++) {
      const first = Math.floor(random() * (PER_QUEUE - 1));
      const last = Math.min(PER_QUEUE - 2, first + Math.floor(random() ** 3 * 30));
      // Position and size: what is wrong with tags alone no read of a message sees.
      spoil(Math.floor(random() * QUEUES), first, last, (bytes) => {
        for (let at = 0; at < bytes.length; at++) if (at % UNIT_BYTES < 12) bytes[at] = random() * 256;
      });
    }
    await open();
    await expectAll();
    await expectCleanAndWhole();
  });
});

it("rot of the message itself is not taken for rot of its unit", async () => {
  const position = unitAt(0, 12).getInt32(4);
  const path = `${ROOT}/commitlog/${String(Math.floor(position / 4_096) * 4_096).padStart(20, "0")}`;
  const content = storage.readAll(path).slice();
  content[(position % 4_096) + 95]! ^= 4;
  storage.open(path, "write").write(content, 0, content.length, 0);
  await open();
  for (let time = 0; time < 2; time++) await expect(read(0, 12)).rejects.toThrow(/body that does not match its CRC/);
  expect(await read(0, 13)).toBe(bodyOf(0, 13));
  expect(engine.recovery.repairs).toEqual([]);
  await engine.close();
  await open();
  expect(engine.recovery.repairs).toEqual([expect.stringContaining(`at byte ${position}`)]);
  await expect(read(0, 12)).rejects.toThrow(CorruptDataError);
});

it("units that were made anew are synced with the others, and stay after a power cut", async () => {
  spoil(1, 3, 9, (bytes) => bytes.fill(0));
  await open();
  await expectAll();
  await engine.close();
  const image = storage.powerCut(1);
  await open();
  await engine.close();
  storage = image;
  await open();
  expect(engine.recovery).toMatchObject({ wasCleanShutdown: true, scannedBytes: 0, repairs: [] });
  await expectAll();
  expect(engine.recovery.repairs).toEqual([]);
});

async function open(): Promise<void> {
  engine = await commitlog.open({ directory: ROOT, storage, heap, settings: SETTINGS, listener: SILENT });
}

function appendToAll(i: number): void {
  const headers = [{ key: "TAGS", value: Buffer.from(TAGS[i % TAGS.length]!) }];
  for (let queue = 0; queue < QUEUES; queue++) {
    engine.append(queue, new Message(heap, Buffer.from(bodyOf(queue, i)), null, headers), i);
  }
  engine.poll();
}

function bodyOf(queue: number, offset: number): string {
  return `queue ${queue} message ${offset} `.repeat(1 + ((queue + offset) % 5));
}

async function read(queue: number, offset: number): Promise<string | undefined> {
  let value: string | undefined;
  await engine.fetch(queue, offset, 1, (message) => {
    value = Buffer.from(message.value!).toString();
  });
  return value;
}

/** All messages in large fetches, which read many units at once. */
async function expectAll(perQueue = PER_QUEUE): Promise<void> {
  for (let queue = 0; queue < QUEUES; queue++) {
    expect(engine.partitionInfo(queue)).toMatchObject({ startOffset: 0, endOffset: perQueue });
    const found: string[] = [];
    for (let next = 0; next < perQueue; ) {
      const visit = ({ value }: { value: Uint8Array | null }) => found.push(Buffer.from(value!).toString());
      next = (await engine.fetch(queue, next, 2_000, visit)).nextOffset;
    }
    expect(found).toEqual(Array.from({ length: perQueue }, (_, offset) => bodyOf(queue, offset)));
  }
}

/** Closed and opened again nothing is left to mend, and the log need not be read. */
async function expectCleanAndWhole(): Promise<void> {
  await engine.close();
  await open();
  expect(engine.recovery).toMatchObject({ wasCleanShutdown: true, scannedBytes: 0, rebuiltIndexes: 0, repairs: [] });
  await expectAll();
  expect(engine.recovery.repairs).toEqual([]);
}

function queueFile(queue: number, unit: number): [path: string, at: number] {
  const base = Math.floor(unit / QUEUE_FILE_UNITS) * QUEUE_FILE_UNITS * UNIT_BYTES;
  return [`${ROOT}/consumequeue/t/${queue}/${String(base).padStart(20, "0")}`, unit * UNIT_BYTES - base];
}

function unitAt(queue: number, unit: number): DataView {
  const [path, at] = queueFile(queue, unit);
  return new DataView(storage.readAll(path).slice(at, at + UNIT_BYTES).buffer);
}

/** Changes the bytes of the units `first` to `last`, those of each file by themselves. */
function spoil(queue: number, first: number, last: number, change: (bytes: Uint8Array) => void): void {
  for (let unit = first; unit <= last; ) {
    const [path, at] = queueFile(queue, unit);
    const count = Math.min(last + 1 - unit, QUEUE_FILE_UNITS - at / UNIT_BYTES);
    const bytes = storage.readAll(path).slice(at, at + count * UNIT_BYTES);
    change(bytes);
    const file = storage.open(path, "write");
    file.write(bytes, 0, bytes.length, at);
    file.syncNow();
    file.close();
    unit += count;
  }
}
