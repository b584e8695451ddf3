import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Message, type StorageEngine } from "../engine.js";
import { ClosedError, CorruptDataError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { commitlog } from "./index.js";

const ROOT = "/store";
/** Where a record of topic `t` without key begins its body. */
const BODY_AT = 88;
const SETTINGS = { segmentSizeBytes: 4_096, consumequeueFileSizeBytes: 400 };

let storage: FaultyStorage;
let engine: StorageEngine;
let nowMs: number;

beforeEach(() => {
  storage = new FaultyStorage();
  nowMs = 1_700_000_000_000;
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
});

afterEach(async () => {
  await engine.close();
  vi.restoreAllMocks();
});

describe("a fetch by tags", () => {
  it("reads nothing of the log for messages whose tags have another hash", async () => {
    await open();
    for (let i = 0; i < 300; i++) append(i % 100 === 99 ? "rare" : "common");
    await engine.flush();
    await close();
    await open();
    const readBefore = engine.counters().readBytes;
    const outcome = await fetchTagged(0, ["rare"]);
    expect(outcome).toMatchObject({ nextOffset: 300, messageCount: 3, offsets: [99, 199, 299] });
    // Three records, and 300 units of 20 bytes.
    expect(engine.counters().readBytes - readBefore).toBeLessThan(300 * 20 + 3 * 200);
    expect(await fetchTagged(0, ["none"])).toMatchObject({ nextOffset: 300, messageCount: 0, sizeBytes: 0 });
  });

  it("looks at 800 messages at most, as RocketMQ, and gets on", async () => {
    await open({ segmentSizeBytes: 1 << 20 });
    for (let i = 0; i < 2_000; i++) append(i === 1_999 ? "rare" : "common");
    await engine.flush();
    expect((await fetchTagged(0, ["rare"])).nextOffset).toBe(800);
    expect((await fetchTagged(800, ["rare"])).nextOffset).toBe(1_600);
    expect(await fetchTagged(1_600, ["rare"])).toMatchObject({ nextOffset: 2_000, offsets: [1_999] });
  });

  it("compares the tags themselves where hashes collide, and counts what it read for it", async () => {
    await open();
    for (const tag of ["Aa", "BB", "AaAa", "BBBB", "AaBB"]) append(tag);
    await engine.flush();
    const outcome = await fetchTagged(0, ["BB", "AaBB"]);
    expect(outcome.offsets).toEqual([1, 4]);
    expect(outcome.sizeBytes).toBeGreaterThan(4 * 100);
    expect((await fetchTagged(0, ["Aa"])).offsets).toEqual([0]);
  });

  it("does not pass over a message that damage has swallowed, whose tags nobody knows", async () => {
    await open();
    for (let i = 0; i < 30; i++) append("common");
    await close();
    for (let i = 0; i < 3; i++) spoilCommitlog(recordAt(10 + 5 * i) + BODY_AT);
    storage.remove(`${ROOT}/clean-shutdown.json`);
    await open();
    expect(engine.recovery.repairs.join()).toContain("reading them is refused");
    await expect(fetchTagged(0, ["rare"])).rejects.toThrow(CorruptDataError);
  });
});

describe("a fetch", () => {
  it.each([
    { others: 7, apart: "less than a page", together: true },
    { others: 40, apart: "several pages", together: false },
  ])("reads records of a queue that lie $apart apart together: $together", async ({ others, together }) => {
    const settings = { segmentSizeBytes: 1 << 20, warmUp: "none" };
    await open(settings);
    const [other] = await engine.createTopic("other", 1);
    const value = new Message(heap, new Uint8Array(300));
    for (let round = 0; round < 120; round++) {
      append("tag");
      for (let i = 0; i < others; i++) engine.append(other!, value, 1);
      engine.poll();
    }
    // The last file stays mapped, so what is read from files lies before it.
    for (let i = 0; i < 3_000; i++) engine.append(other!, value, 1);
    await engine.flush();
    await close();
    await open(settings);
    const [handle] = await engine.createTopic("t", 1);
    const { readCalls } = engine.counters();
    let visited = 0;
    await engine.fetch(handle!, 0, 1 << 30, () => visited++);
    expect(visited).toBe(120);
    const calls = engine.counters().readCalls - readCalls;
    if (together) expect(calls).toBeLessThan(30);
    else expect(calls).toBeGreaterThan(50);
  });
});

describe("an offset by store time", () => {
  it("is that of the first message stored then or later, the first of those with one time", async () => {
    await open();
    const timesMs: number[] = [];
    for (let i = 0; i < 200; i++) {
      if (i % 7 === 0) tick(1 + (i % 3));
      timesMs.push(nowMs);
      append("t");
    }
    await engine.flush();
    const first = timesMs[0]!;
    for (let timeMs = first - 2; timeMs <= timesMs.at(-1)! + 2; timeMs++) {
      const wanted = timesMs.findIndex((each) => each >= timeMs);
      expect(await engine.offsetForTimestamp!(0, timeMs)).toBe(wanted < 0 ? 200 : wanted);
    }
    await close();
    await open();
    expect(await engine.offsetForTimestamp!(0, first + 20)).toBe(timesMs.findIndex((each) => each >= first + 20));
  });

  it("is the end of what is visible when all are older, not of what is hidden", async () => {
    await open({ flush: "sync" });
    append("t");
    await engine.flush();
    append("t");
    expect(await engine.offsetForTimestamp!(0, nowMs + 1)).toBe(1);
    expect(engine.partitionInfo(0).endOffset).toBe(2);
  });

  it("is found among damaged messages", async () => {
    await open();
    const timesMs: number[] = [];
    for (let i = 0; i < 60; i++) {
      tick(10);
      timesMs.push(nowMs);
      append("t");
    }
    await close();
    for (const offset of [5, 20, 21, 22, 45]) spoilCommitlog(recordAt(offset) + BODY_AT);
    storage.remove(`${ROOT}/clean-shutdown.json`);
    await open();
    for (const [offset, timeMs] of timesMs.entries()) {
      const found = await engine.offsetForTimestamp!(0, timeMs);
      // A damaged message just before has no time to be known by.
      expect(found).toBeLessThanOrEqual(offset);
      const isSound = (each: number) =>
        engine
          .fetch(0, each, 1, () => {})
          .then(
            () => true,
            () => false,
          );
      for (let before = found; before < offset; before++) expect(await isSound(before)).toBe(false);
    }
  });

  it("is refused when the engine is closed", async () => {
    await open();
    await engine.close();
    await expect(engine.offsetForTimestamp!(0, 0)).rejects.toThrow(ClosedError);
  });
});

async function open(settings: Record<string, unknown> = {}): Promise<void> {
  engine = await commitlog.open({
    directory: ROOT,
    storage,
    heap,
    settings: { ...SETTINGS, ...settings },
    listener: { acknowledged() {}, failed() {} },
  });
  await engine.createTopic("t", 1);
}

async function close(): Promise<void> {
  await engine.close();
}

function append(tag: string): void {
  const message = new Message(heap, Buffer.from("value"), null, [{ key: "TAGS", value: Buffer.from(tag) }]);
  expect(engine.append(0, message, 1)).toBe(true);
}

/** Lets time pass, and the engine see it. */
function tick(ms: number): void {
  nowMs += ms;
  engine.poll(); // idle or not, the clock is read at the second poll at the latest
  engine.poll();
}

async function fetchTagged(fromOffset: number, tags: readonly string[]) {
  const offsets: number[] = [];
  const outcome = await engine.fetch(0, fromOffset, 1 << 20, ({ offset }) => offsets.push(offset), { tags });
  return { ...outcome, offsets };
}

/** Where the log has that message of the queue. */
function recordAt(offset: number): number {
  const name = String(Math.floor(offset / 20) * 400).padStart(20, "0");
  const file = storage.readAll(`${ROOT}/consumequeue/t/0/${name}`);
  return Number(new DataView(file.buffer, file.byteOffset).getBigInt64((offset % 20) * 20));
}

/** Flips a bit at that byte of the log. */
function spoilCommitlog(position: number): void {
  const name = String(position - (position % 4_096)).padStart(20, "0");
  const file = storage.open(`${ROOT}/commitlog/${name}`, "write");
  const byte = new Uint8Array(1);
  file.read(byte, 0, 1, position % 4_096);
  byte[0]! ^= 0x10;
  file.write(byte, 0, 1, position % 4_096);
  file.close();
}
