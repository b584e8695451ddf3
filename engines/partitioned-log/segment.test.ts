import { afterEach, describe, expect, test } from "vitest";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { appendBatches, fileNames, message, type Opened, open, pathOf, put, read, START_MS } from "./testing.js";

/** Kafka's worked example: batches of two records of 1000 bytes, 2079 bytes each, with these largest timestamps. */
const MAX_TIMESTAMPS = [1001, 2001, 1501, 1601, 5001, 4001, 4101, 4201, 4301, 9001, 9001, 9101];
const BATCH_SIZE_BYTES = 2_079;
/** Of four messages of 100 bytes: 2 bytes of length and 7 of framing each. */
const BATCH_OF_FOUR_BYTES = 61 + 4 * 109;

let opened: Opened | undefined;
afterEach(async () => {
  await opened?.engine.close();
  opened = undefined;
});

describe("index entries", () => {
  test("are those of Kafka's worked example, after a roll and after a close", async () => {
    for (const end of ["roll", "close"] as const) {
      const storage = new FaultyStorage();
      const { engine } = await open(storage, { segmentSizeBytes: 12 * BATCH_SIZE_BYTES, lingerMs: 60_000 });
      const [partition] = await engine.createTopic("t", 1);
      for (const maxTimestamp of MAX_TIMESTAMPS) {
        engine.append(partition!, message(0, 1_000), maxTimestamp - 1);
        engine.append(partition!, message(0, 1_000), maxTimestamp);
        await engine.flush();
      }
      if (end === "roll") {
        engine.append(partition!, message(0, 1_000), 9_200);
        await engine.flush();
        expect(fileNames(storage)).toContain("00000000000000000024.log");
      } else {
        await engine.close();
      }
      expect(read(storage, pathOf(0, ".log")).byteLength).toBe(12 * BATCH_SIZE_BYTES);
      expect(read(storage, pathOf(0, ".index")).toString("hex")).toBe(
        "000000050000103e000000090000207c0000000d000030ba00000011000040f80000001500005136",
      );
      expect(read(storage, pathOf(0, ".timeindex")).toString("hex")).toBe(
        "00000000000007d100000003000000000000138900000009000000000000232900000013000000000000238d00000017",
      );
      await engine.close();
    }
  });

  test("start again after a reopening, as in Kafka: the first batch then never gets one", async () => {
    const storage = new FaultyStorage();
    const settings = { indexIntervalBytes: 100 };
    opened = await open(storage, settings);
    const [partition] = await opened.engine.createTopic("t", 1);
    appendBatches(opened.engine, partition!, [0, 8]);
    await opened.engine.close();
    opened = await open(storage, settings);
    appendBatches(opened.engine, 0, [8, 16]);
    await opened.engine.close();
    const offsets = read(storage, pathOf(0, ".index"));
    expect([0, 8].map((at) => offsets.readInt32BE(at))).toEqual([7, 15]);
    expect(offsets.byteLength).toBe(16);
  });
});

describe("a new segment begins", () => {
  const basesAfter = async (settings: Record<string, unknown>, append: (opened: Opened) => Promise<void> | void) => {
    const storage = new FaultyStorage();
    opened = await open(storage, { lingerMs: 60_000, ...settings });
    await opened.engine.createTopic("t", 1);
    await append(opened);
    await opened.engine.flush();
    return fileNames(storage)
      .filter((name) => name.endsWith(".log"))
      .map((name) => Number.parseInt(name, 10));
  };

  test("when a batch does not fit; an exact fit does not roll", async () => {
    const size = { segmentSizeBytes: 3 * BATCH_OF_FOUR_BYTES };
    const four =
      (from: number) =>
      ({ engine }: Opened) => {
        for (let i = from; i < from + 16; i += 4) {
          for (let k = 0; k < 4; k++) engine.append(0, message(i + k), START_MS);
          engine.poll();
        }
      };
    expect(await basesAfter({ ...size, lingerMs: 0 }, four(0))).toEqual([0, 12]);
    await opened?.engine.close();
    expect(await basesAfter({ segmentSizeBytes: 3 * BATCH_OF_FOUR_BYTES - 1, lingerMs: 0 }, four(0))).toEqual([0, 8]);
  });

  test("when record time has passed, by the largest timestamp of the first batch and not by the clock", async () => {
    const append = async ({ engine }: Opened) => {
      for (const timestampMs of [
        START_MS,
        START_MS - 5_000_000,
        START_MS + 1_000,
        START_MS + 1_001,
        START_MS + 1_002,
      ]) {
        engine.append(0, message(0), timestampMs);
        await engine.flush();
      }
    };
    expect(await basesAfter({ segmentMs: 1_000 }, append)).toEqual([0, 3]);
  });

  test("by record time also after a reopening", async () => {
    const storage = new FaultyStorage();
    opened = await open(storage, { segmentMs: 1_000 });
    await opened.engine.createTopic("t", 1);
    opened.engine.append(0, message(0), START_MS);
    await opened.engine.close();
    opened = await open(storage, { segmentMs: 1_000 });
    opened.engine.append(0, message(1), START_MS + 1_000);
    await opened.engine.flush();
    opened.engine.append(0, message(2), START_MS + 1_001);
    await opened.engine.flush();
    expect(fileNames(storage).filter((name) => name.endsWith(".log"))).toHaveLength(2);
  });

  test("when an index is full; one time entry is kept for the roll", async () => {
    const append = async ({ engine }: Opened) => {
      for (let i = 0; i < 10; i++) {
        engine.append(0, message(i), START_MS + i);
        await engine.flush();
      }
    };
    // 36 bytes: 4 offset entries, 3 time entries, of which 2 come from appends. The first batch has none.
    expect(await basesAfter({ indexSizeBytes: 36, indexIntervalBytes: 0 }, append)).toEqual([0, 3, 6, 9]);
  });
});

test("a preallocated segment has its full size while it is written and its own when it has ended", async () => {
  const storage = new FaultyStorage();
  opened = await open(storage, { preallocate: true, segmentSizeBytes: 1_600 });
  await opened.engine.createTopic("t", 1);
  appendBatches(opened.engine, 0, [0, 16]);
  expect(read(storage, pathOf(0, ".log")).byteLength).toBe(3 * BATCH_OF_FOUR_BYTES);
  expect(read(storage, pathOf(12, ".log")).byteLength).toBe(1_600);
  await opened.engine.close();
  expect(read(storage, pathOf(12, ".log")).byteLength).toBe(BATCH_OF_FOUR_BYTES);
});

test("stale files of a new segment's name are removed", async () => {
  const storage = new FaultyStorage();
  opened = await open(storage, { segmentSizeBytes: 1_024 });
  await opened.engine.createTopic("t", 1);
  for (const suffix of [".log", ".index", ".timeindex", ".txnindex"])
    put(storage, pathOf(8, suffix), Buffer.alloc(99, 1));
  appendBatches(opened.engine, 0, [0, 12]);
  await opened.engine.close();
  expect(read(storage, pathOf(8, ".log")).byteLength).toBe(BATCH_OF_FOUR_BYTES);
  expect(fileNames(storage)).not.toContain("00000000000000000008.txnindex");
});
