import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type EngineEvent, Message, type StorageEngine } from "../engine.js";
import { OffsetOutOfRangeError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { commitlog } from "./index.js";

const ROOT = "/store";
const FILE_BYTES = 4_096;
const SETTINGS = {
  segmentSizeBytes: FILE_BYTES,
  consumequeueFileSizeBytes: 400,
  keyIndexSlots: 7,
  keyIndexItems: 40,
  retentionCheckMs: 1_000,
};

let storage: FaultyStorage;
let engine: StorageEngine;
let events: EngineEvent[];
let nowMs: number;
let appended: number;

beforeEach(() => {
  begin();
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
});

afterEach(async () => {
  await engine.close().catch(() => undefined);
  vi.restoreAllMocks();
});

describe("retention", () => {
  it("by bytes keeps as many in whole files, moves the starts, and takes queue and index files along", async () => {
    await open({ retentionBytes: 3 * FILE_BYTES });
    await run(300);
    const kept = names("commitlog");
    expect(kept.length).toBeLessThanOrEqual(5);
    expect(kept.length).toBeGreaterThan(3); // three and the one that is written to, at the least
    expect(kept[0]).not.toBe("0".repeat(20));
    for (const queue of [0, 1]) expect(names(`consumequeue/t/${queue}`)[0]).not.toBe("0".repeat(20));
    expect(names("index").length).toBeLessThan(8);
    const gone = events.filter(({ kind }) => kind === "retention-delete").map(({ detail }) => detail!);
    for (const part of ["commitlog", "consumequeue/t/0", "consumequeue/t/1", "index"]) {
      expect(gone.some((path) => path.startsWith(`${ROOT}/${part}/`))).toBe(true);
    }
    for (const path of gone) expect(storage.exists(path)).toBe(false);
    await expectRight(true);
    await engine.close();
    await open({ retentionBytes: 3 * FILE_BYTES });
    expect(engine.recovery).toMatchObject({ scannedBytes: 0, repairs: [] });
    await expectRight(true);
  });

  it("by time takes files whose records are all older, and leaves the last one", async () => {
    await open({ retentionMs: 20_000 });
    await run(400);
    const oldest = await timeOf(engine.partitionInfo(0).startOffset);
    expect(oldest).toBeGreaterThan(nowMs - 20_000 - 8_000); // a file's time more, and until it is looked at
    expect(oldest).toBeLessThan(nowMs - 19_500); // its file began when the one before it had got too old
    nowMs += 1_000_000;
    await settle(200);
    expect(names("commitlog")).toHaveLength(1);
    await expectRight(true);
  });

  it("takes nothing when both are off, nor what is young", async () => {
    await open({ retentionMs: -1 });
    await run(100);
    nowMs += 1e12;
    await settle(50);
    expect(engine.partitionInfo(0).startOffset).toBe(0);
    await engine.close();
    begin();
    await open();
    await run(100);
    expect(engine.partitionInfo(0).startOffset).toBe(0);
    await expectRight(false);
  });

  it("keeps the place of a queue that has nothing left", async () => {
    await open({ retentionBytes: FILE_BYTES });
    for (let i = 0; i < 5; i++) append(1);
    await run(0);
    for (let i = 0; i < 200; i++) append(0);
    await settle(100);
    expect(engine.partitionInfo(1)).toMatchObject({ startOffset: 5, endOffset: 5 });
    await engine.close();
    await open({ retentionBytes: FILE_BYTES });
    append(1);
    await engine.flush();
    expect(engine.partitionInfo(1)).toMatchObject({ startOffset: 5, endOffset: 6 });
    await expectRight(true);
  });

  it("refuses a reader in the middle with the offsets there are, and it goes on from there", async () => {
    await open({ retentionBytes: 2 * FILE_BYTES, retentionCheckMs: 50 });
    await run(30);
    let next = 0;
    let refusals = 0;
    for (let i = 0; i < 400; i++) {
      append(0);
      if (i % 10 === 0) await settle(3);
      try {
        const outcome = await engine.fetch(0, next, 1, ({ offset, value }) => {
          expect(Buffer.from(value!).toString()).toContain(` ${offset} `);
        });
        next = i % 3 === 0 ? outcome.nextOffset : next;
      } catch (error) {
        expect(error).toBeInstanceOf(OffsetOutOfRangeError);
        refusals++;
        next = (error as OffsetOutOfRangeError).startOffset;
      }
    }
    expect(refusals).toBeGreaterThan(0);
  });

  it("leaves a directory that recovers, wherever the power is cut", async () => {
    for (let seed = 1; seed <= 15; seed++) {
      begin();
      await open({ retentionBytes: 2 * FILE_BYTES });
      for (let cut = 0; cut < 2; cut++) {
        await run(60 + 7 * seed);
        storage = storage.powerCut(seed * 2 + cut);
        await engine.close().catch(() => undefined);
        await open({ retentionBytes: 2 * FILE_BYTES });
        await expectRight(false);
      }
      await engine.close();
    }
  });
});

function begin(): void {
  storage = new FaultyStorage();
  storage.makeDirectory(ROOT);
  storage.syncDirectory("/");
  events = [];
  nowMs = 1_700_000_000_000;
  appended = 0;
}

async function open(settings: Record<string, unknown> = {}): Promise<void> {
  engine = await commitlog.open({
    directory: ROOT,
    storage,
    heap,
    settings: { ...SETTINGS, ...settings },
    listener: { acknowledged() {}, failed() {}, event: (event) => events.push(event) },
  });
  await engine.createTopic("t", 2);
}

function append(partition: number): void {
  const { endOffset } = engine.partitionInfo(partition);
  const value = Buffer.from(`value ${endOffset} of ${partition}`);
  engine.append(partition, new Message(heap, value, Buffer.from(`k${appended++ % 5}`)), nowMs);
}

/** Appends to both queues, a tenth of a second apart, while the engine does what it has to. */
async function run(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    append(i % 2);
    nowMs += 100;
    if (i % 5 === 0) await settle(2);
  }
  await settle(100);
}

/** Polls while time passes. */
async function settle(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    nowMs += 20;
    for (let poll = 0; poll < 3; poll++) engine.poll();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** From start to end each queue has its messages without a gap, what is below is refused, and keys find just these. */
async function expectRight(hasLostSome: boolean): Promise<void> {
  await engine.flush();
  let kept = 0;
  for (const { handle, index, startOffset, endOffset } of engine.partitions()) {
    if (hasLostSome) expect(startOffset).toBeGreaterThan(0);
    if (startOffset > 0)
      await expect(engine.fetch(handle, startOffset - 1, 1, () => {})).rejects.toThrow(OffsetOutOfRangeError);
    let next = startOffset;
    while (next < endOffset) {
      await engine.fetch(handle, next, 1 << 20, ({ offset, value }) => {
        expect(offset).toBe(next++);
        expect(Buffer.from(value!).toString()).toBe(`value ${offset} of ${index}`);
      });
    }
    kept += endOffset - startOffset;
    expect(await engine.offsetForTimestamp!(handle, 0)).toBe(startOffset);
  }
  let found = 0;
  const query = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, maxMessages: 10_000 };
  for (let key = 0; key < 5; key++) found += await engine.messagesByKey!("t", `k${key}`, query, () => {});
  expect(found).toBe(kept);
}

async function timeOf(offset: number): Promise<number> {
  let timeMs = 0;
  await engine.fetch(0, offset, 1, ({ timestampMs }) => {
    timeMs = timestampMs;
  });
  return timeMs;
}

function names(directory: string): string[] {
  return storage.list(`${ROOT}/${directory}`).map(({ name }) => name);
}
