import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type EngineEvent, Message, type PartitionHandle, type StorageEngine } from "../engine.js";
import { OffsetOutOfRangeError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage, type StorageCall } from "../storage/faulty-storage.js";
import { seededRandom } from "../storage/seeded-random.js";
import { SimulatedClock } from "../torture/simulated-clock.js";
import { partitionedLog } from "./index.js";
import { DIRECTORY, expected, fileNames, payload, read, readAll, START_MS } from "./testing.js";

/** Four messages of 100 bytes make a batch, four batches a segment: a new one begins every 16 messages. */
const SMALL = { segmentSizeBytes: 2_048, indexIntervalBytes: 300, retentionCheckMs: 1_000, fileDeleteDelayMs: 5_000 };
const HOUR_MS = 3_600_000;
const LOG_START = `${DIRECTORY}/log-start-offset-checkpoint`;

let clock: SimulatedClock;
let storage: FaultyStorage;
let engine: StorageEngine;
let partition: PartitionHandle;
let events: EngineEvent[];
let failures: Error[];

beforeEach(() => {
  clock = new SimulatedClock();
  storage = new FaultyStorage();
});
afterEach(async () => {
  storage.fault = () => null;
  await engine.close();
  clock.dispose();
});

async function open(settings: Record<string, unknown>): Promise<void> {
  events = [];
  failures = [];
  const listener = {
    acknowledged: () => {},
    failed: (_: PartitionHandle, __: number, error: Error) => failures.push(error),
    event: (event: EngineEvent) => events.push(event),
  };
  engine = await partitionedLog.open({
    directory: DIRECTORY,
    storage,
    heap,
    settings: { ...SMALL, ...settings },
    listener,
  });
  [partition] = (await engine.createTopic("t", 1)) as [PartitionHandle];
}

/** Message `i` has the time `START_MS + timeOf(i)`. */
function append(from: number, to: number, timeOf: (i: number) => number = (i) => i): void {
  for (let i = from; i < to; i++) {
    engine.append(partition, new Message(heap, payload(i)), START_MS + timeOf(i));
    if ((i + 1) % 4 === 0) engine.poll();
  }
  engine.poll();
}

/** Lets time pass and everything that is due then happen. */
async function pass(ms: number): Promise<void> {
  clock.nowMs += ms;
  for (let i = 0; i < 2_000; i++) {
    engine.poll();
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

const startOffset = () => engine.partitionInfo(partition).startOffset;
const logs = () => fileNames(storage).filter((name) => name.endsWith(".log"));
const deleted = () => fileNames(storage).filter((name) => name.endsWith(".deleted"));
const firstOf = (name: string) => Number(name.slice(0, 20));

describe("retention", () => {
  it("by time drops the oldest segments while their youngest message is too old", async () => {
    await open({ retentionMs: HOUR_MS });
    append(0, 100, (i) => i * 60_000); // a segment covers 16 minutes
    await pass(HOUR_MS + 15 * 60_000 - 60_000);
    expect(startOffset()).toBe(0); // message 15 is an hour old, not older
    await pass(60_001);
    expect(startOffset()).toBe(16);
    expect(logs().map(firstOf)).toEqual([16, 32, 48, 64, 80, 96]);
    await pass(16 * 60_000);
    expect(startOffset()).toBe(32);
    expect(await readAll(engine, partition)).toEqual(expected(32, 100));
  });

  it("by time stops at the first segment that has a young message, wherever it is", async () => {
    await open({ retentionMs: HOUR_MS });
    append(0, 100, (i) => (i === 37 ? 10 * HOUR_MS : 0));
    await pass(2 * HOUR_MS);
    expect(startOffset()).toBe(32);
    await pass(10 * HOUR_MS);
    expect(startOffset()).toBe(100);
  });

  it("by time goes by when the file was written where no message has a time", async () => {
    await open({ retentionMs: HOUR_MS });
    append(0, 40, (i) => (i < 32 ? 0 : 100 * HOUR_MS));
    await engine.close();
    for (const name of fileNames(storage)) {
      if (name.endsWith(".timeindex") && firstOf(name) < 32) storage.remove(`${DIRECTORY}/t-0/${name}`);
    }
    clock.nowMs += HOUR_MS / 2;
    await open({ retentionMs: HOUR_MS });
    await pass(HOUR_MS / 2 - 5_000);
    expect(startOffset()).toBe(0);
    await pass(10_000);
    expect(startOffset()).toBe(32);
  });

  it("by size drops the oldest segments while the others hold enough", async () => {
    await open({ retentionMs: -1, retentionBytes: 5_000 });
    append(0, 20);
    await pass(40_000);
    expect(startOffset()).toBe(0);
    append(20, 200);
    const sizes = logs().map((name) => storage.readAll(`${DIRECTORY}/t-0/${name}`).byteLength);
    let left = sizes.reduce((sum, size) => sum + size, 0);
    let dropped = 0;
    while (left - sizes[dropped]! >= 5_000) left -= sizes[dropped++]!;
    await pass(2_000);
    expect(startOffset()).toBe(16 * dropped);
    expect(logs()).toHaveLength(sizes.length - dropped);
    expect(left).toBeGreaterThanOrEqual(5_000);
    expect(await readAll(engine, partition)).toEqual(expected(16 * dropped, 200));
  });

  it("keeps everything when both limits are off", async () => {
    await open({ retentionMs: -1, retentionBytes: -1 });
    append(0, 100);
    await pass(1_000 * 24 * HOUR_MS);
    expect(startOffset()).toBe(0);
    expect(fileNames(storage).length).toBeGreaterThan(10);
  });

  it("lets an active segment that is too old end, and begins another; an empty one stays", async () => {
    await open({ retentionMs: HOUR_MS });
    append(0, 10);
    await pass(2 * HOUR_MS);
    expect(startOffset()).toBe(10);
    expect(logs().map(firstOf)).toEqual([10]);
    expect(await readAll(engine, partition)).toEqual([]);
    await pass(100 * HOUR_MS);
    expect(logs().map(firstOf)).toEqual([10]);
    append(10, 30, () => 200 * HOUR_MS);
    expect(await readAll(engine, partition)).toEqual(expected(10, 30));
    await engine.close();
    await open({ retentionMs: HOUR_MS });
    expect(engine.recovery.repairs).toEqual([]);
    expect(startOffset()).toBe(10);
    expect(await readAll(engine, partition)).toEqual(expected(10, 30));
  });

  it("drops what a checkpointed start offset has left behind, without a limit", async () => {
    await open({ retentionMs: -1 });
    append(0, 60);
    await engine.close();
    storage.replaceAll(LOG_START, Buffer.from("0\n1\nt 0 35\n"));
    await open({ retentionMs: -1 });
    await pass(40_000);
    expect(startOffset()).toBe(35);
    expect(logs().map(firstOf)).toEqual([32, 48]);
  });

  it("makes the start offset durable before a file goes, and one segment a poll at most", async () => {
    await open({ retentionMs: HOUR_MS });
    append(0, 100);
    let renamedInThisPoll = 0;
    let mostInAPoll = 0;
    storage.fault = ({ operation, path }: StorageCall) => {
      if (operation === "rename" && path.endsWith(".log")) {
        mostInAPoll = Math.max(mostInAPoll, ++renamedInThisPoll);
        const base = firstOf(path.slice(path.lastIndexOf("/") + 1));
        for (let seed = 0; seed < 5; seed++) {
          const start = Number(/t 0 (\d+)/.exec(read(storage.powerCut(seed), LOG_START).toString())![1]);
          expect(start).toBeGreaterThan(base);
        }
      }
      return null;
    };
    clock.nowMs += 2 * HOUR_MS;
    for (let i = 0; i < 2_000; i++) {
      renamedInThisPoll = 0;
      engine.poll();
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(startOffset()).toBe(100);
    expect(mostInAPoll).toBe(1);
  });

  it("removes the files later, tells of it, and leaves none when it is closed", async () => {
    await open({ retentionMs: HOUR_MS });
    append(0, 40);
    await pass(2 * HOUR_MS);
    expect(deleted()).toHaveLength(9);
    const renames = events.filter(({ kind }) => kind === "retention-delete").map(({ detail }) => detail);
    expect(renames).toEqual([0, 16, 32].map((base) => `${DIRECTORY}/t-0/${String(base).padStart(20, "0")}.log`));
    await pass(4_000);
    expect(deleted()).toHaveLength(9);
    await pass(1_000);
    expect(deleted()).toEqual([]);
    expect(events.filter(({ kind }) => kind === "retention-delete")).toHaveLength(3 + 9);
    append(40, 60, () => 3 * HOUR_MS);
    await pass(10 * HOUR_MS);
    expect(deleted().length).toBeGreaterThan(0);
    await engine.close();
    expect(deleted()).toEqual([]);
  });

  it("refuses a reader what is gone and lets it go on with what is there", async () => {
    await open({ retentionMs: HOUR_MS });
    append(0, 100, (i) => (i < 50 ? 0 : 10 * HOUR_MS));
    const first = await engine.fetch(partition, 10, 500, () => {});
    await pass(2 * HOUR_MS);
    expect(startOffset()).toBe(48);
    await expect(engine.fetch(partition, first.nextOffset, 500, () => {})).rejects.toThrow(OffsetOutOfRangeError);
    expect(await readAll(engine, partition, 48)).toEqual(expected(48, 100));
    expect(await engine.offsetForTimestamp!(partition, 0)).toBe(48);
  });

  it("works beside appends, which lose nothing", async () => {
    await open({ retentionMs: -1, retentionBytes: 4_000, flush: "sync" });
    for (let i = 0; i < 2_000; i += 20) {
      append(i, i + 20);
      clock.nowMs += 400;
      for (let poll = 0; poll < 300; poll++) engine.poll();
      await new Promise((resolve) => setImmediate(resolve));
      const { startOffset: start } = engine.partitionInfo(partition);
      expect(await readAll(engine, partition, start)).toEqual(expected(start, i + 20));
    }
    expect(startOffset()).toBeGreaterThan(1_500);
    await engine.flush();
    expect(failures).toEqual([]);
    expect(engine.counters().acknowledgedMessages).toBe(2_000);
  });

  it.each(["rename", "remove", "sync", "open"] as const)("tries again when a %s has failed", async (operation) => {
    await open({ retentionMs: HOUR_MS });
    append(0, 40, (i) => (i < 32 ? 0 : 100 * HOUR_MS));
    await engine.flush();
    let failed = 0;
    storage.fault = (call) => {
      if (call.operation !== operation || failed >= 3) return null;
      failed++;
      return "EIO";
    };
    await pass(2 * HOUR_MS);
    for (let i = 0; i < 5; i++) await pass(6_000);
    expect(failed).toBe(3);
    expect(startOffset()).toBe(32);
    append(40, 44, () => 100 * HOUR_MS);
    expect(await readAll(engine, partition)).toEqual(expected(32, 44));
    expect(failures).toEqual([]);
    await engine.close();
    await open({ retentionMs: HOUR_MS });
    expect(await readAll(engine, partition)).toEqual(expected(32, 44));
    expect(logs().map(firstOf)).toEqual([32]);
  });

  it("survives a power cut at any moment: what was synced and kept is there, and nothing that was dropped", async () => {
    for (let seed = 0; seed < 150; seed++) {
      const random = seededRandom(seed);
      storage = new FaultyStorage();
      storage.makeDirectory(DIRECTORY);
      storage.syncDirectory("/");
      await open({ retentionMs: HOUR_MS, flush: "sync" });
      let acknowledged = 0;
      let droppedTo = 0;
      let cut: FaultyStorage | null = null;
      let callsLeft = 60 + Math.floor(random() * 400);
      storage.fault = ({ operation, path }) => {
        if (cut === null && --callsLeft === 0) {
          cut = storage.powerCut(seed);
          acknowledged = engine.counters().acknowledgedMessages;
        }
        const base = /(\d{20})\.log$/.exec(path)?.[1];
        if (cut === null && operation === "rename" && base !== undefined) droppedTo = Number(base) + 1;
        return null;
      };
      let appended = 0;
      while (cut === null) {
        const count = 4 + Math.floor(random() * 30);
        append(appended, appended + count, () => clock.nowMs);
        appended += count;
        clock.nowMs += random() * HOUR_MS;
        for (let poll = 0; poll < 40 && cut === null; poll++) {
          engine.poll();
          clock.nowMs += 100;
          if (poll % 4 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
      }
      storage.fault = () => null;
      await engine.close();
      storage = cut;
      await open({ retentionMs: -1, flush: "sync" });
      const { startOffset: start, endOffset: end } = engine.partitionInfo(partition);
      const found = await readAll(engine, partition);
      expect({ seed, found }).toEqual({ seed, found: expected(start, end) });
      expect({ seed, start: Math.max(start, droppedTo) }).toEqual({ seed, start });
      expect({ seed, end: Math.max(end, acknowledged) }).toEqual({ seed, end });
      append(end, end + 5);
      await engine.flush();
      expect(await readAll(engine, partition)).toEqual(expected(start, end + 5));
      if (seed < 149) await engine.close();
    }
  });
});
