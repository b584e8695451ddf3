import { expect, it } from "vitest";
import { Message } from "../engine.js";
import { ClosedError, OffsetOutOfRangeError, UnrepresentableError } from "../errors.js";
import { heap } from "../heap.js";
import { InvariantError } from "../invariant.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { nullEngine } from "./null.js";

const message = new Message(heap, Buffer.from("x"));

async function open() {
  const heard: string[] = [];
  const storage = new FaultyStorage();
  storage.fault = ({ operation }) => expect.unreachable(`the null engine calls ${operation}`);
  const engine = await nullEngine.open({
    directory: "/nowhere",
    storage,
    heap,
    settings: { flush: "sync", preallocate: true },
    listener: {
      acknowledged: (partition, baseOffset, count) => {
        heard.push(`${partition}: ${baseOffset}+${count}`);
      },
      failed: () => expect.unreachable(),
    },
  });
  return { engine, heard };
}

it("acknowledges at the next poll, cumulatively, and touches no storage", async () => {
  const { engine, heard } = await open();
  expect(engine.durability).toBe("D0");
  const [a, b] = await engine.createTopic("t", 2);
  expect(engine.append(a!, message, 0)).toBe(true);
  engine.append(b!, message, 0);
  engine.append(a!, message, 0);
  expect(heard).toEqual([]);
  engine.poll();
  engine.append(a!, message, 0);
  await engine.flush();
  engine.append(b!, message, 0);
  const [, , c] = await engine.createTopic("t", 3);
  engine.append(c!, message, 0);
  await engine.close();
  expect(heard).toEqual(["0: 0+2", "1: 0+1", "0: 2+1", "1: 1+1", "2: 0+1"]);
  expect(engine.counters()).toMatchObject({ appendedMessages: 6, acknowledgedMessages: 6, writeCalls: 0, logBytes: 0 });
});

it("keeps nothing: a partition starts where it ends", async () => {
  const { engine } = await open();
  const [handle] = await engine.createTopic("t", 1);
  engine.append(handle!, message, 0);
  engine.poll();
  expect(engine.partitions()).toEqual([{ handle: 0, topic: "t", index: 0, startOffset: 1, endOffset: 1 }]);
  await expect(engine.fetch(handle!, 0, 100, () => {})).rejects.toThrow(OffsetOutOfRangeError);
  expect(await engine.fetch(handle!, 1, 100, () => expect.unreachable())).toMatchObject({ messageCount: 0 });
});

it("refuses what an engine refuses", async () => {
  const { engine } = await open();
  await expect(engine.createTopic("../x", 1)).rejects.toThrow(UnrepresentableError);
  await expect(engine.createTopic("t", 0)).rejects.toThrow(UnrepresentableError);
  expect(() => engine.append(0, message, 0)).toThrow(InvariantError);
  await engine.close();
  await engine.close();
  expect(() => engine.append(0, message, 0)).toThrow(ClosedError);
  await expect(
    nullEngine.open({ ...({} as Parameters<typeof nullEngine.open>[0]), settings: { batch: 1 } }),
  ).rejects.toThrow(/batch/);
});
