import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Message, type StorageEngine } from "../engine.js";
import { LogFailedError } from "../errors.js";
import { heap } from "../heap.js";
import { DiskStorage } from "../storage/disk-storage.js";
import type { Storage } from "../storage/storage.js";
import { type Told, valueAt } from "./appending-thread.js";
import type { MidwayThreadData } from "./midway-thread.js";
import { driven, ENGINES, type Opened, open, PARTITIONS, readAll, startWriter, temporaryDirectory } from "./testing.js";

/** What a disk does wrong from when it is told to on. */
class SpoiltDisk {
  /** An error code with which syncs fail. */
  syncError: string | null = null;
  /** An error code with which files cannot be made. */
  createError: string | null = null;
  /** What writers are given for the descriptor of a log, instead of its own. */
  descriptor: number | null = null;
  readonly storage = this.#spoil<Storage>(new DiskStorage());

  #spoil<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, name) => {
        const member = Reflect.get(object, name) as unknown;
        if (name === "descriptor" && this.descriptor !== null) return this.descriptor;
        if (typeof member !== "function") return member;
        return (...parameters: unknown[]) => {
          if (name === "open" && parameters[1] === "create") throwIf(this.createError, String(parameters[0]));
          if (name === "sync" && this.syncError !== null) return Promise.reject(systemError(this.syncError, "sync"));
          const result = member.apply(object, parameters) as unknown;
          return name === "open" || name === "map" ? this.#spoil(result as object) : result;
        };
      },
    });
  }
}

function throwIf(code: string | null, what: string): void {
  if (code !== null) throw systemError(code, what);
}

function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: no such luck, ${what}`), { code });
}

function acknowledgedCount(told: Told): number {
  return Object.values(told.acknowledged)
    .flat()
    .reduce((sum, [, messageCount]) => sum + messageCount, 0);
}

function appendedCount(told: Told): number {
  return Object.values(told.appended).reduce((sum, count) => sum + count, 0);
}

/** Waits for the writers while the owner polls. @returns what each heard; each has been told of the failure, and what became of each message */
async function failedWriters(engine: StorageEngine, writers: readonly { told: Promise<Told> }[]): Promise<Told[]> {
  const tolds = await driven(engine, Promise.all(writers.map(({ told }) => told)));
  for (const told of tolds) {
    expect(told.error).not.toBe("");
    // The append that threw may have been counted as lost with its batch, before it was as appended.
    expect(acknowledgedCount(told) + told.failedCount - appendedCount(told)).toBeGreaterThanOrEqual(0);
    expect(acknowledgedCount(told) + told.failedCount - appendedCount(told)).toBeLessThanOrEqual(1);
  }
  return tolds;
}

/** Closes what has failed, and opens it again on a sound disk: every acknowledged message is where it was said to be. */
async function expectAcknowledgedKept(name: string, directory: string, engine: StorageEngine, tolds: Told[]) {
  await engine.close();
  const reopened = await open(name, directory);
  expect(reopened.engine.recovery.wasCleanShutdown).toBe(false);
  for (const partition of reopened.partitions) {
    const values = await readAll(reopened.engine, partition);
    for (const [writer, told] of tolds.entries()) {
      let i = 0;
      for (const [baseOffset, messageCount] of told.acknowledged[partition] ?? []) {
        for (let at = 0; at < messageCount; at++)
          expect(values[baseOffset + at]).toBe(valueAt(`w${writer}`, i++).toString());
      }
    }
  }
  await reopened.engine.close();
}

/** Whether the log of that partition fails a message, at once or when it is written. */
function hasFailed({ engine, told }: Opened, partition: number): boolean {
  const before = told.failedCount;
  try {
    engine.append(partition, new Message(heap, valueAt("own", 0)), 0);
    engine.poll();
  } catch (error) {
    expect(error).toBeInstanceOf(LogFailedError);
    return true;
  }
  return told.failedCount > before;
}

function startWriters(opened: Opened, count: number, messageCount: number) {
  return Array.from({ length: count }, (_, i) => startWriter(opened, { name: `w${i}`, seed: i, messageCount }));
}

describe.each(ENGINES)("%s, when something fails under several writers", (name) => {
  it("acknowledges nothing that a failed sync should have made durable, to no writer, then or later", async () => {
    const directory = temporaryDirectory();
    const disk = new SpoiltDisk();
    const opened = await open(name, directory, { flush: "sync" }, disk.storage);
    const { engine, partitions } = opened;
    disk.syncError = "EIO";
    const tolds = await failedWriters(engine, startWriters(opened, 3, 1_000));
    for (const told of tolds) {
      expect(acknowledgedCount(told)).toBe(0);
      expect(told.error).toContain("EIO");
    }
    disk.syncError = null; // the kernel says it once
    // A log whose sync was never asked for has not failed: the others take nothing more.
    const failed = partitions.filter((partition) => hasFailed(opened, partition));
    expect(failed.length).toBeGreaterThan(0);
    await engine.flush().catch(() => undefined);
    for (const partition of failed) expect(opened.told.acknowledged[partition] ?? []).toEqual([]);
    await expectAcknowledgedKept(name, directory, engine, tolds);
  });

  it.each(["async", "sync"])("tells every writer of a sync that fails in their midst (%s)", async (flush) => {
    const directory = temporaryDirectory();
    const disk = new SpoiltDisk();
    const opened = await open(name, directory, { flush }, disk.storage);
    const writers = startWriters(opened, 3, 1_000_000);
    const heard = driven(opened.engine, new Promise((resolve) => setTimeout(resolve, 300)));
    await heard;
    disk.syncError = "EIO";
    const flushed = opened.engine.flush().catch(() => undefined);
    const tolds = await failedWriters(opened.engine, writers);
    await flushed;
    disk.syncError = null;
    await expectAcknowledgedKept(name, directory, opened.engine, tolds);
  });

  it("tells every writer that the next file of the log cannot be made", async () => {
    const directory = temporaryDirectory();
    const disk = new SpoiltDisk();
    const opened = await open(name, directory, { preallocate: false }, disk.storage);
    disk.createError = "ENOSPC";
    const tolds = await failedWriters(opened.engine, startWriters(opened, 3, 1_000_000));
    for (const told of tolds) expect(told.error).toContain("ENOSPC");
    disk.createError = null;
    await expectAcknowledgedKept(name, directory, opened.engine, tolds);
  });

  it("goes by the policy `every` with several writers: syncs that nobody waits for", async () => {
    const directory = temporaryDirectory();
    const opened = await open(name, directory, { flush: { every: { messages: 50 } } });
    const { engine } = opened;
    const { syncCalls } = engine.counters();
    const writers = startWriters(opened, 3, 1_001); // odd seeds do not flush at the end
    const tolds = await driven(engine, Promise.all(writers.map(({ told }) => told)));
    for (const told of tolds) expect([told.error, acknowledgedCount(told)]).toEqual(["", 1_001]);
    expect(engine.counters().syncCalls).toBeGreaterThan(syncCalls + 2);
    await engine.close();
    const reopened = await open(name, directory);
    let found = 0;
    for (const partition of reopened.partitions) found += (await readAll(reopened.engine, partition)).length;
    expect(found).toBe(3_003);
    await reopened.engine.close();
  });

  it("lets the others fail or go on at once when a thread ends while it fills what it appends", async () => {
    const directory = temporaryDirectory();
    const opened = await open(name, directory);
    const others = startWriters(opened, 2, 20_000);
    await driven(opened.engine, midway(opened, name === "commitlog" ? "record" : "batch"));
    const tolds = await driven(opened.engine, Promise.all(others.map(({ told }) => told)));
    if (name === "commitlog") {
      // The hole in the log: nothing behind it may be acknowledged.
      for (const told of tolds) expect(told.error).toContain("ended in the middle of an append");
      expect(() => opened.engine.append(opened.partitions[0]!, new Message(heap, valueAt("own", 0)), 0)).toThrow(
        LogFailedError,
      );
      await expectAcknowledgedKept(name, directory, opened.engine, tolds);
      return;
    }
    for (const told of tolds) expect([told.error, acknowledgedCount(told)]).toEqual(["", 20_000]);
    await opened.engine.close();
    const reopened = await open(name, directory);
    expect(reopened.engine.recovery).toMatchObject({ wasCleanShutdown: true, repairs: [] });
    await reopened.engine.close();
  });
});

describe("partitioned-log, when a batch is not written under several writers", () => {
  it("tells every writer, of that partition alone, when a write fails", async () => {
    const directory = temporaryDirectory();
    const disk = new SpoiltDisk();
    const opened = await open("partitioned-log", directory, {}, disk.storage);
    const { engine, partitions } = opened;
    const full = openSync("/dev/full", "w");
    onTestFinished(() => closeSync(full));
    disk.descriptor = full;
    const probe = startWriter(opened, { partitions: partitions.slice(0, 1), messageCount: 10 });
    const [told] = await failedWriters(engine, [probe]);
    expect(told!.error).toContain("ENOSPC");
    expect(acknowledgedCount(told!)).toBe(0);
    await engine.close();
    disk.descriptor = null;
    const again = await open("partitioned-log", directory);
    for (const partition of again.partitions) expect(await readAll(again.engine, partition)).toEqual([]);
    await again.engine.close();
  });

  it("fails that partition, and goes on with the others, when a thread ends in the middle of a write", async () => {
    const directory = temporaryDirectory();
    const opened = await open("partitioned-log", directory);
    const { engine, partitions } = opened;
    const others = startWriter(opened, { name: "w0", partitions: partitions.slice(1), messageCount: 5_000 });
    await driven(engine, midway(opened, "write"));
    const same = startWriter(opened, { name: "w1", partitions: partitions.slice(0, 1), messageCount: 100 });
    const [failed] = await failedWriters(engine, [same]);
    expect(failed!.error).toContain("ended in the middle of a write");
    const told = await driven(engine, others.told);
    expect([told.error, acknowledgedCount(told)]).toEqual(["", 5_000]);
    await engine.close();

    const reopened = await open("partitioned-log", directory);
    expect(reopened.engine.recovery.truncatedBytes).toBeGreaterThan(0);
    expect(await readAll(reopened.engine, partitions[0]!)).toEqual([]);
    let found = 0;
    for (const partition of partitions.slice(1)) found += (await readAll(reopened.engine, partition)).length;
    expect(found).toBe(5_000);
    await reopened.engine.close();
  });
});

describe("commitlog, when a thread hangs while it fills a record", () => {
  it("fails the log after half a minute, so that nobody waits for ever", async () => {
    const opened = await open("commitlog", temporaryDirectory());
    const { engine, partitions } = opened;
    const worker = new Worker(new URL("./midway-thread.js", import.meta.url));
    onTestFinished(() => void worker.terminate());
    const ticket = engine.openWriter!(worker);
    worker.postMessage({ ticket, partition: partitions[0]!, place: "hang" } satisfies MidwayThreadData);
    await driven(engine, once(worker, "message"));
    engine.append(partitions[1]!, new Message(heap, valueAt("own", 0)), 0);
    engine.poll();
    expect(acknowledgedCount(opened.told)).toBe(0);
    expect(opened.told.failedCount).toBe(0);
    const now = performance.now();
    vi.spyOn(performance, "now").mockReturnValue(now + 40_000);
    onTestFinished(() => void vi.restoreAllMocks());
    engine.poll();
    engine.poll();
    expect(opened.told).toMatchObject({ failedCount: 1, acknowledged: {} });
    expect(opened.told.error).toContain("does not finish its record");
    vi.restoreAllMocks();
    await worker.terminate();
    await engine.close();
  });
});

/** Resolves when a thread has ended there, in the middle of its first append to the first partition. */
async function midway({ engine, partitions }: Opened, place: MidwayThreadData["place"]): Promise<void> {
  expect(partitions).toHaveLength(PARTITIONS);
  const worker = new Worker(new URL("./midway-thread.js", import.meta.url));
  const ticket = engine.openWriter!(worker);
  worker.postMessage({ ticket, partition: partitions[0]!, place } satisfies MidwayThreadData);
  await once(worker, "exit");
}
