import fc from "fast-check";
import { expect, it } from "vitest";
import type { StorageEngine } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { appendBatches, DIRECTORY, expected, open, put, read } from "./testing.js";

const PARTITIONS = 2;
const MESSAGES = 80;
const PER_BATCH = 4;
const SETTINGS = { segmentSizeBytes: 3_000, indexIntervalBytes: 400 };

const spoiling = fc.record({
  partition: fc.nat(PARTITIONS - 1),
  file: fc.nat(),
  where: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  how: fc.constantFrom("flip a bit", "zeros from there on", "noise for 300 bytes", "cut", "remove"),
  bit: fc.nat(7),
});

it("whatever is spoilt, a message is read as it was written, or refused, or gone from the end", async () => {
  const clean = await prepare(false);
  const killed = await prepare(true);
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(spoiling, { minLength: 1, maxLength: 3 }), async (isKilled, spoilings) => {
      const storage = (isKilled ? killed : clean).kill();
      const firstSpoilt = spoilings.map((each) => spoil(storage, each));
      const { engine } = await open(storage, SETTINGS);
      try {
        await expectRight(engine, firstSpoilt);
        for (const { handle, endOffset } of engine.partitions()) {
          appendBatches(engine, handle, [endOffset, endOffset + PER_BATCH]);
        }
        await engine.flush();
      } finally {
        await engine.close();
      }
      // And what was mended stays so.
      const again = await open(storage, SETTINGS);
      try {
        expect(again.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0 });
        await expectRight(again.engine, firstSpoilt);
      } finally {
        await again.engine.close();
      }
    }),
    { numRuns: 100 },
  );
});

async function prepare(isKilled: boolean): Promise<FaultyStorage> {
  const storage = new FaultyStorage();
  const { engine } = await open(storage, SETTINGS);
  await engine.createTopic("t", PARTITIONS);
  for (let partition = 0; partition < PARTITIONS; partition++) {
    appendBatches(engine, partition, [0, MESSAGES], PER_BATCH);
  }
  await engine.flush();
  const image = storage.kill();
  await engine.close();
  return isKilled ? image : storage;
}

/** Every offset gives its own message or a CorruptDataError; those of segments before all damage are there. */
async function expectRight(engine: StorageEngine, firstSpoilt: readonly [partition: number, offset: number][]) {
  for (const { handle, index, startOffset, endOffset } of engine.partitions()) {
    const soundTo = Math.min(MESSAGES, ...firstSpoilt.filter(([partition]) => partition === index).map(([, at]) => at));
    expect(endOffset).toBeGreaterThanOrEqual(soundTo);
    if (soundTo > 0) expect(startOffset).toBe(0);
    for (let offset = startOffset; offset < endOffset; offset++) {
      try {
        let visited = 0;
        await engine.fetch(handle, offset, 1, (message) => {
          const found = { offset: message.offset, value: Buffer.from(message.value!).toString() };
          expect([found]).toEqual(expected(message.offset, message.offset + 1));
          visited++;
        });
        expect(visited).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(CorruptDataError);
        expect(offset).toBeGreaterThanOrEqual(soundTo);
      }
    }
  }
}

/** @returns the partition and the first offset of the segment whose log was spoilt; an index costs no message */
function spoil(
  storage: FaultyStorage,
  { partition, file, where, how, bit }: { partition: number; file: number; where: number; how: string; bit: number },
): [partition: number, offset: number] {
  const directory = `${DIRECTORY}/t-${partition}`;
  const names = storage.list(directory).map(({ name }) => name);
  const name = names[file % names.length]!;
  const path = `${directory}/${name}`;
  const content = read(storage, path);
  const at = Math.floor(where * content.length);
  if (how === "remove") {
    storage.remove(path);
  } else if (content.length > 0) {
    if (how === "flip a bit") content[at]! ^= 1 << bit;
    else if (how === "zeros from there on") content.fill(0, at);
    else if (how !== "cut")
      for (let i = at; i < Math.min(at + 300, content.length); i++) content[i] = (i * 37 + bit) ^ (i >> 3);
    put(storage, path, how === "cut" ? content.subarray(0, at) : content);
  }
  return [partition, name.endsWith(".log") ? Number.parseInt(name, 10) : MESSAGES];
}
