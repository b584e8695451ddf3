import fc from "fast-check";
import { expect, it } from "vitest";
import { type EngineListener, Message, type StorageEngine } from "../engine.js";
import { CorruptDataError, OpenError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { commitlog } from "./index.js";

const ROOT = "/store";
const QUEUES = 3;
const PER_QUEUE = 40;
/** Every record ends with a checksum of all of it, and has to, so whatever is changed in it can be found. */
const SETTINGS = {
  segmentSizeBytes: 4_096,
  consumequeueFileSizeBytes: 400,
  appendPropertyCrc: true,
  forceVerifyPropertyCrc: true,
  keyIndexSlots: 50,
  keyIndexItems: 60,
};
const SILENT: EngineListener = { acknowledged() {}, failed() {} };

const spoiling = fc.record({
  /** Of which directory, which file, where in it. */
  directory: fc.constantFrom("commitlog", "consumequeue/t/0", "consumequeue/t/2"),
  file: fc.nat(),
  where: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  how: fc.constantFrom("flip a bit", "zeros from there on", "noise for 600 bytes"),
  bit: fc.nat(7),
});

it("whatever is spoilt, a message is read as it was written, or refused, or gone from the end", async () => {
  const clean = await prepare(false);
  const killed = await prepare(true);
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.boolean(),
      fc.array(spoiling, { minLength: 1, maxLength: 3 }),
      async (isKilled, isMarked, spoilings) => {
        const storage = (isKilled ? killed : clean).kill();
        if (!isMarked && !isKilled) storage.remove(`${ROOT}/clean-shutdown.json`);
        for (const { directory, file, where, how, bit } of spoilings) spoil(storage, directory, file, where, how, bit);
        let engine: StorageEngine;
        try {
          engine = await open(storage);
        } catch (error) {
          expect(error).toBeInstanceOf(OpenError);
          return;
        }
        try {
          await expectRightOrRefused(engine);
        } finally {
          await engine.close();
        }
        // What reading met that opening had trusted, the next opening finds; what was mended stays so.
        const next = await open(storage);
        try {
          await expectRightOrRefused(next);
        } finally {
          await next.close();
        }
        const again = await open(storage);
        try {
          expect(again.recovery.repairs).toEqual([]);
          await expectRightOrRefused(again);
        } finally {
          await again.close();
        }
      },
    ),
    { numRuns: 60 },
  );
});

async function prepare(isKilled: boolean): Promise<FaultyStorage> {
  const storage = new FaultyStorage();
  const engine = await open(storage);
  await engine.createTopic("t", QUEUES);
  for (let i = 0; i < PER_QUEUE; i++) {
    for (let queue = 0; queue < QUEUES; queue++) engine.append(queue, messageOf(queue, i), i);
    engine.poll();
  }
  await engine.flush();
  const image = storage.kill();
  await engine.close();
  return isKilled ? image : storage;
}

function open(storage: FaultyStorage): Promise<StorageEngine> {
  return commitlog.open({ directory: ROOT, storage, heap, settings: SETTINGS, listener: SILENT });
}

/** Every offset below the queue's end gives its own message or a CorruptDataError; appends go on behind. */
async function expectRightOrRefused(engine: StorageEngine): Promise<void> {
  for (const { handle, index, startOffset, endOffset, topic } of engine.partitions()) {
    expect(topic).toBe("t");
    expect(startOffset).toBe(0);
    expect(endOffset).toBeLessThanOrEqual(PER_QUEUE);
    for (let offset = 0; offset < endOffset; offset++) {
      try {
        await engine.fetch(handle, offset, 1, (message) => {
          expect(message.offset).toBe(offset);
          expect(message.timestampMs).toBe(offset);
          expect(Buffer.from(message.value!).toString()).toBe(textOf(index, offset));
          expect(Buffer.from(message.key!).toString()).toBe(`key-${offset}`);
        });
      } catch (error) {
        expect(error).toBeInstanceOf(CorruptDataError);
      }
    }
  }
}

function messageOf(queue: number, offset: number): Message {
  return new Message(heap, Buffer.from(textOf(queue, offset)), Buffer.from(`key-${offset}`));
}

function textOf(queue: number, offset: number): string {
  return `queue ${queue} message ${offset} `.repeat(1 + ((queue + offset) % 7));
}

function spoil(
  storage: FaultyStorage,
  directory: string,
  fileIndex: number,
  where: number,
  how: string,
  bit: number,
): void {
  const names = storage.list(`${ROOT}/${directory}`).map(({ name }) => name);
  if (names.length === 0) return; // killed before its first unit was written
  const path = `${ROOT}/${directory}/${names[fileIndex % names.length]}`;
  const content = storage.readAll(path).slice();
  const at = Math.floor(where * content.length);
  if (how === "flip a bit") content[at]! ^= 1 << bit;
  else if (how === "zeros from there on") content.fill(0, at);
  else for (let i = at; i < Math.min(at + 600, content.length); i++) content[i] = (i * 37 + bit) ^ (i >> 3);
  storage.open(path, "write").write(content, 0, content.length, 0);
}
