import { afterEach, expect, test, vi } from "vitest";
import { OpenError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { RECOVERY_POINT_CHECKPOINT } from "./names.js";
import { appendBatches, DIRECTORY, expected, message, type Opened, open, read, readAll, START_MS } from "./testing.js";

let opened: Opened | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  await opened?.engine.close();
  opened = undefined;
});

const CHECKPOINT = `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`;
/** The engine's directory is its user's to make, and to make durable. */
function storageWithDirectory(): FaultyStorage {
  const storage = new FaultyStorage();
  storage.makeDirectory(DIRECTORY);
  storage.syncDirectory("/");
  return storage;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("more partitions than the process may have files are refused before one is made, with the limit named", async () => {
  const storage = new FaultyStorage();
  storage.fileLimit = 1_024;
  opened = await open(storage);
  await expect(opened.engine.createTopic("t", 1_000)).rejects.toThrow(OpenError);
  await expect(opened.engine.createTopic("t", 1_000)).rejects.toThrow(
    /1000 partitions need \d+ open files.* 1024\. Raise/,
  );
  expect(storage.list(DIRECTORY).filter(({ kind }) => kind === "directory")).toEqual([]);
  await opened.engine.createTopic("t", 600);
  await opened.engine.close();
  storage.fileLimit = 512;
  await expect(open(storage)).rejects.toThrow(/600 partitions need/);
  storage.fileLimit = 1_024;
  opened = await open(storage);
});

test("recovery points are checkpointed once a minute, from poll, when a sync has moved one", async () => {
  let nowMs = 1_000;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  const storage = new FaultyStorage();
  opened = await open(storage, { flush: "sync" });
  const { engine } = opened;
  await engine.createTopic("t", 1);
  const settle = async () => {
    for (let i = 0; i < 20; i++) {
      engine.poll();
      await turn();
    }
  };
  appendBatches(engine, 0, [0, 8]);
  await settle();
  expect(opened.acknowledged).not.toEqual([]);
  expect(storage.exists(CHECKPOINT)).toBe(false);
  nowMs += 60_000;
  await settle();
  expect(read(storage, CHECKPOINT).toString()).toBe("0\n1\nt 0 8\n");
  nowMs += 60_000;
  const { syncCalls } = storage.counters;
  await settle();
  expect(storage.counters.syncCalls).toBe(syncCalls);
});

test("a rolled segment is synced in the background and moves the recovery point", async () => {
  const storage = storageWithDirectory();
  opened = await open(storage, { segmentSizeBytes: 3 * 497 });
  const { engine } = opened;
  await engine.createTopic("t", 1);
  appendBatches(engine, 0, [0, 32]);
  for (let i = 0; i < 20; i++) await turn();
  // The power goes, with nothing ever flushed: the two ended segments are on the device.
  for (let seed = 0; seed < 20; seed++) {
    const image = storage.powerCut(seed);
    const after = await open(image);
    expect((await readAll(after.engine, 0)).slice(0, 24)).toEqual(expected(0, 24));
    await after.engine.close();
  }
});

test.each([
  ["the next segment cannot be made", "open", ".log"],
  ["its blocks cannot be reserved", "allocate", ".log"],
  ["the ended one's index cannot be written", "write", ".index"],
  ["the ended one cannot be cut to its size", "truncate", ".log"],
] as const)("what was written stays readable when a roll fails because %s", async (_, operation, suffix) => {
  const storage = storageWithDirectory();
  opened = await open(storage, { segmentSizeBytes: 2_000, preallocate: true, indexIntervalBytes: 0 });
  const { engine } = opened;
  await engine.createTopic("t", 1);
  appendBatches(engine, 0, [0, 12]);
  await engine.flush();
  storage.fault = (call) => (call.operation === operation && call.path.endsWith(suffix) ? "ENOSPC" : null);
  for (let i = 12; i < 60 && opened.failed.length === 0; i += 4) appendBatches(engine, 0, [i, i + 4]);
  expect(opened.failed[0]!.error.message).toContain("ENOSPC");
  const { endOffset } = engine.partitionInfo(0);
  expect(endOffset).toBeGreaterThanOrEqual(12);
  expect(await readAll(engine, 0)).toEqual(expected(0, endOffset));
  expect(await engine.offsetForTimestamp!(0, START_MS + 5)).toBe(5);
  storage.fault = () => null;
  await engine.close();
  opened = await open(storage, { segmentSizeBytes: 2_000 });
  expect((await readAll(opened.engine, 0)).slice(0, endOffset)).toEqual(expected(0, endOffset));
});

test("polling visits only the logs that have something to commit", async () => {
  const storage = new FaultyStorage();
  opened = await open(storage, { flush: "sync" });
  const { engine } = opened;
  await engine.createTopic("t", 50);
  let syncs = 0;
  storage.fault = ({ operation, path }) => {
    if (operation === "sync" && path.endsWith(".log")) syncs++;
    return null;
  };
  for (let i = 0; i < 3; i++) engine.append(7, message(i), START_MS);
  for (let i = 0; i < 20; i++) {
    engine.poll();
    await turn();
  }
  expect(opened.acknowledged).toEqual([{ partition: 7, baseOffset: 0, messageCount: 3 }]);
  expect(syncs).toBe(1);
});

test("what a killed process left unsynced, a flush makes durable", async () => {
  const storage = storageWithDirectory();
  opened = await open(storage);
  await opened.engine.createTopic("t", 1);
  appendBatches(opened.engine, 0, [0, 32]);
  const killed = storage.kill();
  const again = await open(killed);
  await again.engine.flush();
  for (let seed = 0; seed < 20; seed++) {
    const after = await open(killed.powerCut(seed));
    expect(await readAll(after.engine, 0)).toEqual(expected(0, 32));
    await after.engine.close();
  }
  await again.engine.close();
});

test("a refused opening gives back the heap, the lock and the files", async () => {
  const storage = new FaultyStorage();
  opened = await open(storage);
  await opened.engine.createTopic("t", 3);
  await opened.engine.close();
  storage.makeDirectory(`${DIRECTORY}/zzz`);
  const probe = () => {
    const address = heap.allocate(1_024);
    heap.release(address);
    return address;
  };
  const free = probe();
  for (let i = 0; i < 3; i++) await expect(open(storage)).rejects.toThrow(OpenError);
  expect(probe()).toBe(free);
  storage.removeDirectory(`${DIRECTORY}/zzz`);
  opened = await open(storage);
});

test("a topic grows, and its partitions keep their handles", async () => {
  const storage = new FaultyStorage();
  opened = await open(storage);
  const { engine } = opened;
  expect(await engine.createTopic("a", 2)).toEqual([0, 1]);
  expect(await engine.createTopic("b", 1)).toEqual([2]);
  expect(await engine.createTopic("a", 4)).toEqual([0, 1, 3, 4]);
  expect(await engine.createTopic("a", 3)).toEqual([0, 1, 3]);
});
