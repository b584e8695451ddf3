import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { CorruptDataError, OffsetOutOfRangeError } from "../errors.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { appendBatches, expected, type Opened, open, pathOf, put, read, readAll } from "./testing.js";

let opened: Opened | undefined;
afterEach(async () => {
  await opened?.engine.close();
  opened = undefined;
});

async function written(settings: Record<string, unknown>, messageCount: number, perBatch = 4): Promise<FaultyStorage> {
  const storage = new FaultyStorage();
  opened = await open(storage, settings);
  await opened.engine.createTopic("t", 1);
  appendBatches(opened.engine, 0, [0, messageCount], perBatch);
  return storage;
}

/** Batches of four messages of 100 bytes take 497 bytes. */
const BATCH_BYTES = 497;

describe("a fetch", () => {
  test("ends before the batch that would pass its size, but gives one batch at least", async () => {
    await written({}, 40);
    const { engine } = opened!;
    const fetch = async (from: number, maxBytes: number) => {
      let first = -1;
      const outcome = await engine.fetch(0, from, maxBytes, ({ offset }) => {
        if (first === -1) first = offset;
      });
      expect(first).toBe(from);
      return outcome;
    };
    expect(await fetch(0, 1)).toEqual({ nextOffset: 4, messageCount: 4, sizeBytes: BATCH_BYTES });
    expect(await fetch(0, 2 * BATCH_BYTES - 1)).toEqual({ nextOffset: 4, messageCount: 4, sizeBytes: BATCH_BYTES });
    expect(await fetch(0, 2 * BATCH_BYTES)).toEqual({ nextOffset: 8, messageCount: 8, sizeBytes: 2 * BATCH_BYTES });
    expect(await fetch(6, BATCH_BYTES)).toEqual({ nextOffset: 8, messageCount: 2, sizeBytes: BATCH_BYTES });
    expect(await fetch(6, 1 << 30)).toEqual({ nextOffset: 40, messageCount: 34, sizeBytes: 9 * BATCH_BYTES });
  });

  test("spans no segments", async () => {
    await written({ segmentSizeBytes: 3 * BATCH_BYTES }, 32);
    const nexts: number[] = [];
    for (let at = 0; at < 32; at = nexts.at(-1)!) {
      nexts.push((await opened!.engine.fetch(0, at, 1 << 30, () => {})).nextOffset);
    }
    expect(nexts).toEqual([12, 24, 32]);
  });

  test("is refused outside the log", async () => {
    await written({}, 8);
    for (const offset of [-1, 9, 1e12, Number.NaN]) {
      await expect(opened!.engine.fetch(0, offset, 1, () => {})).rejects.toThrow(OffsetOutOfRangeError);
    }
    expect(await opened!.engine.fetch(0, 8, 1, () => {})).toEqual({ nextOffset: 8, messageCount: 0, sizeBytes: 0 });
  });

  test("sees what was written, not what waits in a batch", async () => {
    await written({ lingerMs: 60_000 }, 0);
    const { engine } = opened!;
    appendBatches(engine, 0, [0, 3]);
    expect(engine.partitionInfo(0).endOffset).toBe(0);
    expect(await readAll(engine, 0)).toEqual([]);
    await engine.flush();
    expect(await readAll(engine, 0)).toEqual(expected(0, 3));
  });

  test("is not confused by a visitor that throws", async () => {
    await written({}, 8);
    const { engine } = opened!;
    const visit = () => {
      throw new Error("enough");
    };
    await expect(engine.fetch(0, 0, 1, visit)).rejects.toThrow("enough");
    expect(await readAll(engine, 0)).toEqual(expected(0, 8));
  });
});

test("from any offset and by any size a fetch gives what follows, in order", async () => {
  await written({ segmentSizeBytes: 5_000, indexIntervalBytes: 300, batchSizeBytes: 900 }, 300, 7);
  const { engine } = opened!;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 1, max: 6_000 }), async (from, maxBytes) => {
      expect(await readAll(engine, 0, from, maxBytes)).toEqual(expected(from, 300));
    }),
    { numRuns: 100 },
  );
});

test("more ended segments are read than stay open", async () => {
  const storage = await written({ segmentSizeBytes: 1_024, indexIntervalBytes: 100 }, 1_200);
  const { engine } = opened!;
  await engine.flush();
  const logs = storage.list("/data/t-0").filter(({ name }) => name.endsWith(".log"));
  expect(logs.length).toBeGreaterThan(64);
  for (let round = 0; round < 2; round++) expect(await readAll(engine, 0)).toEqual(expected(0, 1_200));
});

test("any flipped bit in an open log is reported or harmless, never wrong data", async () => {
  const storage = await written({ segmentSizeBytes: 3 * BATCH_BYTES, indexIntervalBytes: 400 }, 32);
  const { engine } = opened!;
  const all = expected(0, 32);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(0, 12, 24),
      fc.nat(),
      fc.integer({ min: 0, max: 31 }),
      fc.constantFrom(1, 600, 1 << 20),
      async (base, bit, from, maxBytes) => {
        const path = pathOf(base, ".log");
        const intact = read(storage, path);
        const damaged = Buffer.from(intact);
        const at = (bit >> 3) % damaged.length;
        damaged[at]! ^= 1 << (bit & 7);
        overwrite(storage, path, damaged);
        const found: { offset: number; value: string }[] = [];
        let isReported = false;
        try {
          for (let next = from; next < 32; ) {
            const outcome = await engine.fetch(0, next, maxBytes, ({ offset, value }) => {
              found.push({ offset, value: Buffer.from(value!).toString() });
            });
            next = outcome.nextOffset;
          }
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptDataError);
          expect((error as CorruptDataError).file).toBe(path);
          isReported = true;
        } finally {
          overwrite(storage, path, intact);
        }
        const wanted = all.slice(from);
        expect(found).toEqual(isReported ? wanted.slice(0, found.length) : wanted);
        // A damaged batch is only ever passed over if all that was asked for lies behind it.
        const inBatch = at % BATCH_BYTES;
        const lastOffset = base + 4 * Math.floor(at / BATCH_BYTES) + 3;
        if (lastOffset >= from && !(inBatch >= 12 && inBatch < 16)) expect(isReported).toBe(true);
      },
    ),
    { numRuns: 400 },
  );
});

function overwrite(storage: FaultyStorage, path: string, content: Buffer): void {
  const file = storage.open(path, "write");
  file.write(content, 0, content.length, 0);
  file.close();
}

test("a log that shrank under the engine is reported", async () => {
  const storage = await written({}, 16);
  put(storage, pathOf(0, ".log"), read(storage, pathOf(0, ".log")).subarray(0, BATCH_BYTES + 30));
  const { engine } = opened!;
  expect((await engine.fetch(0, 0, 1 << 20, () => {})).nextOffset).toBe(4);
  await expect(engine.fetch(0, 4, 1 << 20, () => {})).rejects.toThrow(CorruptDataError);
});
