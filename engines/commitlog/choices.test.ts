import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { decodeMessage } from "../codec/commitlog-message.js";
import { decompress } from "../codec/compression.js";
import { type Header, Message, type StorageEngine } from "../engine.js";
import { CorruptDataError, LogFailedError, OpenError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { seededRandom } from "../storage/seeded-random.js";
import { commitlog } from "./index.js";

// What each choice of how the engine works changes, and what it must not change: the bytes.

const ROOT = "/store";
const FILE_BYTES = 8_192;

let storage: FaultyStorage;
let engine: StorageEngine;
let acknowledged: [partition: number, baseOffset: number, messageCount: number][];
let failures: [partition: number, messageCount: number, error: Error][];
let nowMs: number;

beforeEach(() => {
  storage = newStorage();
  nowMs = 1_700_000_000_000;
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
});

afterEach(async () => {
  await engine.close().catch(() => undefined);
  vi.restoreAllMocks();
});

describe("write path, assembly and index building", () => {
  const variants = ["mmap", "write"].flatMap((writePath) =>
    ["broker", "producer"].flatMap((assembly) =>
      ["deferred", "inline"].map((indexBuilding) => ({ writePath, assembly, indexBuilding })),
    ),
  );
  const inputs = [
    { batchSizeBytes: 0 },
    { batchSizeBytes: 700, lingerMs: 3 },
    { batchSizeBytes: 0, appendPropertyCrc: true, bornHost: "[::1]:7" },
    { batchSizeBytes: 700, lingerMs: 3, appendPropertyCrc: true, storeHost: "[::1]:7" },
    { batchSizeBytes: 700, compression: "zlib", compressionThresholdBytes: 200 },
    { batchSizeBytes: 0, checksum: false, preallocate: false },
  ];

  it.each(inputs.flatMap((settings) => [1, 2, 3].map((seed) => ({ settings, seed }))))(
    "put the same bytes into the files for the same messages: $settings, seed $seed",
    async ({ settings, seed }) => {
      const written: Record<string, string>[] = [];
      for (const variant of variants) {
        nowMs = 1_700_000_000_000;
        storage = newStorage();
        await open({ ...settings, ...variant });
        await appendAtRandom(seed);
        await engine.close();
        written.push(files());
      }
      expect(Object.keys(written[0]!).length).toBeGreaterThan(4);
      for (const each of written) expect(each).toEqual(written[0]);
    },
  );
});

describe("written by write", () => {
  it("gathers what is appended between two polls, and acknowledges it when one write has returned", async () => {
    await open({ writePath: "write" });
    const [a, b] = await engine.createTopic("t", 2);
    const before = engine.counters().writeCalls;
    for (let i = 0; i < 10; i++) append(i % 2 === 0 ? a! : b!, 100);
    expect(acknowledged).toEqual([]);
    expect(engine.counters().writeCalls).toBe(before);
    const byWrite = spyOnWrites();
    engine.poll();
    expect(byWrite).toEqual([{ acknowledgedMessages: 0 }]);
    expect(acknowledged.reduce((sum, [, , messageCount]) => sum + messageCount, 0)).toBe(10);
    expect(engine.counters().acknowledgedMessages).toBe(10);
    engine.poll();
    expect(engine.counters().writeCalls).toBe(before + 1);
  });

  it("acknowledges consecutive messages of a queue together", async () => {
    await open({ writePath: "write" });
    const [a, b] = await engine.createTopic("t", 2);
    for (const handle of [a!, a!, a!, b!, a!]) append(handle, 100);
    engine.poll();
    expect(acknowledged).toEqual([
      [a, 0, 3],
      [b, 0, 1],
      [a, 3, 1],
    ]);
  });

  it("maps nothing", async () => {
    const mapped: string[] = [];
    storage.fault = ({ operation, path }) => {
      if (operation === "map") mapped.push(path);
      return null;
    };
    await open({ writePath: "write" });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 100; i++) append(handle!, 400);
    await engine.flush();
    expect(await valuesFrom(handle!)).toHaveLength(100);
    expect(mapped).toEqual([]);
  });

  it("acknowledges nothing of a write that failed, nor anything after it, and says what was lost", async () => {
    await open({ writePath: "write" });
    const [a, b] = await engine.createTopic("t", 2);
    append(a!, 100);
    engine.poll();
    acknowledged.length = 0;
    for (const handle of [a!, b!, b!]) append(handle, 100);
    storage.fault = ({ operation }) => (operation === "write" ? "EIO" : null);
    engine.poll();
    storage.fault = () => null;
    expect(acknowledged).toEqual([]);
    expect(failures.map(([partition, messageCount]) => [partition, messageCount])).toEqual([
      [a, 1],
      [b, 2],
    ]);
    expect(failures[0]![2].message).toContain("EIO");
    expect(() => append(a!, 100)).toThrow(LogFailedError);
    engine.poll();
    await expect(engine.flush()).rejects.toThrow(LogFailedError);
    expect(acknowledged).toEqual([]);
    await engine.close();
    await open({ writePath: "write" });
    const kept = await valuesFrom(a!); // the write may have come as far as the second message
    expect([1, 2]).toContain(kept.length);
    for (const value of kept) expect(Buffer.from(value)).toEqual(bodyOf(100));
  });

  it("fails what is gathered when the next file cannot be made", async () => {
    await open({ writePath: "write", preallocate: false });
    const [handle] = await engine.createTopic("t", 1);
    storage.fault = ({ operation }) => (operation === "open" ? "ENOSPC" : null);
    let appended = 0;
    expect(() => {
      for (; appended < 100; appended++) append(handle!, 1_000);
    }).toThrow(LogFailedError);
    storage.fault = () => null;
    const counts = [...acknowledged.map(([, , count]) => count), ...failures.map(([, count]) => count)];
    const settled = counts.reduce((sum, count) => sum + count, 0);
    expect(appended).toBeGreaterThan(5);
    expect(settled).toBe(appended);
  });

  it("writes when its buffer is full, though nobody polls", async () => {
    await open({ writePath: "write", segmentSizeBytes: 16 << 20 });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 5; i++) append(handle!, 1 << 20);
    expect(acknowledged.length).toBeGreaterThan(0);
    await engine.flush();
    expect(await valuesFrom(handle!)).toHaveLength(5);
  });

  it("is read by the other write path, and goes on there", async () => {
    for (const [round, writePath] of ["write", "mmap", "write", "mmap"].entries()) {
      await open({ writePath });
      const [handle] = await engine.createTopic("t", 1);
      expect(await valuesFrom(handle!)).toHaveLength(round * 50);
      for (let i = 0; i < 50; i++) append(handle!, 300);
      await engine.close();
    }
  });
});

describe("indexed inline", () => {
  it.each(["mmap", "write"])("shows a message as soon as it is acknowledged (%s)", async (writePath) => {
    await open({ indexBuilding: "inline", writePath });
    const [handle] = await engine.createTopic("t", 1);
    append(handle!, 100);
    if (writePath === "write") {
      expect(await valuesFrom(handle!)).toHaveLength(0);
      engine.poll();
    }
    expect(acknowledged).toEqual([[handle, 0, 1]]);
    expect(await valuesFrom(handle!)).toHaveLength(1);
    expect(engine.counters().indexEntries).toBe(1);
  });

  it("under sync still hides what is not on the device, from those who wait, too", async () => {
    await open({ indexBuilding: "inline", flush: "sync" });
    const [handle] = await engine.createTopic("t", 1);
    append(handle!, 100);
    expect(engine.counters().indexEntries).toBe(1);
    expect(await valuesFrom(handle!)).toHaveLength(0);
    expect(await engine.awaitMessages!(handle!, 0, 5)).toBe(false);
    const arrival = engine.awaitMessages!(handle!, 0, 60_000);
    await engine.flush();
    expect(await arrival).toBe(true);
    expect(await valuesFrom(handle!)).toHaveLength(1);
    await engine.close();
    await open({ indexBuilding: "inline", flush: "sync" });
    expect(await valuesFrom(handle!)).toHaveLength(1);
  });

  it("fails the log when a full buffer of units cannot be written", async () => {
    await open({ indexBuilding: "inline", segmentSizeBytes: 1 << 20 });
    const [handle] = await engine.createTopic("t", 1);
    storage.fault = ({ operation, path }) => (operation === "write" && path.includes("consumequeue") ? "ENOSPC" : null);
    expect(() => {
      for (let i = 0; i < 1_000; i++) append(handle!, 10);
    }).toThrow(LogFailedError);
    expect(() => append(handle!, 10)).toThrow(/ENOSPC/);
    storage.fault = () => null;
    const count = acknowledged.length;
    await engine.close();
    await open({ segmentSizeBytes: 1 << 20 });
    expect((await valuesFrom(handle!)).length).toBeGreaterThanOrEqual(count);
  });
});

describe("without checksums", () => {
  const large = 3_000; // beyond what the kernel checks itself

  it("stores 0 for the body's CRC, and reads a changed body without noticing", async () => {
    await open({ checksum: false });
    const [handle] = await engine.createTopic("t", 1);
    for (const sizeBytes of [100, large]) append(handle!, sizeBytes);
    append(handle!, 10, [{ key: "TAGS", value: Buffer.from("grün") }]);
    await engine.close();
    const file = readLog(0);
    expect(new DataView(file.buffer, file.byteOffset).getInt32(8)).toBe(0);
    changeLog(88 + 50);
    changeLog(192 + 88 + 50);
    await open({ checksum: false });
    expect((await valuesFrom(handle!)).map(({ length }) => length)).toEqual([100, large, 10]);
  });

  it("is refused with checksums after a crash, instead of being cut off", async () => {
    await open({ checksum: false, flush: "sync" });
    const [handle] = await engine.createTopic("t", 1);
    append(handle!, 100);
    await engine.flush();
    const image = storage.powerCut(1);
    await engine.close();
    storage = image;
    await expect(open({})).rejects.toThrow(OpenError);
    await expect(open({})).rejects.toThrow(/checksum false/);
    await open({ checksum: false });
    expect(await valuesFrom(handle!)).toHaveLength(1);
  });

  it("is refused message by message with checksums after a clean shutdown", async () => {
    await open({ checksum: false });
    const [handle] = await engine.createTopic("t", 1);
    append(handle!, 100);
    await engine.close();
    await open({});
    await expect(valuesFrom(handle!)).rejects.toThrow(CorruptDataError);
  });

  it("is an engine that reads what has checksums", async () => {
    await open({});
    const [handle] = await engine.createTopic("t", 1);
    for (const sizeBytes of [100, large]) append(handle!, sizeBytes);
    await engine.close();
    await open({ checksum: false });
    expect(await valuesFrom(handle!)).toHaveLength(2);
  });

  it("still has the CRC property, which covers the whole record", async () => {
    await open({ checksum: false, appendPropertyCrc: true });
    const [handle] = await engine.createTopic("t", 1);
    append(handle!, 100);
    await engine.close();
    changeLog(88 + 50);
    await open({ checksum: false, appendPropertyCrc: true });
    await expect(valuesFrom(handle!)).rejects.toThrow(/CRC property/);
  });
});

describe("compression", () => {
  it.each([
    ["zlib", 0x301],
    ["lz4", 0x101],
    ["zstd", 0x201],
  ] as const)(
    "by %s names itself in sysFlag, shrinks bodies from the threshold on, and is undone",
    async (codec, flag) => {
      await open({ compression: codec, compressionThresholdBytes: 1_000 });
      const [handle] = await engine.createTopic("t", 1);
      for (const sizeBytes of [999, 1_000, 3_000]) append(handle!, sizeBytes);
      expect((await flushed(handle!)).map(({ length }) => length)).toEqual([999, 1_000, 3_000]);
      await engine.close();
      const file = readLog(0);
      const first = decodeMessage(file, 0, FILE_BYTES, 0, "f");
      expect([first.sysFlag, first.body.length]).toEqual([0, 999]);
      const at = 92 + 999;
      const second = decodeMessage(file, at, FILE_BYTES, at, "f");
      expect(second.sysFlag).toBe(flag);
      expect(second.body.length).toBeLessThan(200);
      expect(Buffer.from(decompress(codec, second.body, 1_000))).toEqual(bodyOf(1_000));
      // What is compressed needs no setting to be read.
      await open({});
      expect((await valuesFrom(handle!)).map(({ length }) => length)).toEqual([999, 1_000, 3_000]);
    },
  );

  it("keeps what it made larger, up to the largest message", async () => {
    await open({ compression: "zlib", compressionThresholdBytes: 0, maxMessageSizeBytes: 5_000 });
    const [handle] = await engine.createTopic("t", 1);
    const random = seededRandom(1);
    const noise = Uint8Array.from({ length: 5_000 }, () => random() * 256);
    engine.append(handle!, new Message(heap, noise), 1);
    engine.append(handle!, new Message(heap, new Uint8Array()), 1);
    expect((await flushed(handle!)).map((value) => Buffer.from(value))).toEqual([Buffer.from(noise), Buffer.alloc(0)]);
    expect(decodeMessage(readLog(0), 0, FILE_BYTES, 0, "f").body.length).toBeGreaterThan(5_000);
  });

  it.each([
    ["a payload that is damaged", (record: DataView) => record.setInt32(36, 0x201), "zstd"],
    ["a codec that does not exist", (record: DataView) => record.setInt32(36, 0x701), "nothing known"],
  ])("refuses %s, saying where", async (_, spoil, word) => {
    await open({ compression: "zlib", compressionThresholdBytes: 0 });
    const [handle] = await engine.createTopic("t", 1);
    append(handle!, 1_000);
    await engine.close();
    const file = readLog(0);
    spoil(new DataView(file.buffer, file.byteOffset));
    storage.replaceAll(logPath(0), file);
    await open({});
    const failure = await valuesFrom(handle!).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CorruptDataError);
    expect(String(failure)).toMatch(new RegExp(`${word}.* in ${logPath(0)} at byte 0`));
  });
});

describe("page-cache advice", () => {
  it("none gives none", async () => {
    const advised = spyOnAdvice();
    await open({ segmentSizeBytes: 1 << 20 });
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 30; i++) append(handle!, 100_000);
    await engine.flush();
    expect(advised).toEqual([]);
  });

  it.each(["mmap", "write"])(
    "random-reads is given for each file, new or old, and each window (%s)",
    async (writePath) => {
      const settings = { segmentSizeBytes: 1 << 20, writePath, pageCacheAdvice: "random-reads" };
      const advised = spyOnAdvice();
      await open(settings);
      const [handle] = await engine.createTopic("t", 1);
      for (let i = 0; i < 15; i++) append(handle!, 100_000);
      await engine.close();
      const paths = [0, 1 << 20].map(logPath);
      expect([...new Set(advised.map(({ path }) => path))]).toEqual(paths);
      advised.length = 0;
      await open(settings);
      expect(await valuesFrom(handle!)).toHaveLength(15);
      expect([...new Set(advised.map(({ path }) => path))]).toEqual(paths);
    },
  );

  it("synchronous flush has only the file that is appended to faulted in page by page", async () => {
    const settings = { segmentSizeBytes: 1 << 20, flush: "sync" };
    const advised = spyOnAdvice();
    await open(settings);
    const [handle] = await engine.createTopic("t", 1);
    for (let i = 0; i < 15; i++) append(handle!, 100_000);
    expect([...new Set(advised.map(({ path }) => path))]).toEqual([0, 1 << 20].map(logPath));
    await engine.close();
    advised.length = 0;
    await open(settings);
    expect(await valuesFrom(handle!)).toHaveLength(15);
    expect([...new Set(advised.map(({ path }) => path))]).toEqual([logPath(1 << 20)]);
  });

  it("drop-behind lets go of what is on the device, 8 MiB at a time, and of nothing else", async () => {
    const advised = spyOnAdvice();
    await open({ segmentSizeBytes: 64 << 20, writePath: "write", pageCacheAdvice: "drop-behind" });
    const [handle] = await engine.createTopic("t", 1);
    const tick = () => {
      nowMs++;
      for (let i = 0; i < 20; i++) engine.poll();
    };
    for (let i = 0; i < 10; i++) append(handle!, 1 << 20);
    tick();
    tick();
    expect(advised).toEqual([]); // nothing is on the device
    await engine.flush();
    tick();
    expect(advised).toEqual([{ path: logPath(0), sizeBytes: 8 << 20 }]);
    tick();
    expect(advised).toHaveLength(1);
    expect(await valuesFrom(handle!)).toHaveLength(10);
  });
});

async function open(settings: Record<string, unknown>): Promise<void> {
  acknowledged = [];
  failures = [];
  engine = await commitlog.open({
    directory: ROOT,
    storage,
    heap,
    settings: {
      segmentSizeBytes: FILE_BYTES,
      consumequeueFileSizeBytes: 200,
      keyIndexSlots: 16,
      keyIndexItems: 64,
      ...settings,
    },
    listener: {
      acknowledged: (...acknowledgement) => acknowledged.push(acknowledgement),
      failed: (...failure) => failures.push(failure),
    },
  });
}

function newStorage(): FaultyStorage {
  const created = new FaultyStorage();
  created.makeDirectory(ROOT);
  created.syncDirectory("/");
  return created;
}

function append(handle: number, sizeBytes: number, headers: readonly Header[] = []): void {
  expect(engine.append(handle, new Message(heap, bodyOf(sizeBytes), null, headers), 1)).toBe(true);
}

function bodyOf(sizeBytes: number): Buffer {
  return Buffer.alloc(sizeBytes, "compressible text. ");
}

/** Appends of all kinds, polls, flushes and time that passes, as the seed says. */
async function appendAtRandom(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const handles = await engine.createTopic("t", 3);
  for (let i = 0; i < 150; i++) {
    const choice = random();
    if (choice < 0.1) nowMs += Math.floor(random() * 5);
    else if (choice < 0.2) engine.poll();
    else if (choice < 0.22) await engine.flush();
    else appendOne(handles[Math.floor(random() * 3)]!, random);
  }
}

function appendOne(handle: number, random: () => number): void {
  const value = Buffer.from(`${Math.floor(random() * 1_000)};`.repeat(Math.floor(random() * 100)));
  const key = random() < 0.5 ? null : Buffer.from(`key-${Math.floor(random() * 10)}`);
  const headers: Header[] = random() < 0.5 ? [] : [{ key: "TAGS", value: Buffer.from(random() < 0.5 ? "a" : "grün") }];
  const isInHeap = random() < 0.5;
  const bytes = isInHeap ? heap.place(value) : value;
  expect(engine.append(handle, new Message(heap, bytes, key, headers), Math.floor(random() * 1e12))).toBe(true);
  bytes.fill(0xee);
  if (isInHeap) heap.release(bytes.byteOffset);
}

/** The bytes of all files, by path; those of the key index by their order, as their names say when they were made. */
function files(directory = ROOT): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [place, { name, kind }] of storage.list(directory).entries()) {
    const path = `${directory}/${directory === `${ROOT}/index` ? place : name}`;
    if (kind === "directory") Object.assign(found, files(path));
    else if (directory !== ROOT) found[path] = Buffer.from(storage.readAll(`${directory}/${name}`)).toString("hex");
  }
  return found;
}

async function flushed(handle: number): Promise<Uint8Array[]> {
  await engine.flush();
  return valuesFrom(handle);
}

/** Copies of the values that can be read by now. */
async function valuesFrom(handle: number): Promise<Uint8Array[]> {
  const values: Uint8Array[] = [];
  for (let next = 0; ; ) {
    const outcome = await engine.fetch(handle, next, 10_000, ({ value }) => values.push(value!.slice()));
    if (outcome.messageCount === 0) return values;
    next = outcome.nextOffset;
  }
}

/** For each write call from now on: how many messages were acknowledged when it began. */
function spyOnWrites(): { acknowledgedMessages: number }[] {
  const calls: { acknowledgedMessages: number }[] = [];
  storage.fault = ({ operation }) => {
    if (operation === "write") calls.push({ acknowledgedMessages: acknowledged.length });
    return null;
  };
  return calls;
}

/** The calls that advise, from now on. */
function spyOnAdvice(): { path: string; sizeBytes: number }[] {
  const calls: { path: string; sizeBytes: number }[] = [];
  storage.fault = ({ operation, path, sizeBytes }) => {
    if (operation === "advise") calls.push({ path, sizeBytes });
    return null;
  };
  return calls;
}

function logPath(baseOffset: number): string {
  return `${ROOT}/commitlog/${String(baseOffset).padStart(20, "0")}`;
}

function readLog(baseOffset: number): Uint8Array {
  return Uint8Array.from(storage.readAll(logPath(baseOffset)));
}

/** Changes a bit of the first file's byte `at`. */
function changeLog(at: number): void {
  const file = readLog(0);
  file[at]! ^= 1;
  storage.replaceAll(logPath(0), file);
}
