import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Header, Message, type StorageEngine } from "../engine.js";
import { ClosedError, CorruptDataError, UnsupportedError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { seededRandom } from "../storage/seeded-random.js";
import { commitlog } from "./index.js";
import { indexHash } from "./key-index.js";
import { indexFileName } from "./names.js";

const ROOT = "/store";
const EVERYTHING = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, maxMessages: 1_000_000 };
const SETTINGS = {
  segmentSizeBytes: 4_096,
  consumequeueFileSizeBytes: 400,
  consumequeueFlushThoroughIntervalMs: 3_000,
  keyIndexSlots: 7,
  keyIndexItems: 40,
};

let storage: FaultyStorage;
let engine: StorageEngine;
let nowMs: number;
let appended: number;

beforeEach(() => {
  storage = new FaultyStorage();
  storage.makeDirectory(ROOT);
  storage.syncDirectory("/");
  nowMs = 1_700_000_000_000;
  appended = 0;
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
});

afterEach(async () => {
  await engine.close().catch(() => undefined);
  vi.restoreAllMocks();
});

describe("the key index", () => {
  it("has RocketMQ's golden entries", async () => {
    await open({ keyIndexSlots: 5_000_000, keyIndexItems: 10 });
    await engine.createTopic("TopicTest", 1);
    engine.append(2, new Message(heap, Buffer.from("Hello"), Buffer.from("parcel-8 parcel-9")), 1);
    await engine.close();
    const [file] = indexFiles();
    const view = viewOf(storage.readAll(file!));
    expect(view.byteLength).toBe(40 + 5_000_000 * 4 + 10 * 20);
    const times = [view.getBigInt64(0), view.getBigInt64(8)];
    expect(times).toEqual([BigInt(nowMs), BigInt(nowMs)]);
    expect([view.getInt32(32), view.getInt32(36)]).toEqual([2, 3]);
    expect(view.getInt32(6_549_584)).toBe(1);
    expect(view.getInt32(20_000_060)).toBe(931_637_386);
    expect(indexHash("TopicTest", "7F0000012A9F18B4AAC20000000000AA")).toBe(1_171_230_186);
    expect(indexHash("", "polygenelubricants".slice(1))).toBeGreaterThanOrEqual(0);
  });

  it("finds every message by each word of its key, the newest first, in all queues, over many files", async () => {
    await open();
    for (let i = 0; i < 200; i++) append();
    await engine.flush();
    expect(indexFiles().length).toBeGreaterThan(5);
    await expectRight();
    await engine.close();
    await open();
    expect(engine.recovery).toMatchObject({ scannedBytes: 0, repairs: [] });
    await expectRight();
    for (let i = 0; i < 50; i++) append();
    await engine.flush();
    await expectRight();
  });

  it("makes no file before there is a key", async () => {
    await open();
    for (let i = 0; i < 50; i++) engine.append(0, new Message(heap, Buffer.from("v")), 1);
    await engine.close();
    expect(indexFiles()).toEqual([]);
    await open();
    expect(engine.recovery).toMatchObject({ scannedBytes: 0, repairs: [] });
  });

  it("tells keys of one hash apart, topics too, and visits a message once that names its key twice", async () => {
    await open();
    await engine.createTopic("u", 1);
    for (const key of ["Aa", "BB", "Aa Aa", "BB Aa"]) appendWith(key);
    engine.append(2, new Message(heap, Buffer.from("other"), Buffer.from("Aa")), 1);
    await engine.flush();
    expect(await find("Aa")).toEqual([
      [0, 3],
      [0, 2],
      [0, 0],
    ]);
    expect(await find("BB")).toEqual([
      [0, 3],
      [0, 1],
    ]);
    expect(await find("Aa Aa")).toEqual([]);
    expect(await find("")).toEqual([]);
  });

  it("keeps to the time range, to the millisecond, and to the limit", async () => {
    await open();
    const timesMs: number[] = [];
    for (let i = 0; i < 120; i++) {
      tick(i % 9 === 0 ? 700 : 3);
      timesMs.push(nowMs);
      appendWith(i % 2 === 0 ? "k" : "j k");
    }
    await engine.flush();
    for (const [from, to] of [
      [0, 119],
      [5, 5],
      [30, 90],
      [100, 119],
      [0, 0],
    ] as const) {
      const query = { fromMs: timesMs[from]!, toMs: timesMs[to]!, maxMessages: 1_000 };
      const wanted = Array.from({ length: to - from + 1 }, (_, i) => [0, to - i]);
      expect(await find("k", query)).toEqual(wanted);
      expect(await find("k", { ...query, maxMessages: 3 })).toEqual(wanted.slice(0, 3));
    }
    expect(await find("k", { fromMs: timesMs[0]! - 10, toMs: timesMs[0]! - 1, maxMessages: 9 })).toEqual([]);
    expect(await find("k", { fromMs: nowMs + 1, toMs: nowMs + 9_000, maxMessages: 9 })).toEqual([]);
  });

  it("does not show what the policy hides", async () => {
    await open({ flush: "sync" });
    appendWith("k");
    await engine.flush();
    appendWith("k");
    expect(await find("k")).toEqual([[0, 0]]);
    await engine.flush();
    expect(await find("k")).toEqual([
      [0, 1],
      [0, 0],
    ]);
  });

  it("is asked for messages that are checked: a damaged one is refused", async () => {
    await open();
    for (let i = 0; i < 10; i++) appendWith("k");
    await engine.close();
    const file = storage.open(`${ROOT}/commitlog/${"0".repeat(20)}`, "write");
    file.write(Buffer.from("X"), 0, 1, 88);
    file.close();
    await open();
    await expect(find("k")).rejects.toThrow(CorruptDataError);
    expect(await find("k", { ...EVERYTHING, maxMessages: 9 })).toHaveLength(9);
  });

  it("is not kept when it is switched off, and made of the whole log when it is wanted again", async () => {
    await open();
    for (let i = 0; i < 60; i++) append();
    await engine.close();
    await open({ keyIndex: false });
    await expect(find("k")).rejects.toThrow(UnsupportedError);
    for (let i = 0; i < 60; i++) append();
    await engine.close();
    expect(storage.exists(`${ROOT}/index`)).toBe(false);
    await open();
    await expectRight();
    await engine.close();
    await expect(find("k")).rejects.toThrow(ClosedError);
  });
});

describe("after a clean shutdown the key index is made anew when", () => {
  it.each<[string, () => void]>([
    ["all of it is missing", () => removeIndex()],
    ["a file is missing", () => storage.remove(indexFiles()[1]!)],
    ["the last file is missing", () => storage.remove(indexFiles().at(-1)!)],
    ["a file is of another size", () => storage.open(indexFiles()[0]!, "write").truncate(500)],
    [
      "a file has more entries than were written",
      () => overwrite(indexFiles().at(-1)!, 36, Uint8Array.of(0, 0, 0, 39)),
    ],
  ])("%s", async (_, spoil) => {
    await open();
    for (let i = 0; i < 150; i++) append();
    await engine.close();
    spoil();
    await open();
    expect(engine.recovery.repairs.join()).toContain("index");
    await expectRight();
    await engine.close();
    await open();
    expect(engine.recovery).toMatchObject({ scannedBytes: 0, repairs: [] });
  });
});

describe("after a crash the key index", () => {
  it("is cut to where the log is read again, and finds what it found", async () => {
    await open();
    await run(150);
    storage = storage.kill();
    await leave();
    await open();
    const { scannedBytes, repairs } = engine.recovery;
    expect(scannedBytes).toBeLessThan(40_000); // not the whole log
    expect(repairs).toEqual([]);
    await expectRight();
    for (let i = 0; i < 50; i++) append();
    await engine.flush();
    await expectRight();
    await engine.close();
    await open();
    expect(engine.recovery).toMatchObject({ scannedBytes: 0, repairs: [] });
    await expectRight();
  });

  it.each<[string, () => void]>([
    ["without its directory", () => removeIndex()],
    ["with items lost in the middle", () => overwrite(indexFiles().at(-2)!, 40 + 28 + 20 * 10, new Uint8Array(100))],
    ["with noise for items", () => overwrite(indexFiles().at(-2)!, 40 + 28 + 20 * 5, Buffer.alloc(200, 0x5a))],
    ["with a file too long", () => storage.open(indexFiles()[0]!, "write").truncate(5_000)],
    ["with slots lost", () => overwrite(indexFiles().at(-2)!, 40, new Uint8Array(28))],
    ["with entries for a log that is longer", () => storage.remove(commitlogFiles().at(-1)!)],
  ])("%s finds what can be read", async (_, spoil) => {
    await open();
    await run(150);
    storage = storage.kill();
    await leave();
    spoil();
    await open();
    await expectRight();
    append();
    await engine.flush();
    await expectRight();
  });

  it("finds what can be read, wherever the power was cut", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      storage = new FaultyStorage();
      storage.makeDirectory(ROOT);
      storage.syncDirectory("/");
      const random = seededRandom(seed);
      appended = 0;
      await open();
      for (let cut = 0; cut < 2; cut++) {
        await run(20 + Math.floor(random() * 100));
        storage = storage.powerCut(seed * 2 + cut);
        await leave();
        await open();
        await expectRight();
      }
      await engine.close();
    }
  });
});

it("does not lose a key in silence when hashes or positions in a full file rot, after a crash, too", async () => {
  await open();
  await run(150);
  storage = storage.kill();
  await leave();
  const [path] = indexFiles();
  const sound = storage.readAll(path!);
  const firstItemAt = 40 + 7 * 4 + 20;
  await open();
  await expectRight();
  const right = await findAll();
  const random = seededRandom(11);
  let refusals = 0;
  for (let flip = 0; flip < 150; flip++) {
    const item = Math.floor(random() * 39);
    const at = firstItemAt + item * 20 + Math.floor(random() * 12); // of hash and position
    const rotten = sound.slice();
    rotten[at]! ^= 1 << Math.floor(random() * 8);
    overwrite(path!, 0, rotten);
    for (const [key, found] of right) {
      const now = await find(key).catch((error: unknown) => error);
      if (now instanceof CorruptDataError) refusals++;
      else if (isHashOfItsSlot(rotten, firstItemAt + item * 20)) expect((now as unknown[]).length).toBeGreaterThan(0);
      else expect([key, now]).toEqual([key, found]);
    }
  }
  expect(refusals).toBeGreaterThan(100);
  overwrite(path!, 0, sound);
  await expectRight();

  /** With seven slots a rotten hash may have the slot of the right one: that is what a look-up cannot see. */
  function isHashOfItsSlot(rotten: Uint8Array, at: number): boolean {
    const [before, after] = [viewOf(sound).getInt32(at), viewOf(rotten).getInt32(at)];
    return before !== after && after >= 0 && before % 7 === after % 7;
  }
});

it("is made anew by an opening after a look-up that met rot in it", async () => {
  await open();
  await run(150);
  await engine.close();
  const [path] = indexFiles();
  const sound = storage.readAll(path!).slice();
  const firstItemAt = 40 + 7 * 4 + 20;
  const rotten = sound.slice();
  rotten.fill(0xff, firstItemAt, firstItemAt + 39 * 20);
  overwrite(path!, 0, rotten);
  await open();
  expect(engine.recovery).toMatchObject({ scannedBytes: 0, repairs: [] });
  const found = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => find(`k${i}`)));
  expect(found.some(({ status }) => status === "rejected")).toBe(true);
  await engine.close();
  await open();
  expect(engine.recovery.scannedBytes).toBeGreaterThan(0);
  await expectRight();
  await engine.close();
  await open();
  expect(engine.recovery).toMatchObject({ scannedBytes: 0, repairs: [] });
  await expectRight();
});

it("names files by local time, each behind the one before", () => {
  const first = indexFileName(nowMs, undefined);
  expect(first).toMatch(/^20231[0-9]{12}$/);
  expect(indexFileName(nowMs, first)).toBe(String(BigInt(first) + 1n));
  expect(indexFileName(nowMs - 3_600_000, first)).toBe(String(BigInt(first) + 1n));
  expect(indexFileName(nowMs + 5, first) > first).toBe(true);
});

async function open(settings: Record<string, unknown> = {}): Promise<void> {
  engine = await commitlog.open({
    directory: ROOT,
    storage,
    heap,
    settings: { ...SETTINGS, ...settings },
    listener: { acknowledged() {}, failed() {} },
  });
  await engine.createTopic("t", 2);
}

/** Ends an engine whose storage has gone on without it. */
async function leave(): Promise<void> {
  await engine.close().catch(() => undefined);
}

/** Appends messages while time passes, so that flushes and checkpoints happen. */
async function run(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    append();
    if (i % 10 !== 0) continue;
    tick(1_000);
    for (let turn = 0; turn < 3; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      engine.poll();
    }
  }
}

/** A message with one to three keys, or none, in either queue. */
function append(): void {
  const i = appended++;
  const keys = [`k${i % 11}`, i % 3 === 0 ? `${i}` : "", i % 7 === 0 ? "größer" : ""].filter((key) => key !== "");
  const key = i % 13 === 0 ? null : Buffer.from(keys.join("  "));
  const headers: Header[] = i % 5 === 0 ? [{ key: "TAGS", value: Buffer.from("ä") }] : [];
  expect(engine.append(i % 2, new Message(heap, Buffer.from(`value ${i}`), key, headers), i)).toBe(true);
}

function appendWith(key: string): void {
  engine.append(0, new Message(heap, Buffer.from("value"), Buffer.from(key)), 1);
}

function tick(ms: number): void {
  nowMs += ms;
  engine.poll();
  engine.poll();
}

async function find(key: string, query = EVERYTHING): Promise<[partition: number, offset: number][]> {
  const found: [number, number][] = [];
  const count = await engine.messagesByKey!("t", key, query, ({ offset }, partition) =>
    found.push([partition, offset]),
  );
  expect(count).toBe(found.length);
  return found;
}

/** What is found by each key is what a fetch of everything shows to have it, in the order in which it was appended. */
async function expectRight(): Promise<void> {
  const byKey = new Map<string, { number: number; where: [number, number] }[]>();
  for (const partition of [0, 1]) {
    const { startOffset, endOffset } = engine.partitionInfo(partition);
    for (let next = startOffset; next < endOffset; ) {
      const outcome = await engine.fetch(partition, next, 1 << 20, ({ offset, key, timestampMs }) => {
        for (const word of new Set(key === null ? [] : Buffer.from(key).toString().split(" ")))
          if (word !== "")
            byKey.set(word, [...(byKey.get(word) ?? []), { number: timestampMs, where: [partition, offset] }]);
      });
      next = outcome.nextOffset;
    }
  }
  for (const [key, entries] of byKey) {
    const wanted = entries.sort((a, b) => b.number - a.number).map(({ where }) => where);
    expect([key, await find(key)]).toEqual([key, wanted]);
  }
  for (const key of ["none", "k11"]) expect(await find(key)).toEqual([]);
}

async function findAll(): Promise<Map<string, [number, number][]>> {
  const keys = [...Array.from({ length: 11 }, (_, i) => `k${i}`), "größer"];
  return new Map(await Promise.all(keys.map(async (key) => [key, await find(key)] as const)));
}

function indexFiles(): string[] {
  return storage.list(`${ROOT}/index`).map(({ name }) => `${ROOT}/index/${name}`);
}

function commitlogFiles(): string[] {
  return storage.list(`${ROOT}/commitlog`).map(({ name }) => `${ROOT}/commitlog/${name}`);
}

function removeIndex(): void {
  for (const path of indexFiles()) storage.remove(path);
  storage.removeDirectory(`${ROOT}/index`);
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  storage.open(path, "write").write(bytes, 0, bytes.length, at);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
