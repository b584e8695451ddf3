import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, it, onTestFinished } from "vitest";
import { Message, type PartitionHandle, type StorageEngine, type WriterTicket } from "../engine.js";
import { LogFailedError, WritersAttachedError } from "../errors.js";
import { heap } from "../heap.js";
import { loadEngine } from "../registry.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { type AppendingThreadData, nothingTold, type Told, tellingListener, valueAt } from "./appending-thread.js";
import { LOCK_KINDS } from "./lock.js";

const PARTITIONS = 5;
/** Small files, windows, batches and index intervals: what the owner has to do is due every few messages. */
const SMALL: Record<string, Record<string, unknown>> = {
  commitlog: { segmentSizeBytes: 262_144, mapWindowBytes: 65_536, maxMessageSizeBytes: 8_192 },
  "partitioned-log": { segmentSizeBytes: 65_536, batchSizeBytes: 1_024, bufferMemoryBytes: 1 << 20 },
};
const ENGINES = Object.keys(SMALL);

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "logduel-writers-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

interface Opened {
  readonly engine: StorageEngine;
  readonly partitions: readonly PartitionHandle[];
  /** What the engine's own listener heard. */
  readonly told: Told;
}

async function open(
  name: string,
  directory: string,
  settings: Record<string, unknown> = {},
  storage = new DiskStorage(),
): Promise<Opened> {
  const told = nothingTold();
  const definition = await loadEngine(name);
  const engine = await definition.open({
    ...{ directory, storage, heap, listener: tellingListener(told) },
    settings: { ...SMALL[name], ...settings },
  });
  return { engine, partitions: await engine.createTopic("t", PARTITIONS), told };
}

/** Starts a thread that appends through a writer of its own, and ends. */
function startWriter({ engine, partitions }: Opened, data: Partial<AppendingThreadData> = {}) {
  const worker = new Worker(new URL("./appending-thread.js", import.meta.url));
  const ticket = engine.openWriter!(worker);
  const defaults = { partitions, name: "a", messageCount: 1_000, maxInFlight: 200, seed: 1 };
  worker.postMessage({ ...defaults, ...data, ticket } satisfies AppendingThreadData);
  const told = once(worker, "message").then(([message]) => message as Told);
  return { worker, told };
}

/** Polls the engine until the work is done. */
async function driven<T>(engine: StorageEngine, work: Promise<T>): Promise<T> {
  let isDone = false;
  const noteDone = () => {
    isDone = true;
  };
  work.then(noteDone, noteDone);
  while (!isDone) {
    engine.poll();
    await turn();
  }
  return work;
}

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

async function readAll(engine: StorageEngine, partition: PartitionHandle): Promise<string[]> {
  const values: string[] = [];
  const { endOffset } = engine.partitionInfo(partition);
  for (let offset = 0; offset < endOffset; ) {
    const { nextOffset } = await engine.fetch(partition, offset, 65_536, (message) => {
      expect(message.offset).toBe(values.length);
      values.push(Buffer.from(message.value!).toString());
    });
    offset = nextOffset;
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
