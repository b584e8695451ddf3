import { type EngineListener, Message, type PartitionHandle, type StorageEngine } from "../engine.js";
import { heap } from "../heap.js";
import type { Storage } from "../storage/storage.js";
import { partitionedLog } from "./index.js";

export const DIRECTORY = "/data";
export const START_MS = 1_700_000_000_000;

/** A partitioned log under test, and what its listener heard. */
export interface Opened {
  readonly engine: StorageEngine;
  readonly acknowledged: { partition: PartitionHandle; baseOffset: number; messageCount: number }[];
  readonly failed: { partition: PartitionHandle; messageCount: number; error: Error }[];
}

export async function open(storage: Storage, settings: Record<string, unknown> = {}): Promise<Opened> {
  const acknowledged: Opened["acknowledged"] = [];
  const failed: Opened["failed"] = [];
  const listener: EngineListener = {
    acknowledged: (partition, baseOffset, messageCount) => acknowledged.push({ partition, baseOffset, messageCount }),
    failed: (partition, messageCount, error) => failed.push({ partition, messageCount, error }),
  };
  const engine = await partitionedLog.open({ directory: DIRECTORY, storage, heap, settings, listener });
  return { engine, acknowledged, failed };
}

/** The value of message `i`: `sizeBytes` bytes that tell messages apart. */
export function payload(i: number, sizeBytes = 100): Buffer {
  return Buffer.alloc(sizeBytes, `${i};`);
}

export function message(i: number, sizeBytes = 100): Message {
  return new Message(heap, payload(i, sizeBytes));
}

/** Appends messages `from` to `to - 1` in batches of `perBatch`, each written at once. */
export function appendBatches(
  engine: StorageEngine,
  partition: PartitionHandle,
  [from, to]: readonly [number, number],
  perBatch = 4,
  sizeBytes = 100,
): void {
  for (let i = from; i < to; i++) {
    engine.append(partition, message(i, sizeBytes), START_MS + i);
    if ((i + 1 - from) % perBatch === 0) engine.poll();
  }
  engine.poll();
}

/** Offsets and values from `fromOffset` to the end. @throws CorruptDataError */
export async function readAll(
  engine: StorageEngine,
  partition: PartitionHandle,
  fromOffset = engine.partitionInfo(partition).startOffset,
  maxBytes = 4_096,
): Promise<{ offset: number; value: string }[]> {
  const read: { offset: number; value: string }[] = [];
  for (let at = fromOffset; ; ) {
    const { nextOffset, messageCount } = await engine.fetch(partition, at, maxBytes, ({ offset, value }) => {
      read.push({ offset, value: Buffer.from(value!).toString() });
    });
    if (messageCount === 0) return read;
    at = nextOffset;
  }
}

/** What `readAll` gives for messages `from` to `to - 1` appended at those offsets. */
export function expected(from: number, to: number, sizeBytes = 100): { offset: number; value: string }[] {
  return Array.from({ length: to - from }, (_, i) => ({
    offset: from + i,
    value: payload(from + i, sizeBytes).toString(),
  }));
}

/** Path of a segment's file of partition 0 of the topic `t`. */
export function pathOf(baseOffset: number, suffix: string): string {
  return `${DIRECTORY}/t-0/${String(baseOffset).padStart(20, "0")}${suffix}`;
}

export function read(storage: Storage, path: string): Buffer {
  return Buffer.from(storage.readAll(path));
}

/** Puts `content` at `path`, whatever was there. */
export function put(storage: Storage, path: string, content: Uint8Array): void {
  const file = storage.open(path, storage.exists(path) ? "write" : "create");
  file.truncate(0);
  if (content.byteLength > 0) file.write(content, 0, content.byteLength, 0);
  file.close();
}

export function fileNames(storage: Storage, directory = `${DIRECTORY}/t-0`): string[] {
  return storage.list(directory).map((entry) => entry.name);
}
