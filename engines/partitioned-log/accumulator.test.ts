import { afterEach, describe, expect, test, vi } from "vitest";
import { Message } from "../engine.js";
import { LogFailedError, UnrepresentableError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { expected, message, type Opened, open, readAll, START_MS } from "./testing.js";

let opened: Opened | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  await opened?.engine.close();
  opened = undefined;
});

async function openTopic(
  settings: Record<string, unknown>,
  partitionCount = 1,
  storage = new FaultyStorage(),
): Promise<Opened> {
  opened = await open(storage, settings);
  await opened.engine.createTopic("t", partitionCount);
  return opened;
}

/** Messages of 100 bytes: a record takes 109. */
function append(engine: Opened["engine"], [from, to]: readonly [number, number], partition = 0): number {
  for (let i = from; i < to; i++) if (!engine.append(partition, message(i), START_MS + i)) return i - from;
  return to - from;
}

const batchSizes = ({ acknowledged }: Opened) => acknowledged.map(({ messageCount }) => messageCount);

describe("a batch is written", () => {
  test("by poll, with all that came since the last one", async () => {
    const { engine } = await openTopic({});
    for (const [from, to] of [
      [0, 1],
      [1, 4],
      [4, 4],
      [4, 9],
    ] as const) {
      append(engine, [from, to]);
      engine.poll();
    }
    expect(batchSizes(opened!)).toEqual([1, 3, 5]);
  });

  test("at once when another message like the last would not fit, full to the byte or not", async () => {
    for (const batchSizeBytes of [61 + 4 * 109, 61 + 5 * 109 - 1]) {
      const { engine } = await openTopic({ batchSizeBytes, lingerMs: 60_000 });
      append(engine, [0, 10]);
      expect(batchSizes(opened!)).toEqual([4, 4]);
      expect(engine.partitionInfo(0).endOffset).toBe(8);
      await engine.flush();
      expect(batchSizes(opened!)).toEqual([4, 4, 2]);
      await engine.close();
    }
  });

  test("before a message that does not fit", async () => {
    const { engine } = await openTopic({ batchSizeBytes: 720, lingerMs: 60_000 });
    append(engine, [0, 2]);
    engine.append(0, message(2, 200), START_MS);
    expect(batchSizes(opened!)).toEqual([]);
    engine.append(0, message(3, 300), START_MS);
    expect(batchSizes(opened!)).toEqual([3]);
    await engine.flush();
    expect(batchSizes(opened!)).toEqual([3, 1]);
  });

  test("with a message larger than it, alone and at once", async () => {
    const { engine } = await openTopic({ batchSizeBytes: 500, lingerMs: 60_000 });
    engine.append(0, message(0, 5_000), START_MS);
    expect(batchSizes(opened!)).toEqual([1]);
    append(engine, [1, 2]);
    engine.append(0, message(2, 70_000), START_MS);
    expect(batchSizes(opened!)).toEqual([1, 1, 1]);
  });

  test("for each message when batching is off", async () => {
    for (const batchSizeBytes of [0, 1]) {
      const { engine } = await openTopic({ batchSizeBytes, lingerMs: 60_000 });
      append(engine, [0, 3]);
      expect(batchSizes(opened!)).toEqual([1, 1, 1]);
      await engine.close();
    }
  });

  test("when it has lingered, oldest first", async () => {
    let nowMs = 1_000;
    vi.spyOn(performance, "now").mockImplementation(() => nowMs);
    const { engine, acknowledged } = await openTopic({ lingerMs: 10 }, 3);
    append(engine, [0, 1], 2);
    nowMs += 4;
    append(engine, [0, 1], 0);
    nowMs += 4;
    append(engine, [0, 1], 1);
    append(engine, [1, 2], 2);
    engine.poll();
    expect(acknowledged).toEqual([]);
    nowMs += 2; // partition 2 has waited 10 ms, partition 0 six, partition 1 two
    engine.poll();
    expect(acknowledged).toEqual([{ partition: 2, baseOffset: 0, messageCount: 2 }]);
    nowMs += 8;
    engine.poll();
    expect(acknowledged.map(({ partition }) => partition)).toEqual([2, 0, 1]);
  });

  test("never larger than a message or a segment may be", async () => {
    for (const limit of [{ maxMessageBytes: 600 }, { segmentSizeBytes: 1_100 }]) {
      const { engine } = await openTopic({ ...limit, lingerMs: 60_000 });
      append(engine, [0, 40]);
      await engine.flush();
      const most = Math.floor((Object.values(limit)[0]! - 61) / 109);
      expect(Math.max(...batchSizes(opened!))).toBe(most);
      expect(await readAll(engine, 0)).toEqual(expected(0, 40));
      await engine.close();
    }
  });
});

describe("the buffer memory", () => {
  test("takes no more when it is exhausted, and the next poll writes what waits, lingering or not", async () => {
    const { engine } = await openTopic({ batchSizeBytes: 4_096, bufferMemoryBytes: 8_192, lingerMs: 60_000 }, 3);
    append(engine, [0, 5], 0);
    append(engine, [0, 5], 1);
    expect(append(engine, [0, 1], 2)).toBe(0);
    expect(append(engine, [5, 6], 0)).toBe(1); // an open batch goes on
    expect(opened!.acknowledged).toEqual([]);
    engine.poll();
    expect(opened!.acknowledged).toEqual([
      { partition: 0, baseOffset: 0, messageCount: 6 },
      { partition: 1, baseOffset: 0, messageCount: 5 },
    ]);
    expect(append(engine, [0, 1], 2)).toBe(1);
    engine.poll();
    expect(opened!.acknowledged).toHaveLength(2); // it lingers again
    expect(engine.counters().appendedMessages).toBe(12);
  });

  test("is charged for large messages, and freed of them", async () => {
    const { engine } = await openTopic({ batchSizeBytes: 4_096, bufferMemoryBytes: 60_000, lingerMs: 60_000 }, 14);
    for (let partition = 0; partition < 13; partition++) expect(append(engine, [0, 1], partition)).toBe(1);
    expect(engine.append(13, message(0, 20_000), START_MS)).toBe(false);
    engine.poll();
    for (let i = 0; i < 20; i++) expect(engine.append(13, message(i, 50_000), START_MS)).toBe(true);
    expect(append(engine, [1, 2], 0)).toBe(1);
  });

  test("holds no message that can never fit", async () => {
    const { engine } = await openTopic({ bufferMemoryBytes: 20_000, maxMessageBytes: 30_000 });
    expect(() => engine.append(0, message(0, 20_000), START_MS)).toThrow(/more than bufferMemoryBytes \(20000\)/);
    expect(engine.append(0, message(0, 19_000), START_MS)).toBe(true);
  });

  test("smaller than a batch is refused", async () => {
    const storage = new FaultyStorage();
    await expect(open(storage, { batchSizeBytes: 20_000, bufferMemoryBytes: 19_999 })).rejects.toThrow(
      /bufferMemoryBytes/,
    );
  });
});

test("Kafka's limit is of the whole batch of one message, to the byte", async () => {
  const { engine } = await openTopic({ maxMessageBytes: 1_000 });
  // 61 of header, 2 of length, 1 + 1 + 1 + 1 + 2 before the value, 1 behind it
  expect(engine.append(0, message(0, 930), START_MS)).toBe(true);
  expect(() => engine.append(0, message(1, 931), START_MS)).toThrow(UnrepresentableError);
  engine.poll();
  expect(engine.counters().logBytes).toBe(1_000);
  expect(engine.partitionInfo(0).endOffset).toBe(1);
});

test("keys, values and headers may lie in the heap or outside, in any mix", async () => {
  const { engine } = await openTopic({ batchSizeBytes: 700 });
  const parts = (text: string) => [heap.place(Buffer.from(text)), Buffer.from(text), null];
  const written: string[] = [];
  for (const key of parts("a key")) {
    for (const value of parts("value ".repeat(20))) {
      for (const headers of [[], [{ key: "h", value: Buffer.from("x") }]]) {
        expect(engine.append(0, new Message(heap, value, key, headers), START_MS)).toBe(true);
        written.push(`${key && Buffer.from(key)}|${value && Buffer.from(value)}|${headers.length}`);
      }
    }
  }
  engine.poll();
  const read: string[] = [];
  await engine.fetch(0, 0, 1 << 20, ({ key, value, headers }) => {
    read.push(`${key && Buffer.from(key)}|${value && Buffer.from(value)}|${headers.length}`);
  });
  expect(read).toEqual(written);
});

test("after a failed write a log takes nothing more and says why; the others go on", async () => {
  const storage = new FaultyStorage();
  const { engine, failed } = await openTopic({ lingerMs: 60_000 }, 2, storage);
  append(engine, [0, 3], 0);
  append(engine, [0, 3], 1);
  storage.fault = ({ operation, path }) => (operation === "write" && path.includes("t-0") ? "ENOSPC" : null);
  await expect(engine.flush()).rejects.toThrow(/ENOSPC/);
  expect(failed).toMatchObject([{ partition: 0, messageCount: 3 }]);
  expect(() => engine.append(0, message(3), START_MS)).toThrow(LogFailedError);
  expect(append(engine, [3, 5], 1)).toBe(2);
  engine.poll();
  expect(await readAll(engine, 1)).toEqual(expected(0, 3));
  expect(await readAll(engine, 0)).toEqual([]);
});

test.each(["gzip", "snappy", "lz4", "zstd"])(
  "batches are compressed by %s, when that makes them smaller",
  async (compression) => {
    const storage = new FaultyStorage();
    const { engine } = await openTopic({ compression }, 1, storage);
    append(engine, [0, 200]);
    engine.poll();
    const { logBytes } = engine.counters();
    expect(logBytes).toBeLessThan(200 * 50);
    expect(await readAll(engine, 0, 0, 1)).toEqual(expected(0, 200));
    const noise = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 167 + 13) & 0xff));
    engine.append(0, new Message(heap, noise), START_MS);
    engine.poll();
    expect(engine.counters().logBytes - logBytes).toBe(61 + 64 + 9);
    await engine.close();
    const again = await openTopic({}, 1, storage);
    expect((await readAll(again.engine, 0)).slice(0, 200)).toEqual(expected(0, 200));
  },
);

test("LogAppendTime stamps what is read with the time of its write", async () => {
  const before = Date.now();
  const { engine } = await openTopic({ timestampType: "log-append" });
  append(engine, [0, 3]);
  engine.poll();
  await engine.fetch(0, 0, 4_096, ({ timestampMs }) => {
    expect(timestampMs).toBeGreaterThanOrEqual(before);
    expect(timestampMs).toBeLessThanOrEqual(Date.now());
  });
});
