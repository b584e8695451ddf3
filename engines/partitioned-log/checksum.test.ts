import { afterEach, expect, test } from "vitest";
import { CRC_AT } from "../codec/record-batch.js";
import { CorruptDataError, OpenError } from "../errors.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { CLEAN_SHUTDOWN_MARKER } from "./names.js";
import { appendBatches, DIRECTORY, expected, type Opened, open, pathOf, put, read, readAll } from "./testing.js";

/** Batches of four messages of 100 bytes. */
const BATCH_BYTES = 61 + 4 * 109;
const WITHOUT = { checksum: false, indexIntervalBytes: 400 };

let opened: Opened | undefined;
afterEach(async () => {
  await opened?.engine.close();
  opened = undefined;
});

async function written(settings: Record<string, unknown>, storage = new FaultyStorage()): Promise<FaultyStorage> {
  const { engine } = await open(storage, settings);
  await engine.createTopic("t", 1);
  appendBatches(engine, 0, [0, 16]);
  await engine.close();
  return storage;
}

test("without checksums the bytes are the same but for the checksum, which is zero", async () => {
  const [without, withThem] = [await written(WITHOUT), await written({ indexIntervalBytes: 400 })];
  const log = read(withThem, pathOf(0, ".log"));
  for (let at = CRC_AT; at < log.length; at += BATCH_BYTES) {
    expect(log.readUInt32BE(at)).not.toBe(0);
    log.writeUInt32BE(0, at);
  }
  expect(read(without, pathOf(0, ".log"))).toEqual(log);
  for (const suffix of [".index", ".timeindex"]) {
    expect(read(without, pathOf(0, suffix))).toEqual(read(withThem, pathOf(0, suffix)));
  }
});

test("without checksums a log is read back, recovered and gone on with, whether it has some or not", async () => {
  for (const settings of [WITHOUT, { checksum: true }]) {
    const storage = await written(settings);
    storage.remove(`${DIRECTORY}/${CLEAN_SHUTDOWN_MARKER}`);
    opened = await open(storage, WITHOUT);
    expect(opened.engine.recovery).toMatchObject({ wasCleanShutdown: false, truncatedBytes: 0, repairs: [] });
    appendBatches(opened.engine, 0, [16, 20]);
    expect(await readAll(opened.engine, 0)).toEqual(expected(0, 20));
    await opened.engine.close();
  }
});

test("without checksums a flipped bit in a value is not seen, and records without form are cut after a crash", async () => {
  const storage = await written(WITHOUT);
  storage.remove(`${DIRECTORY}/${CLEAN_SHUTDOWN_MARKER}`);
  const log = read(storage, pathOf(0, ".log"));
  log[BATCH_BYTES + 100]! ^= 1; // in the first value of the second batch
  log.fill(0, 3 * BATCH_BYTES + 100); // what a torn write leaves
  put(storage, pathOf(0, ".log"), log);
  opened = await open(storage, WITHOUT);
  expect(opened.engine.recovery.truncatedBytes).toBe(BATCH_BYTES);
  const values = await readAll(opened.engine, 0);
  expect(values).toHaveLength(12);
  expect(values.filter(({ value }, i) => value !== expected(0, 12)[i]!.value)).toHaveLength(1);
});

test.each([true, false])(
  "a log without checksums is refused, and left as it is, where they are asked for (clean: %s)",
  async (wasClean) => {
    const storage = await written(WITHOUT);
    if (!wasClean) storage.remove(`${DIRECTORY}/${CLEAN_SHUTDOWN_MARKER}`);
    const before = read(storage, pathOf(0, ".log"));
    const failure = await open(storage).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OpenError);
    expect((failure as Error).message).toMatch(
      /0\.log holds a record batch written without a checksum at byte 0\. Open .* "checksum": false/,
    );
    expect(read(storage, pathOf(0, ".log"))).toEqual(before);
    opened = await open(storage, WITHOUT);
    expect(opened.engine.recovery.wasCleanShutdown).toBe(wasClean);
    expect(await readAll(opened.engine, 0)).toEqual(expected(0, 16));
  },
);

test("a directory that is refused after another partition was mended is not taken for closed cleanly", async () => {
  const storage = await written({ indexIntervalBytes: 400 });
  opened = await open(storage, WITHOUT);
  await opened.engine.createTopic("t", 2);
  appendBatches(opened.engine, 1, [0, 16]);
  await opened.engine.close();
  storage.remove(pathOf(0, ".index"));
  await expect(open(storage)).rejects.toThrow(OpenError);
  opened = await open(storage, WITHOUT);
  expect(opened.engine.recovery.wasCleanShutdown).toBe(false);
  expect(await readAll(opened.engine, 1)).toEqual(expected(0, 16));
});

test("a segment without checksums that opening trusts unread says so when it is fetched", async () => {
  const storage = await written({ ...WITHOUT, segmentSizeBytes: 3 * BATCH_BYTES });
  opened = await open(storage, WITHOUT);
  appendBatches(opened.engine, 0, [16, 40]);
  await opened.engine.close();
  const cleanAgain = await written({ segmentSizeBytes: 3 * BATCH_BYTES });
  for (const suffix of [".log", ".index", ".timeindex"]) {
    put(cleanAgain, pathOf(0, suffix), read(storage, pathOf(0, suffix)));
  }
  opened = await open(cleanAgain);
  await expect(opened.engine.fetch(0, 0, 1_000, () => {})).rejects.toThrow(CorruptDataError);
  await expect(opened.engine.fetch(0, 0, 1_000, () => {})).rejects.toThrow(/written without a checksum/);
  expect(await readAll(opened.engine, 0, 12)).toEqual(expected(12, 16));
});
