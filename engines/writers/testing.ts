/** What the tests of several writers share. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished } from "vitest";
import type { PartitionHandle, StorageEngine } from "../engine.js";
import { heap } from "../heap.js";
import { loadEngine } from "../registry.js";
import { DiskStorage } from "../storage/disk-storage.js";
import type { Storage } from "../storage/storage.js";
import { type AppendingThreadData, nothingTold, type Told, tellingListener } from "./appending-thread.js";

export const PARTITIONS = 5;
/** Small files, windows, batches and index intervals: what the owner has to do is due every few messages. */
export const SMALL: Record<string, Record<string, unknown>> = {
  commitlog: { segmentSizeBytes: 262_144, mapWindowBytes: 65_536, maxMessageSizeBytes: 8_192 },
  "partitioned-log": { segmentSizeBytes: 65_536, batchSizeBytes: 1_024, bufferMemoryBytes: 1 << 20 },
};
export const ENGINES = Object.keys(SMALL);

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "logduel-writers-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export interface Opened {
  readonly engine: StorageEngine;
  readonly partitions: readonly PartitionHandle[];
  /** What the engine's own listener heard. */
  readonly told: Told;
}

export async function open(
  name: string,
  directory: string,
  settings: Record<string, unknown> = {},
  storage: Storage = new DiskStorage(),
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
export function startWriter({ engine, partitions }: Opened, data: Partial<AppendingThreadData> = {}) {
  const worker = new Worker(new URL("./appending-thread.js", import.meta.url));
  const ticket = engine.openWriter!(worker);
  const defaults = { partitions, name: "a", messageCount: 1_000, maxInFlight: 200, seed: 1 };
  worker.postMessage({ ...defaults, ...data, ticket } satisfies AppendingThreadData);
  const told = once(worker, "message").then(([message]) => message as Told);
  return { worker, told };
}

/** Polls the engine until the work is done. */
export async function driven<T>(engine: StorageEngine, work: Promise<T>): Promise<T> {
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

export async function readAll(engine: StorageEngine, partition: PartitionHandle): Promise<string[]> {
  const values: string[] = [];
  const { startOffset, endOffset } = engine.partitionInfo(partition);
  for (let offset = startOffset; offset < endOffset; ) {
    const { nextOffset } = await engine.fetch(partition, offset, 65_536, (message) => {
      expect(message.offset).toBe(startOffset + values.length);
      values.push(Buffer.from(message.value!).toString());
    });
    offset = nextOffset;
  }
  return values;
}
