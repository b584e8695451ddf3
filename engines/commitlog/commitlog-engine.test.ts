import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BLANK_SIZE_BYTES, decodeMessage, isBlank, javaStringHash } from "../codec/commitlog-message.js";
import { type EngineEvent, type Header, Message, type StorageEngine } from "../engine.js";
import { LogFailedError, UnrepresentableError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { decodeUnit } from "./consumequeue-unit.js";
import { commitlog } from "./index.js";

const ROOT = "/store";
const FILE_BYTES = 4_096;
/** Of a record of topic `t` besides its body. */
const FRAMING_BYTES = 91 + 1;

let storage: FaultyStorage;
let engine: StorageEngine;
let acknowledged: [partition: number, baseOffset: number, messageCount: number][];
let failures: [partition: number, messageCount: number, error: Error][];
let events: EngineEvent[];
let nowMs: number;

beforeEach(() => {
  storage = new FaultyStorage();
  storage.makeDirectory(ROOT);
  storage.syncDirectory("/");
  acknowledged = [];
  failures = [];
  events = [];
  nowMs = 1_700_000_000_000;
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
});

afterEach(async () => {
  await engine.close().catch(() => undefined);
  vi.restoreAllMocks();
});

describe("the log on disk", () => {
  it("holds each record where its file's name says, with RocketMQ's fields", async () => {
    await open();
    const [, second] = await engine.createTopic("TopicTest", 2);
    const headers: Header[] = [{ key: "TAGS", value: Buffer.from("delivered") }];
    engine.append(second!, new Message(heap, Buffer.from("Hello"), Buffer.from("parcel-8"), headers), 42);
    await engine.close();
    const file = storage.readAll(log(0));
    expect(file).toHaveLength(FILE_BYTES);
    const message = decodeMessage(file, 0, FILE_BYTES, 0, "f");
    expect(message).toMatchObject({
      ...{ topic: "TopicTest", queueId: 1, queueOffset: 0, physicalOffset: 0, flag: 0, sysFlag: 0 },
      ...{ bornTimestampMs: 42, storeTimestampMs: nowMs, reconsumeTimes: 0, preparedTransactionOffset: 0 },
      bornHost: { address: Uint8Array.of(127, 0, 0, 1), port: 0 },
      storeHost: { address: Uint8Array.of(127, 0, 0, 1), port: 10_911 },
    });
    expect(Buffer.from(message.properties).toString()).toBe("KEYS\u0001parcel-8\u0002TAGS\u0001delivered\u0002");
    const unit = { physicalOffset: -1, sizeBytes: -1, tagsCode: 0 };
    decodeUnit(viewOf(storage.readAll(`${ROOT}/consumequeue/TopicTest/1/00000000000000000000`)), 0, unit);
    expect(unit).toEqual({
      physicalOffset: 0,
      sizeBytes: 91 + "TopicTest".length + "Hello".length + 14 + 15,
      tagsCode: javaStringHash("delivered"),
    });
  });

  it("is what RocketMQ expects of a closed store: no abort, a checkpoint, a lock file, no unused files", async () => {
    await open();
    const [handle] = await engine.createTopic("t", 1);
    expect(Buffer.from(storage.readAll(`${ROOT}/abort`)).toString()).toBe(String(process.pid));
    appendBytes(handle!, FILE_BYTES / 2); // half a file: the next one is made
    engine.poll();
    expect(names("commitlog")).toEqual([name(0), name(FILE_BYTES)]);
    await engine.close();
    expect(names("commitlog")).toEqual([name(0)]);
    expect(names("")).toEqual(["checkpoint", "clean-shutdown.json", "commitlog", "consumequeue", "index", "lock"]);
    expect(Buffer.from(storage.readAll(`${ROOT}/lock`)).toString()).toBe("lock");
    const checkpoint = viewOf(storage.readAll(`${ROOT}/checkpoint`));
    expect(checkpoint.byteLength).toBe(4_096);
    expect([checkpoint.getBigInt64(0), checkpoint.getBigInt64(8)]).toEqual([BigInt(nowMs), BigInt(nowMs)]);
  });

  it("is empty when nothing was written", async () => {
    await open();
    await engine.close();
    expect(names("commitlog")).toEqual([]);
  });

  it.each([
    ["exactly fits", 0],
    ["misses by a byte", 1],
  ])("ends a file with a blank behind the last record, when the next one %s", async (_, excess) => {
    await open();
    const [handle] = await engine.createTopic("t", 1);
    appendBytes(handle!, 1_000);
    const left = FILE_BYTES - 1_000;
    appendBytes(handle!, left - BLANK_SIZE_BYTES + excess);
    appendBytes(handle!, 500);
    await engine.close();
    const files = [0, FILE_BYTES].map((base) => storage.readAll(log(base)));
    if (excess === 0) {
      expect(isBlank(files[0]!, FILE_BYTES - BLANK_SIZE_BYTES, BLANK_SIZE_BYTES)).toBe(true);
      expect(decodeMessage(files[1]!, 0, FILE_BYTES, FILE_BYTES, "f").queueOffset).toBe(2);
    } else {
      expect(isBlank(files[0]!, 1_000, left)).toBe(true);
      expect(decodeMessage(files[1]!, 0, FILE_BYTES, FILE_BYTES, "f").queueOffset).toBe(1);
    }
    await open();
    expect(engine.partitionInfo(0).endOffset).toBe(3);
    expect(await offsetsFrom(0)).toEqual([0, 1, 2]);
  });

  it("refuses what no file can hold", async () => {
    await open();
    const [handle] = await engine.createTopic("t", 1);
    appendBytes(handle!, FILE_BYTES - BLANK_SIZE_BYTES);
    expect(() => appendBytes(handle!, FILE_BYTES - BLANK_SIZE_BYTES + 1)).toThrow(UnrepresentableError);
    appendBytes(handle!, 100);
    await engine.flush();
    expect(await offsetsFrom(0)).toEqual([0, 1]);
  });

  it("does not split a record at a window's edge", async () => {
    await open({ segmentSizeBytes: 1 << 20, mapWindowBytes: 65_536 });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 800; i++) {
      appendBytes(handle!, 500 + ((i * 7) % 5_000));
      if (i % 50 === 0) engine.poll();
    }
    await engine.flush();
    expect(await offsetsFrom(0)).toHaveLength(800);
    await engine.close();
    await open({ segmentSizeBytes: 1 << 20, mapWindowBytes: 65_536 });
    expect(await offsetsFrom(0)).toHaveLength(800);
  });

  it("is given store times that never go back, though the clock does", async () => {
    await open();
    const [handle] = await engine.createTopic("t", 1);
    appendBytes(handle!, 200);
    nowMs -= 60_000;
    engine.poll();
    appendBytes(handle!, 200);
    await engine.close();
    const file = storage.readAll(log(0));
    expect(decodeMessage(file, 200, FILE_BYTES, 200, "f").storeTimestampMs).toBe(nowMs + 60_000);
  });
});

describe("batches", () => {
  it("go into the log in one piece, when full", async () => {
    await open({ batchSizeBytes: 1_000, lingerMs: 1_000 });
    const [a, b] = await engine.createTopic("t", 2);
    for (let i = 0; i < 4; i++) for (const handle of [a!, b!]) appendBytes(handle, 250);
    expect(acknowledged).toEqual([
      [a, 0, 4],
      [b, 0, 4],
    ]);
    expect(engine.counters()).toMatchObject({ batches: 2, appendedMessages: 8, acknowledgedMessages: 8 });
    await engine.close();
    const file = storage.readAll(log(0));
    const queueIds = [0, 250, 500, 750, 1_000].map((at) => decodeMessage(file, at, FILE_BYTES, at, "f").queueId);
    expect(queueIds).toEqual([0, 0, 0, 0, 1]);
  });

  it("wait for their linger, and no longer", async () => {
    await open({ batchSizeBytes: 1_000, lingerMs: 5 });
    const [handle] = await engine.createTopic("t", 1);
    appendBytes(handle!, 250);
    nowMs += 4;
    engine.poll();
    engine.poll();
    expect(acknowledged).toEqual([]);
    nowMs += 1;
    engine.poll();
    engine.poll();
    expect(acknowledged).toEqual([[handle, 0, 1]]);
  });

  it("are all or nothing in a file", async () => {
    await open({ batchSizeBytes: 1_500, lingerMs: 1_000 });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 9; i++) appendBytes(handle!, 500);
    await engine.close();
    expect(isBlank(storage.readAll(log(0)), 3_000, FILE_BYTES - 3_000)).toBe(true);
    await open();
    expect(await offsetsFrom(0)).toHaveLength(9);
  });

  it("let a larger message pass on its own, behind what waits", async () => {
    await open({ batchSizeBytes: 500, lingerMs: 1_000 });
    const [handle] = await engine.createTopic("t", 1);
    for (const sizeBytes of [200, 900, 200]) appendBytes(handle!, sizeBytes);
    expect(acknowledged).toEqual([
      [handle, 0, 1],
      [handle, 1, 1],
    ]);
    await engine.flush();
    expect(await offsetsFrom(0)).toEqual([0, 1, 2]);
  });

  it("carry a CRC property each, made when the position is known", async () => {
    await open({ batchSizeBytes: 1_000, lingerMs: 1_000, appendPropertyCrc: true });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 6; i++) appendBytes(handle!, 250);
    await engine.flush();
    expect(await offsetsFrom(0)).toHaveLength(6);
    await engine.close();
    const file = storage.readAll(log(0));
    for (let i = 0; i < 6; i++) expect(decodeMessage(file, i * 270, FILE_BYTES, i * 270, "f").queueOffset).toBe(i);
  });

  it("that cannot be written are lost, and their messages reported so", async () => {
    await open({ batchSizeBytes: 1_000, lingerMs: 1_000, preallocate: false });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 16; i++) appendBytes(handle!, 250);
    storage.fault = ({ operation }) => (operation === "open" ? "ENOSPC" : null);
    appendBytes(handle!, 250);
    await expect(engine.flush()).rejects.toThrow(LogFailedError);
    expect(failures.map(([partition, messageCount]) => [partition, messageCount])).toEqual([[handle, 1]]);
    expect(() => appendBytes(handle!, 250)).toThrow(LogFailedError);
  });
});

describe("flushing", () => {
  it("under sync hides what is not on the device", async () => {
    await open({ flush: "sync" });
    const [handle] = await engine.createTopic("t", 1);
    appendBytes(handle!, 200);
    expect(await engine.fetch(handle!, 0, 1_000, () => undefined)).toMatchObject({ messageCount: 0, nextOffset: 0 });
    await engine.flush();
    expect(await engine.fetch(handle!, 0, 1_000, () => undefined)).toMatchObject({ messageCount: 1, nextOffset: 1 });
  });

  it("under async shows what reput has got to, a millisecond later", async () => {
    await open();
    const [handle] = await engine.createTopic("t", 1);
    appendBytes(handle!, 200);
    engine.poll();
    expect(await offsetsFrom(0)).toEqual([]);
    nowMs += 1;
    for (let i = 0; i < 16; i++) engine.poll();
    expect(await offsetsFrom(0)).toEqual([0]);
  });

  it("syncs both files when it crossed from one to the next", async () => {
    await open({ flush: "sync" });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 3; i++) appendBytes(handle!, 2_000);
    const { syncCalls } = engine.counters();
    await engine.flush();
    expect(engine.counters().syncCalls - syncCalls).toBe(2);
    const image = storage.powerCut(7);
    await engine.close();
    storage = image;
    await open();
    expect(await offsetsFrom(0)).toEqual([0, 1, 2]);
  });

  it("under async follows RocketMQ's intervals in the background", async () => {
    await open({ flushIntervalMs: 500, flushLeastPages: 1, flushThoroughIntervalMs: 2_000, segmentSizeBytes: 1 << 20 });
    const [handle] = await engine.createTopic("t", 1);
    const syncs = () => events.filter(({ kind }) => kind === "sync").length;
    const pass = async (ms: number) => {
      nowMs += ms;
      engine.poll();
      engine.poll();
      await new Promise((resolve) => setTimeout(resolve, 5));
    };
    appendBytes(handle!, 200);
    await pass(499);
    await pass(1);
    expect(syncs()).toBe(0); // no whole page is dirty
    appendBytes(handle!, 5_000);
    await pass(500);
    expect(syncs()).toBe(1);
    appendBytes(handle!, 200);
    await pass(500);
    expect(syncs()).toBe(1);
    await pass(500);
    expect(syncs()).toBe(2); // thorough: whatever is dirty
    await pass(2_000);
    expect(syncs()).toBe(2); // nothing is
  });
});

describe("consumequeues", () => {
  it("are written together, a second later, and synced when enough pages are dirty", async () => {
    await open({ segmentSizeBytes: 1 << 20, consumequeueFlushLeastPages: 0 });
    const handles = await engine.createTopic("t", 40);
    for (const handle of handles) appendBytes(handle, 200);
    nowMs += 1;
    engine.poll();
    engine.poll();
    expect(engine.counters()).toMatchObject({ indexEntries: 40, indexBytes: 0 });
    nowMs += 1_000;
    for (let i = 0; i < 10; i++) engine.poll();
    expect(engine.counters().indexBytes).toBe(40 * 20);
    for (const handle of handles) appendBytes(handle, 200);
    await engine.flush();
    for (const handle of handles) expect(await offsetsFrom(handle)).toEqual([0, 1]);
  });

  it("move the checkpoint only when a thorough flush has brought them to the device", async () => {
    await open({ consumequeueFlushThoroughIntervalMs: 3_000 });
    const [handle] = await engine.createTopic("t", 1);
    const startMs = nowMs;
    appendBytes(handle!, 200);
    const pollFor = async (ms: number) => {
      nowMs += ms;
      for (let i = 0; i < 3; i++) {
        engine.poll();
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    const logicsMs = async () => {
      await pollFor(1_000);
      return Number(viewOf(storage.readAll(`${ROOT}/checkpoint`)).getBigInt64(8));
    };
    expect(await logicsMs()).toBe(0);
    await pollFor(1_000);
    expect(await logicsMs()).toBe(0);
    expect(await logicsMs()).toBe(startMs);
  });

  it("grow over many files and are read across their edges", async () => {
    await open({ consumequeueFileSizeBytes: 200, segmentSizeBytes: 1 << 20 });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 995; i++) appendBytes(handle!, 200);
    await engine.flush();
    expect(await offsetsFrom(0)).toHaveLength(995);
    await engine.close();
    expect(names("consumequeue/t/0")).toHaveLength(100);
    await open({ consumequeueFileSizeBytes: 200, segmentSizeBytes: 1 << 20 });
    expect(await offsetsFrom(0)).toHaveLength(995);
  });
});

async function open(settings: Record<string, unknown> = {}): Promise<void> {
  engine = await commitlog.open({
    directory: ROOT,
    storage,
    heap,
    settings: { segmentSizeBytes: FILE_BYTES, ...settings },
    listener: {
      acknowledged: (...acknowledgement) => acknowledged.push(acknowledgement),
      failed: (...failure) => failures.push(failure),
      event: (event) => events.push(event),
    },
  });
}

/** Appends a message whose record takes `recordBytes`, CRC property not counted. */
function appendBytes(handle: number, recordBytes: number): void {
  const value = new Uint8Array(recordBytes - FRAMING_BYTES).fill(recordBytes);
  expect(engine.append(handle, new Message(heap, value), 1)).toBe(true);
}

/** Offsets of the messages that can be read by now. */
async function offsetsFrom(handle: number): Promise<number[]> {
  const offsets: number[] = [];
  for (let next = 0; ; ) {
    const outcome = await engine.fetch(handle, next, 10_000, ({ offset }) => offsets.push(offset));
    if (outcome.messageCount === 0) return offsets;
    next = outcome.nextOffset;
  }
}

function name(baseOffset: number): string {
  return String(baseOffset).padStart(20, "0");
}

function log(baseOffset: number): string {
  return `${ROOT}/commitlog/${name(baseOffset)}`;
}

function names(directory: string): string[] {
  return storage.list(directory === "" ? ROOT : `${ROOT}/${directory}`).map(({ name }) => name);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
