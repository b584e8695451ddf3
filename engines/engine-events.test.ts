import { afterEach, describe, expect, it, vi } from "vitest";
import { commitlog } from "./commitlog/index.js";
import { type EngineDefinition, type EngineEvent, Message, type StorageEngine } from "./engine.js";
import { heap } from "./heap.js";
import { partitionedLog } from "./partitioned-log/index.js";
import { FaultyStorage } from "./storage/faulty-storage.js";

const ROOT = "/data";
const message = new Message(heap, Buffer.alloc(900));
const turn = () => new Promise((resolve) => setImmediate(resolve));
let engine: StorageEngine | undefined;

afterEach(async () => {
  await engine?.close();
  engine = undefined;
  vi.restoreAllMocks();
});

async function open(definition: EngineDefinition, settings: Record<string, unknown>) {
  const storage = new FaultyStorage();
  storage.makeDirectory(ROOT);
  const events: EngineEvent[] = [];
  const opened = await definition.open({
    directory: ROOT,
    storage,
    heap,
    settings,
    listener: { acknowledged: () => {}, failed: () => {}, event: (event) => events.push(event) },
  });
  engine = opened;
  const [handle] = await opened.createTopic("t", 1);
  return { engine: opened, handle: handle!, events };
}

describe("what engines tell of their work", () => {
  it("partitioned-log: syncs, rolls with the index written and the next segment reserved in them", async () => {
    const { engine, handle, events } = await open(partitionedLog, {
      segmentSizeBytes: 4_096,
      preallocate: true,
      flush: "sync",
    });
    for (let i = 0; i < 10; i++) {
      engine.append(handle, message, i);
      engine.poll();
      await turn();
    }
    await engine.flush();
    expect(new Set(events.map(({ kind }) => kind))).toEqual(
      new Set(["sync", "segment-roll", "index-flush", "file-preallocate"]),
    );
    const roll = events.find(({ kind }) => kind === "segment-roll")!;
    for (const kind of ["index-flush", "file-preallocate"]) {
      const part = events.find((event) => event.kind === kind)!;
      expect(part.startedNs).toBeGreaterThanOrEqual(roll.startedNs);
      expect(Number(part.startedNs) + part.durationNs).toBeLessThanOrEqual(Number(roll.startedNs) + roll.durationNs);
    }
    // Ended segments are synced in the background, besides what the flush policy asks for.
    expect(events.some(({ kind, detail }) => kind === "sync" && detail?.endsWith("0.log"))).toBe(true);
    expect(engine.dispatchLagBytes).toBeUndefined();
  });

  it("commitlog: syncs, rolls, files made ahead, consumequeues flushed, and how far reput is behind", async () => {
    let nowMs = 1_700_000_000_000;
    vi.spyOn(Date, "now").mockImplementation(() => nowMs);
    const { engine, handle, events } = await open(commitlog, {
      segmentSizeBytes: 4_096,
      consumequeueFlushThoroughIntervalMs: 5_000,
    });
    expect(engine.dispatchLagBytes!()).toBe(0);
    engine.append(handle, message, 0);
    const lagBytes = engine.dispatchLagBytes!();
    expect(lagBytes).toBeGreaterThan(900);
    expect(lagBytes).toBeLessThan(1_100);
    for (let i = 0; i < 200; i++) {
      nowMs += 100;
      if (i < 10) engine.append(handle, message, i);
      engine.poll();
      await turn();
    }
    expect(engine.dispatchLagBytes!()).toBe(0);
    expect(new Set(events.map(({ kind }) => kind))).toEqual(
      new Set(["sync", "segment-roll", "index-flush", "file-preallocate"]),
    );
  });
});
