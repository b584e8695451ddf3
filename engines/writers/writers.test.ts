import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { Message, type PartitionHandle, type WriterTicket } from "../engine.js";
import { LogFailedError, WritersAttachedError } from "../errors.js";
import { heap } from "../heap.js";
import { loadEngine } from "../registry.js";
import { killTrial } from "../torture/kill.js";
import { type Told, valueAt } from "./appending-thread.js";
import { LOCK_KINDS } from "./lock.js";
import { driven, ENGINES, open, PARTITIONS, readAll, SMALL, startWriter, temporaryDirectory } from "./testing.js";

/** Whose message each offset holds, by the acknowledgements: the writers' n-th messages got the n-th acknowledged offsets. */
function offsetsByAcknowledgement(tolds: Map<string, Told>, partition: PartitionHandle): Map<number, string> {
  const values = new Map<number, string>();
  for (const [name, { acknowledged }] of tolds) {
    let i = 0;
    for (const [baseOffset, messageCount] of acknowledged[partition] ?? []) {
      for (let offset = baseOffset; offset < baseOffset + messageCount; offset++) {
        expect(values.has(offset)).toBe(false);
        values.set(offset, valueAt(name, i++).toString());
      }
    }
  }
  return values;
}

describe.each(ENGINES)("%s with several writers", (name) => {
  describe.each(LOCK_KINDS)("under a %s lock", (lock) => {
    it.each([1, 2, 4, 8].flatMap((count) => (["async", "sync"] as const).map((flush) => ({ count, flush }))))(
      "keeps every message of $count threads and the owner once, in each writer's order, without a gap ($flush)",
      async ({ count, flush }) => {
        const directory = temporaryDirectory();
        const opened = await open(name, directory, { flush, lock });
        const { engine, partitions } = opened;
        const messageCount = Math.ceil(3_600 / (count + 1));
        const writers = Array.from({ length: count }, (_, i) =>
          startWriter(opened, { name: `w${i}`, seed: i, messageCount }),
        );
        const work = Promise.all(writers.map(({ told }) => told));
        let own = 0;
        while (own < messageCount) {
          const partition = partitions[own % PARTITIONS]!;
          const message = new Message(heap, valueAt("own", Math.floor(own / PARTITIONS)));
          while (!engine.append(partition, message, own)) engine.poll();
          if (++own % 16 === 0) {
            engine.poll();
            await turn();
          }
        }
        const tolds = new Map((await driven(engine, work)).map((told, i) => [`w${i}`, told]));
        await engine.flush();
        tolds.set("own", opened.told);
        expect([...tolds.values()].map(({ error }) => error).join()).toBe(",".repeat(count));
        const total = messageCount * (count + 1);
        expect(engine.counters()).toMatchObject({ appendedMessages: total, acknowledgedMessages: total });
        await engine.close();

        const reopened = await open(name, directory, { flush, lock });
        expect(reopened.engine.recovery).toMatchObject({ wasCleanShutdown: true, repairs: [], truncatedBytes: 0 });
        let found = 0;
        for (const partition of partitions) {
          const expected = offsetsByAcknowledgement(tolds, partition);
          const values = await readAll(reopened.engine, partition);
          expect(values).toEqual(Array.from({ length: expected.size }, (_, offset) => expected.get(offset)));
          found += values.length;
        }
        expect(found).toBe(total);
        await reopened.engine.close();
      },
    );
  });

  it.each([["sync"], ["async"], [{ every: { messages: 20 } }]])(
    "has every acknowledged message after kill -9 of four threads under %j, in several lives",
    async (flush) => {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const { wrongs } = await killTrial({
        ...{ engine: name, definition: await loadEngine(name), directory: temporaryDirectory(), seed },
        settings: { ...SMALL[name], flush },
        ...{ hasChecksums: true, writerCount: 3 },
      });
      expect({ seed, wrongs }).toEqual({ seed, wrongs: [] });
    },
  );

  it("does not close while a writer is open, and says so", async () => {
    const opened = await open(name, temporaryDirectory());
    const { engine } = opened;
    const { worker, told } = startWriter(opened, { messageCount: 0 });
    await expect(engine.close()).rejects.toThrow(WritersAttachedError);
    await driven(engine, told);
    await engine.close();
    await worker.terminate();
  });

  it("goes on without a writer whose thread ended between two appends", async () => {
    const opened = await open(name, temporaryDirectory());
    const { engine, partitions } = opened;
    const worker = new Worker("", { eval: true });
    engine.openWriter!(worker);
    await once(worker, "exit");
    engine.append(partitions[0]!, new Message(heap, valueAt("own", 0)), 0);
    await engine.flush();
    expect(opened.told.acknowledged[partitions[0]!]).toEqual([[0, 1]]);
    await engine.close();
  });

  it("fails the log, and hangs nobody, when a thread ends with a lock held", async () => {
    const directory = temporaryDirectory();
    const opened = await open(name, directory);
    const { engine, partitions } = opened;
    engine.append(partitions[0]!, new Message(heap, valueAt("own", 0)), 0);
    await engine.flush();
    const worker = new Worker(DIES_WITH_LOCK, { eval: true });
    const ticket = engine.openWriter!(worker) as WriterTicket & { writer: number; tail?: number; blocks?: number };
    // A lock's word comes first in what the writers of a log or a partition share.
    const word = (ticket.tail ?? ticket.blocks!) / 4;
    worker.postMessage({ heapModule: new URL("../heap.js", import.meta.url).href, word, holder: ticket.writer + 1 });
    await once(worker, "exit");
    const appendOne = () => {
      engine.append(partitions[0]!, new Message(heap, valueAt("own", 1)), 1);
      engine.poll();
    };
    expect(() => {
      appendOne();
      if (opened.told.failedCount > 0) throw new LogFailedError(opened.told.error);
    }).toThrow(/ended in the middle of/);
    expect(appendOne).toThrow(LogFailedError);
    await engine.close();

    const reopened = await open(name, directory);
    expect(reopened.engine.recovery.wasCleanShutdown).toBe(false);
    expect(await readAll(reopened.engine, partitions[0]!)).toEqual([valueAt("own", 0).toString()]);
    await reopened.engine.close();
  });
});

/** Takes a lock as its writer would, and ends. */
const DIES_WITH_LOCK = `
  require("node:worker_threads").parentPort.once("message", async ({ heapModule, word, holder }) => {
    const { heap } = await import(heapModule);
    Atomics.store(heap.words, word, holder * 2);
    process.exit(0);
  });`;
