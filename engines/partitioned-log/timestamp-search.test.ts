import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Message, type PartitionHandle, type StorageEngine } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { DIRECTORY, open, pathOf, payload, put, read } from "./testing.js";

const SMALL = { segmentSizeBytes: 1_024, indexIntervalBytes: 300 };

let storage: FaultyStorage;
let engine: StorageEngine;
let partition: PartitionHandle;

beforeEach(async () => {
  storage = new FaultyStorage();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await engine.close();
});

async function reopen(settings: Record<string, unknown>): Promise<void> {
  ({ engine } = await open(storage, settings));
  [partition] = (await engine.createTopic("t", 1)) as [PartitionHandle];
}

/** Appends a message for each timestamp, so many to a batch. */
function append(timestamps: readonly number[], perBatch: number): void {
  for (const [i, timestampMs] of timestamps.entries()) {
    engine.append(partition, new Message(heap, payload(i, 30)), timestampMs);
    if ((i + 1) % perBatch === 0) engine.poll();
  }
  engine.poll();
}

/** The obvious way: from the start, message by message. */
async function slowly(timestampMs: number): Promise<number> {
  const { startOffset, endOffset } = engine.partitionInfo(partition);
  let found = endOffset;
  for (let at = startOffset; at < endOffset; ) {
    const { nextOffset } = await engine.fetch(partition, at, 1_000, (message) => {
      if (message.timestampMs >= timestampMs) found = Math.min(found, message.offset);
    });
    at = nextOffset;
  }
  return found;
}

/** Asks for every timestamp that there is, and for those beside it. */
async function expectRight(timestamps: readonly number[]): Promise<void> {
  const asked = new Set(timestamps.flatMap((each) => [each - 1, each, each + 1]));
  for (const each of [...asked, 0, Number.MAX_SAFE_INTEGER]) {
    expect([each, await engine.offsetForTimestamp!(partition, each)]).toEqual([each, await slowly(each)]);
  }
}

describe("an offset by its time", () => {
  it.each(["none", "gzip"])(
    "is the oldest message's that is not older, whatever order times came in (%s)",
    async (compression) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.integer({ min: 1_000, max: 1_060 }), { minLength: 1, maxLength: 120 }),
          fc.integer({ min: 1, max: 9 }),
          fc.boolean(),
          async (timestamps, perBatch, reopens) => {
            storage = new FaultyStorage();
            await reopen({ ...SMALL, compression });
            append(timestamps, perBatch);
            if (reopens) {
              await engine.close();
              await reopen({ ...SMALL, compression });
            }
            await expectRight(timestamps);
            await engine.close();
          },
        ),
        { numRuns: 60 },
      );
    },
  );

  it("is by the time of the append under LogAppendTime", async () => {
    await reopen({ ...SMALL, timestampType: "log-append" });
    const now = vi.spyOn(Date, "now");
    const times = [5_000, 5_000, 5_010, 5_005, 5_020];
    for (const [i, nowMs] of times.entries()) {
      now.mockReturnValue(nowMs);
      append([9_000 - i, 1_000 + i, 7_000], 3);
    }
    expect(await engine.offsetForTimestamp!(partition, 5_000)).toBe(0);
    expect(await engine.offsetForTimestamp!(partition, 5_001)).toBe(6);
    expect(await engine.offsetForTimestamp!(partition, 5_011)).toBe(12);
    expect(await engine.offsetForTimestamp!(partition, 5_021)).toBe(15);
  });

  it("is never before the start offset, which may lie within a batch", async () => {
    await reopen(SMALL);
    const timestamps = Array.from({ length: 60 }, (_, i) => 1_000 + ((i * 7) % 20));
    append(timestamps, 6);
    await engine.close();
    put(storage, `${DIRECTORY}/log-start-offset-checkpoint`, Buffer.from("0\n1\nt 0 21\n"));
    await reopen(SMALL);
    expect(engine.partitionInfo(partition).startOffset).toBe(21);
    await expectRight(timestamps);
    expect(await engine.offsetForTimestamp!(partition, 0)).toBe(21);
  });

  it("is found without a time index, and with an empty one", async () => {
    await reopen(SMALL);
    const timestamps = Array.from({ length: 60 }, (_, i) => 1_000 + i);
    append(timestamps, 4);
    await engine.close();
    storage.remove(pathOf(0, ".timeindex"));
    await reopen(SMALL);
    await expectRight(timestamps);
    await engine.close();
    const second = storage.list(`${DIRECTORY}/t-0`).filter(({ name }) => name.endsWith(".timeindex"))[0]!.name;
    put(storage, `${DIRECTORY}/t-0/${second}`, Buffer.alloc(24)); // as if it had not been trimmed
    await reopen(SMALL);
    await expectRight(timestamps);
  });

  it("does not look at segments that end before that time", async () => {
    await reopen(SMALL);
    append(
      Array.from({ length: 400 }, (_, i) => 1_000 + i),
      4,
    );
    await engine.close();
    await reopen(SMALL);
    const logs: string[] = [];
    storage.fault = ({ operation, path }) => {
      if (operation === "read" && path.endsWith(".log")) logs.push(path);
      return null;
    };
    expect(await engine.offsetForTimestamp!(partition, 1_390)).toBe(390);
    expect(new Set(logs).size).toBe(1);
  });

  it("says where damage keeps it from being found", async () => {
    await reopen(SMALL);
    append(
      Array.from({ length: 60 }, (_, i) => 1_000 + i),
      4,
    );
    await engine.close();
    const log = read(storage, pathOf(0, ".log"));
    log.fill(0xff, 8, 12); // the first batch's length
    put(storage, pathOf(0, ".log"), log);
    await reopen(SMALL);
    const failure = engine.offsetForTimestamp!(partition, 1_001);
    await expect(failure).rejects.toThrow(CorruptDataError);
    await expect(failure).rejects.toMatchObject({ file: pathOf(0, ".log"), positionBytes: 0 });
    expect(await engine.offsetForTimestamp!(partition, 1_050)).toBe(50);
  });
});
