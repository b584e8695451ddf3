import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { UnsupportedError } from "../errors.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { Segment } from "./segment.js";
import { settingsSchema } from "./settings.js";
import { appendBatches, expected, type Opened, open, readAll } from "./testing.js";

const KIB = 1_024;

let opened: Opened | undefined;
afterEach(async () => {
  await opened?.engine.close();
  opened = undefined;
});

/** A storage that writes down what it is advised: file name, advice, position, size. */
function advised(): { storage: FaultyStorage; advices: string[] } {
  const storage = new FaultyStorage();
  const advices: string[] = [];
  const openFile = storage.open.bind(storage);
  storage.open = (name, mode) => {
    const file = openFile(name, mode);
    const advise = file.advise.bind(file);
    file.advise = (advice, positionBytes, sizeBytes) => {
      advise(advice, positionBytes, sizeBytes);
      advices.push(`${path.basename(name)} ${advice} ${positionBytes} ${sizeBytes}`);
    };
    return file;
  };
  return { storage, advices };
}

async function openTopic(settings: Record<string, unknown>, storage: FaultyStorage): Promise<Opened["engine"]> {
  opened = await open(storage, settings);
  await opened.engine.createTopic("t", 1);
  return opened.engine;
}

test("nothing is advised by default", async () => {
  const { storage, advices } = advised();
  const engine = await openTopic({ flush: "sync", segmentSizeBytes: 4 * KIB }, storage);
  appendBatches(engine, 0, [0, 80]);
  await engine.flush();
  await engine.close();
  expect(advices).toEqual([]);
});

test("what was synced is dropped, each range once, and ended segments whole", async () => {
  const { storage, advices } = advised();
  const engine = await openTopic({ pageCacheAdvice: "drop-behind", segmentSizeBytes: 256 * KIB }, storage);
  for (let round = 0; round < 3; round++) {
    appendBatches(engine, 0, [70 * round, 70 * round + 70], 10, KIB);
    await engine.flush();
  }
  const log = `${"0".repeat(20)}.log`;
  expect(advices).toEqual([`${log} drop 0 65536`, `${log} drop 65536 65536`, `${log} drop 131072 65536`]);
  appendBatches(engine, 0, [210, 300], 10, KIB);
  await engine.flush();
  expect(advices).toContain(`${log} drop 0 0`);
  expect(await readAll(engine, 0, 0, 64 * KIB)).toEqual(expected(0, 300, KIB));
});

test("an ended segment is dropped also when a reader closes it while it is synced", async () => {
  const { storage, advices } = advised();
  storage.makeDirectory("/log");
  const segment = new Segment(storage, settingsSchema.parse({ pageCacheAdvice: "drop-behind" }), "/log", 0);
  segment.create();
  segment.unload();
  segment.openForReading();
  const synced = segment.syncAll();
  segment.unload();
  await synced;
  expect(advices).toEqual([`${"0".repeat(20)}.log drop 0 0`]);
});

test.each([
  ["random-reads", "random"],
  ["sequential-reads", "sequential"],
])("with %s every log that is read is advised so when it is opened", async (pageCacheAdvice, advice) => {
  const { storage, advices } = advised();
  const engine = await openTopic({ pageCacheAdvice, segmentSizeBytes: 4 * KIB }, storage);
  appendBatches(engine, 0, [0, 80]);
  advices.length = 0;
  await readAll(engine, 0);
  expect(advices.length).toBeGreaterThan(1);
  expect(new Set(advices.map((each) => each.split(".log ")[1]))).toEqual(new Set([`${advice} 0 0`]));
});

test("a platform that takes no advice is refused, unless none is given", async () => {
  const storage = Object.assign(new FaultyStorage(), { takesAdvice: false });
  await expect(open(storage, { pageCacheAdvice: "drop-behind" })).rejects.toThrow(UnsupportedError);
  opened = await open(storage);
});
