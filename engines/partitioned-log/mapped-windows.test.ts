import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { UnsupportedError } from "../errors.js";
import { heap } from "../heap.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { partitionedLog } from "./index.js";
import { MappedWindows } from "./mapped-windows.js";
import { appendBatches, DIRECTORY, expected, type Opened, open, pathOf, put, read, readAll } from "./testing.js";

const KIB = 1_024;
const MMAP = { writePath: "mmap", mapWindowBytes: 64 * KIB, segmentSizeBytes: 512 * KIB };
/** Batches of four messages of 100 bytes. */
const BATCH_BYTES = 61 + 4 * 109;

let opened: Opened | undefined;
afterEach(async () => {
  await opened?.engine.close();
  opened = undefined;
});

async function openTopic(
  settings: Record<string, unknown>,
  storage = new FaultyStorage(),
  partitionCount = 1,
): Promise<Opened["engine"]> {
  opened = await open(storage, settings);
  await opened.engine.createTopic("t", partitionCount);
  return opened.engine;
}

test("a batch larger than a window, and one that crosses into the next, are stored whole", async () => {
  const engine = await openTopic(MMAP);
  appendBatches(engine, 0, [0, 4], 1, 50_000);
  appendBatches(engine, 0, [4, 6], 1, 150_000);
  expect(await readAll(engine, 0, 0, 1 << 20)).toEqual([...expected(0, 4, 50_000), ...expected(4, 6, 150_000)]);
  expect(engine.counters().writeCalls).toBe(0);
});

test("partitions get smaller windows when there are more of them, and take turns when the smallest do not suffice", () => {
  const storage = new FaultyStorage();
  storage.makeDirectory("/files");
  const files = Array.from({ length: 5 }, (_, i) => storage.open(`/files/${i}`, "create"));
  const windows = new MappedWindows(heap, 256 * KIB, 256 * KIB);
  const batch = heap.place(Buffer.alloc(30 * KIB, "batch"));
  const store = (fileCount: number, round: number) => {
    for (const file of files.slice(0, fileCount)) {
      windows.store(file, 1 << 20, batch.byteOffset, batch.byteLength, round * batch.byteLength);
    }
  };
  const reservedBytes: number[] = [];
  for (const [round, fileCount] of [1, 2, 5, 5, 5].entries()) {
    windows.makeRoomFor(fileCount);
    store(fileCount, round);
    reservedBytes.push(files[fileCount - 1]!.sizeBytes());
  }
  expect(reservedBytes.map((size) => size / KIB)).toEqual([256, 128, 128, 128, 192]);
  expect(windows.countFor(5)).toBe(4);
  windows.release();
  const content = Buffer.alloc(5 * batch.byteLength);
  files[0]!.read(content, 0, content.byteLength, 0);
  expect(content.equals(Buffer.alloc(content.byteLength, "batch"))).toBe(true);
});

test.each([false, true])(
  "segments are trimmed when they end and when the log is closed (preallocate: %s)",
  async (preallocate) => {
    const storage = new FaultyStorage();
    const engine = await openTopic({ ...MMAP, segmentSizeBytes: 3 * BATCH_BYTES, preallocate }, storage);
    appendBatches(engine, 0, [0, 20]);
    expect(read(storage, pathOf(0, ".log"))).toHaveLength(3 * BATCH_BYTES);
    expect(read(storage, pathOf(12, ".log"))).toHaveLength(3 * BATCH_BYTES);
    await engine.close();
    expect(read(storage, pathOf(12, ".log"))).toHaveLength(2 * BATCH_BYTES);
  },
);

test("what a crash leaves reserved is cut, and called that; nothing that was stored is lost", async () => {
  const storage = new FaultyStorage();
  const engine = await openTopic(MMAP, storage);
  appendBatches(engine, 0, [0, 20]);
  const image = storage.kill();
  await engine.close();
  opened = await open(image, MMAP);
  const lostBytes = 64 * KIB - 5 * BATCH_BYTES;
  expect(opened.engine.recovery).toMatchObject({ truncatedBytes: lostBytes });
  expect(opened.engine.recovery.repairs).toEqual([
    expect.stringMatching(/0\.log was cut by \d+ bytes at byte 2485: a tail of zeros, reserved and never written\.$/),
  ]);
  appendBatches(opened.engine, 0, [20, 24]);
  expect(await readAll(opened.engine, 0)).toEqual(expected(0, 24));
});

test("an ended segment whose trimming was lost costs none of those behind it", async () => {
  const storage = new FaultyStorage();
  const settings = { ...MMAP, segmentSizeBytes: 3 * BATCH_BYTES };
  const engine = await openTopic(settings, storage);
  appendBatches(engine, 0, [0, 32]);
  const image = storage.kill();
  await engine.close();
  put(image, pathOf(0, ".log"), Buffer.concat([read(image, pathOf(0, ".log")), Buffer.alloc(700)]));
  opened = await open(image, settings);
  expect(opened.engine.recovery.droppedFiles).toBe(0);
  expect(opened.engine.recovery.repairs[0]).toMatch(/0\.log was cut by 700 bytes at byte 1491: a tail of zeros/);
  expect(await readAll(opened.engine, 0)).toEqual(expected(0, 32));
});

test("a full disk is an error before anything is stored, and the log stays readable", async () => {
  const storage = new FaultyStorage();
  const engine = await openTopic(MMAP, storage);
  appendBatches(engine, 0, [0, 1], 1, 60_000);
  storage.fault = ({ operation }) => (operation === "allocate" ? "ENOSPC" : null);
  appendBatches(engine, 0, [1, 2], 1, 50_000);
  expect(opened!.failed).toMatchObject([{ partition: 0, messageCount: 1 }]);
  expect(opened!.failed[0]!.error.message).toContain("ENOSPC");
  expect(await readAll(engine, 0, 0, 1 << 20)).toEqual(expected(0, 1, 60_000));
});

test("where blocks cannot be reserved, zeros are written before anything is stored", async () => {
  const storage = new FaultyStorage();
  const openFile = storage.open.bind(storage);
  storage.open = (name, mode) => {
    const file = openFile(name, mode);
    file.allocate = (sizeBytes) => {
      file.truncate(sizeBytes);
      return false;
    };
    return file;
  };
  const engine = await openTopic(MMAP, storage);
  appendBatches(engine, 0, [0, 4]);
  expect(engine.counters()).toMatchObject({ writeCalls: 1, writtenBytes: 64 * KIB });
  expect(await readAll(engine, 0)).toEqual(expected(0, 4));
});

test("a system whose sync misses mappings is refused, and so are too many files, before a partition is made", async () => {
  const elsewhere = Object.assign(new FaultyStorage(), { syncCoversMappings: false });
  await expect(open(elsewhere, MMAP)).rejects.toThrow(UnsupportedError);
  const storage = new FaultyStorage();
  const engine = await openTopic(MMAP, storage);
  storage.fileLimit = 1_000;
  await engine.createTopic("u", 300);
  await expect(engine.createTopic("v", 400)).rejects.toThrow(/400 partitions need 11\d\d open files.*1000/);
  expect(storage.list(DIRECTORY).some(({ name }) => name.startsWith("v-"))).toBe(false);
});

test("the heap's area is given back when the engine is closed", async () => {
  for (let i = 0; i < 20; i++) {
    await openTopic(MMAP);
    await opened!.engine.close();
  }
  expect(heap.release.bind(heap, heap.reserveWindow(1 << 30))).not.toThrow();
});

test("on disk the bytes are those that write calls leave, and a sync reaches them", async () => {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-windows-"));
  try {
    for (const writePath of ["write", "mmap"]) {
      const { engine } = await openOnDisk(path.join(parent, writePath), { ...MMAP, writePath, flush: "sync" });
      await engine.createTopic("t", 2);
      appendBatches(engine, 0, [0, 400], 20, 1_000);
      appendBatches(engine, 1, [0, 3]);
      await engine.flush();
      expect(await readAll(engine, 0, 0, 1 << 20)).toEqual(expected(0, 400, 1_000));
      await engine.close();
    }
    const filesOf = (name: string) =>
      fs
        .readdirSync(path.join(parent, name), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name: file }) => path.join(parentPath, file))
        .map((file) => [path.relative(path.join(parent, name), file), fs.readFileSync(file).toString("base64")])
        .sort();
    expect(filesOf("mmap")).toEqual(filesOf("write"));
  } finally {
    fs.rmSync(parent, { recursive: true, force: true });
  }
});

function openOnDisk(directory: string, settings: Record<string, unknown>) {
  const listener = { acknowledged: () => {}, failed: () => expect.unreachable() };
  return partitionedLog
    .open({ directory, storage: new DiskStorage(), heap, settings, listener })
    .then((engine) => ({ engine }));
}
