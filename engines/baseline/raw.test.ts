import { beforeEach, expect, it } from "vitest";
import { type EngineEvent, Message, type StorageEngine } from "../engine.js";
import { CorruptDataError, OpenError, UnrepresentableError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { rawEngine } from "./raw.js";

let storage: FaultyStorage;
let acknowledgedCount: number;
let events: EngineEvent[];

beforeEach(() => {
  storage = new FaultyStorage();
  acknowledgedCount = 0;
  events = [];
});

function open(settings: Record<string, unknown> = {}): Promise<StorageEngine> {
  return rawEngine.open({
    directory: "/raw",
    storage,
    heap,
    settings,
    listener: {
      acknowledged: (_partition, _baseOffset, messageCount) => {
        acknowledgedCount += messageCount;
      },
      failed: () => {},
      event: (event) => events.push(event),
    },
  });
}

const text = (value: string) => new Message(heap, Buffer.from(value));
const log = () => Buffer.from(storage.readAll("/raw/raw.log")).toString("hex");

async function read(engine: StorageEngine, partition: number): Promise<(string | null)[]> {
  const values: (string | null)[] = [];
  await engine.fetch(partition, 0, 1_000_000, ({ value }) => {
    values.push(value === null ? null : Buffer.from(value).toString());
  });
  return values;
}

it("writes each value behind its partition + 1 and its size + 1, little-endian", async () => {
  const engine = await open();
  const [a, b] = await engine.createTopic("t", 2);
  engine.append(a!, text("AB"), 0);
  engine.append(b!, new Message(heap, null), 0);
  engine.append(b!, text(""), 0);
  await engine.close();
  expect(log()).toBe("01000000" + "03000000" + "4142" + "02000000" + "00000000" + "02000000" + "01000000");
  const again = await open();
  expect(await read(again, 0)).toEqual(["AB"]);
  expect(await read(again, 1)).toEqual([null, ""]);
  await again.close();
});

it("gathers blocks of batchSizeBytes, and with 0 writes each message by itself", async () => {
  const engine = await open({ batchSizeBytes: 100 });
  const [handle] = await engine.createTopic("t", 1);
  const before = engine.counters().writeCalls;
  const calls = () => engine.counters().writeCalls - before;
  for (let i = 0; i < 3; i++) engine.append(handle!, text("x".repeat(22)), 0);
  expect(calls()).toBe(0);
  engine.append(handle!, text("x".repeat(2)), 0); // 3 · 30 + 10 = 100: full
  expect(calls()).toBe(1);
  engine.append(handle!, text("x".repeat(80)), 0);
  engine.append(handle!, text("x".repeat(80)), 0); // does not fit: the block before it goes first
  expect(calls()).toBe(2);
  engine.append(handle!, text("x".repeat(200_000)), 0); // larger than any block so far
  expect(calls()).toBe(4);
  expect(acknowledgedCount).toBe(7);
  expect(engine.counters()).toMatchObject({ batches: 4, logBytes: 100 + 88 + 88 + 200_008 });
  await engine.close();
  const oneByOne = await open({ batchSizeBytes: 0 });
  oneByOne.append(0, text("x"), 0);
  oneByOne.append(0, text("y"), 0);
  expect(oneByOne.counters().batches).toBe(2);
  await oneByOne.close();
});

it("lets a block wait for lingerMs", async () => {
  const engine = await open({ lingerMs: 1_000_000 });
  await engine.createTopic("t", 1);
  engine.append(0, text("x"), 0);
  for (let i = 0; i < 10; i++) engine.poll();
  expect(acknowledgedCount).toBe(0);
  await engine.close();
  const soon = await open({ lingerMs: 5 });
  soon.append(0, text("x"), 0);
  while (acknowledgedCount < 2) soon.poll();
  await soon.close();
});

it("reserves the file in steps and cuts what it did not use", async () => {
  const engine = await open({ preallocate: true, segmentSizeBytes: 1_000, batchSizeBytes: 0 });
  await engine.createTopic("t", 1);
  engine.append(0, text("x".repeat(92)), 0);
  expect(storage.readAll("/raw/raw.log").byteLength).toBe(1_000);
  engine.append(0, text("x".repeat(2_000)), 0);
  expect(storage.readAll("/raw/raw.log").byteLength).toBe(3_000);
  expect(events.map(({ kind }) => kind)).toEqual(["file-preallocate", "file-preallocate"]);
  storage = storage.kill();
  const again = await open();
  expect(again.recovery).toMatchObject({ wasCleanShutdown: false, truncatedBytes: 3_000 - 100 - 2_008 });
  expect(again.recovery.repairs.join()).toContain("/raw/raw.log at byte 2108");
  await again.close();
  expect(storage.readAll("/raw/raw.log").byteLength).toBe(2_108);
});

it("cuts a torn frame and anything that is no frame", async () => {
  const engine = await open();
  await engine.createTopic("t", 1);
  engine.append(0, text("one"), 0);
  engine.append(0, text("two"), 0);
  await engine.close();
  const whole = storage.readAll("/raw/raw.log").byteLength;
  for (const [cutTo, left] of [
    [whole - 1, ["one"]],
    [whole - 4, ["one"]],
    [11, ["one"]],
    [10, []],
    [3, []],
  ] as const) {
    storage.open("/raw/raw.log", "write").truncate(cutTo);
    const again = await open();
    expect(await read(again, 0)).toEqual(left);
    expect(again.recovery.truncatedBytes).toBe(cutTo - left.length * 11);
    await again.close();
  }
  storage.open("/raw/raw.log", "write").write(Uint8Array.of(9, 0, 0, 0, 1, 0, 0, 0), 0, 8, 0);
  const again = await open();
  expect(again.recovery.truncatedBytes).toBe(8);
  expect(await read(again, 0)).toEqual([]);
  await again.close();
});

it("says where it is when stored frames change under it", async () => {
  const engine = await open();
  await engine.createTopic("t", 1);
  engine.append(0, text("one"), 0);
  engine.append(0, text("two"), 0);
  await engine.flush();
  await read(engine, 0);
  storage.open("/raw/raw.log", "write").write(Uint8Array.of(7), 0, 1, 11);
  await expect(read(engine, 0)).rejects.toMatchObject({ file: "/raw/raw.log", positionBytes: 11 });
  await expect(read(engine, 0)).rejects.toThrow(CorruptDataError);
  await engine.close();
});

it("refuses keys, headers, too much at once, and a directory that is not its own", async () => {
  const engine = await open({ bufferMemoryBytes: 1_000 });
  await engine.createTopic("t", 1);
  const refused = [
    new Message(heap, Buffer.from("v"), Buffer.from("k")),
    new Message(heap, Buffer.from("v"), null, [{ key: "h", value: null }]),
    text("x".repeat(993)),
  ];
  for (const message of refused) expect(() => engine.append(0, message, 0)).toThrow(UnrepresentableError);
  engine.append(0, text("x".repeat(992)), 0);
  await engine.close();
  expect(engine.counters().appendedMessages).toBe(1);
  storage.open("/raw/diary.txt", "create").close();
  await expect(open()).rejects.toThrow(OpenError);
  await expect(open()).rejects.toThrow(/diary\.txt/);
  storage.remove("/raw/diary.txt");
  storage.replaceAll("/raw/topics.json", Buffer.from('[{"topic":1}]'));
  await expect(open()).rejects.toThrow(CorruptDataError);
  storage.replaceAll("/raw/topics.json", Buffer.from('[{"topic":"t","index":0}]'));
  await (await open()).close();
});
