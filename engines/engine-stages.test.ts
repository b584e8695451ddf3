import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { nullEngine } from "./baseline/null.js";
import { rawEngine } from "./baseline/raw.js";
import { commitlog } from "./commitlog/index.js";
import { type EngineDefinition, Message, STAGE_BROKER, STAGE_PRODUCER, type StorageEngine } from "./engine.js";
import { UnrepresentableError } from "./errors.js";
import { heap } from "./heap.js";
import { partitionedLog } from "./partitioned-log/index.js";
import { FaultyStorage } from "./storage/faulty-storage.js";

const ROOT = "/data";
const MESSAGES = 20;
const message = new Message(heap, heap.place(Buffer.alloc(900, "log")));
const tooLarge = new Message(heap, Buffer.alloc(5 << 20));
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** What the engine was seen to do within `append` and `poll`, and at which stages it said it was. */
const seen = vi.hoisted(() => ({ stage: new Int32Array(1), isWatching: false, work: new Map<string, Set<number>>() }));

function note(work: string): void {
  if (!seen.isWatching) return;
  seen.work.set(work, (seen.work.get(work) ?? new Set()).add(seen.stage[0]!));
}

const noting = vi.hoisted(() => <T extends object>(functions: T, noteCall: (work: string) => void): T => {
  const entries = Object.entries(functions).map(([name, member]) => {
    if (typeof member !== "function") return [name, member];
    return [
      name,
      (...args: unknown[]) => {
        noteCall(name);
        return member(...args);
      },
    ];
  });
  return Object.fromEntries(entries) as T;
});

vi.mock("./kernel/kernel.js", async (original) => {
  const { kernelOf } = await original<typeof import("./kernel/kernel.js")>();
  return { kernelOf: (...args: Parameters<typeof kernelOf>) => noting(kernelOf(...args), note) };
});
vi.mock("./codec/compression.js", async (original) => noting(await original<object>(), note));

let engine: StorageEngine | undefined;

beforeEach(() => {
  seen.stage[0] = 0;
  seen.work.clear();
});

afterEach(async () => {
  await engine?.close();
  engine = undefined;
});

async function open(definition: EngineDefinition, settings: Record<string, unknown>) {
  const storage = new FaultyStorage();
  storage.makeDirectory(ROOT);
  storage.fault = ({ operation, path }) => {
    if (operation === "write" || operation === "sync") note(`${operation} ${path.includes("log") ? "log" : "other"}`);
    return null;
  };
  const { stage } = seen;
  const listener = { acknowledged: (): void => note("acknowledged"), failed: (): void => note("failed") };
  const opened = await definition.open({ directory: ROOT, storage, heap, settings, listener, stage });
  engine = opened;
  const [handle] = await opened.createTopic("t", 1);
  return { engine: opened, handle: handle!, storage, listener, resting: stage[0]! };
}

/** Appends and polls, and sees that each call leaves the mark as it was. */
async function drive(opened: StorageEngine, handle: number, resting: number): Promise<void> {
  for (let i = 0; i < MESSAGES; i++) {
    seen.isWatching = true;
    try {
      opened.append(handle, message, i);
      expect(seen.stage[0]).toBe(resting);
      opened.poll();
      expect(seen.stage[0]).toBe(resting);
    } finally {
      seen.isWatching = false;
    }
    await turn();
    expect(seen.stage[0]).toBe(resting);
  }
}

function expectMarkKept(call: () => unknown, resting: number): void {
  try {
    call();
  } catch {
    // what is thrown is the contract suite's affair
  }
  expect(seen.stage[0]).toBe(resting);
}

/** Closes an engine that may have failed. */
async function abandon(failed: StorageEngine): Promise<void> {
  engine = undefined;
  await failed.close().catch(() => {});
}

const P = STAGE_PRODUCER;
const B = STAGE_BROKER;
const small = { segmentSizeBytes: 8_192 };

describe.each<[string, EngineDefinition, Record<string, unknown>, number, Record<string, number>]>([
  [
    "partitioned-log",
    ...([partitionedLog, { batchSizeBytes: 2_000, lingerMs: 1_000, compression: "zstd", flush: "sync" }, P] as const),
    { appendValue: P, sealRecordBatch: P, compress: P, crc32c: P, "write log": B, "sync log": B },
  ],
  [
    "partitioned-log, assembled by the broker",
    ...([partitionedLog, { assembly: "broker", compression: "zstd" }, P] as const),
    { frameValue: P, assembleRecordBatch: B, sealRecordBatch: B, compress: B, crc32c: B, "write log": B },
  ],
  [
    "commitlog",
    ...([commitlog, small, B] as const),
    { encodeCommitlogMessage: B, dispatchCommitlog: B, acknowledged: B },
  ],
  [
    "commitlog, written, compressed and indexed inline",
    ...([
      commitlog,
      { writePath: "write", indexBuilding: "inline", compression: "zlib", compressionThresholdBytes: 1 },
    ] as const),
    B,
    { compress: P, encodeCommitlogMessage: B, dispatchCommitlog: B, "write log": B, acknowledged: B },
  ],
  [
    "commitlog, assembled by producers",
    ...([commitlog, { assembly: "producer" }, P] as const),
    { encodeCommitlogMessage: P, placeCommitlogBatch: B, acknowledged: B },
  ],
  [
    "commitlog, in batches",
    ...([commitlog, { batchSizeBytes: 2_500, lingerMs: 1_000 }, P] as const),
    { copyBytes: P, encodeCommitlogMessage: B, acknowledged: B },
  ],
  [
    "commitlog, in batches assembled by producers",
    ...([
      commitlog,
      { batchSizeBytes: 2_500, assembly: "producer", compression: "lz4", compressionThresholdBytes: 1 },
    ] as const),
    P,
    { compress: P, encodeCommitlogMessage: P, placeCommitlogBatch: B, acknowledged: B },
  ],
  [
    "raw",
    ...([rawEngine, { batchSizeBytes: 2_500, flush: "sync" }, P] as const),
    { copyBytes: P, "write log": B, "sync log": B },
  ],
])("%s", (_, definition, settings, resting, stages) => {
  it("says whose work it is at, and leaves the mark as it was", async () => {
    const opened = await open(definition, settings);
    expect(opened.resting).toBe(resting);
    await drive(opened.engine, opened.handle, resting);
    const found = Object.fromEntries(Object.keys(stages).map((work) => [work, [...(seen.work.get(work) ?? [])]]));
    expect(found).toEqual(Object.fromEntries(Object.entries(stages).map(([work, stage]) => [work, [stage]])));
    await opened.engine.flush();
    expect(seen.stage[0]).toBe(resting);
  });

  it("leaves the mark as it was when a call throws", async () => {
    const { engine, handle, listener } = await open(definition, { ...settings, bufferMemoryBytes: 4 << 20 });
    expect(() => engine.append(handle, tooLarge, 0)).toThrow(UnrepresentableError);
    expect(seen.stage[0]).toBe(resting);
    let thrown = 0;
    listener.acknowledged = () => {
      thrown++;
      throw new Error("a listener's");
    };
    for (let i = 0; i < MESSAGES; i++) {
      for (const call of [() => engine.append(handle, message, i), () => engine.poll()]) {
        expectMarkKept(call, resting);
      }
    }
    // Under sync acknowledgements come from the event loop, and a listener that throws there ends the process.
    listener.acknowledged = () => {};
    if (settings.flush !== "sync") expect(thrown).toBeGreaterThan(0);
    await abandon(engine);
  });

  it("leaves the mark as it was when the device fails", async () => {
    const { engine, handle, storage } = await open(definition, settings);
    storage.fault = ({ operation }) => (operation === "write" || operation === "sync" ? "EIO" : null);
    for (let i = 0; i < MESSAGES; i++) {
      expectMarkKept(() => engine.append(handle, message, i), resting);
      expectMarkKept(() => engine.poll(), resting);
      await turn();
    }
    await engine.flush().catch(() => {});
    expectMarkKept(() => engine.append(handle, message, 0), resting);
    await abandon(engine);
  });
});

it("null says nothing, because it does nobody's work", async () => {
  const { engine, handle } = await open(nullEngine, {});
  await drive(engine, handle, 0);
});
