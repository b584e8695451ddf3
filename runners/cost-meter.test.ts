import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type EngineCounters, STAGE_BROKER, STAGE_PRODUCER } from "../engines/engine.js";
import { DiskStorage } from "../engines/registry.js";
import { CostMeter, IdleLook, mainThreadBetween } from "./cost-meter.js";
import { IN_BROKER, IN_ENGINE, IN_EVENT_LOOP, IN_GENERATOR, IN_PRODUCER, SharedCells } from "./sampler-cells.js";
import { ThreadClock } from "./thread-times.js";

const SECTOR_BYTES = 512;
const storage = new DiskStorage();
/** A block device's `stat`: the seventh field counts sectors written. */
const stat = (sectors: number) => `1 2 3 4 5 6 ${sectors} 8 9 10 11 12 13 14 15 16 17\n`;

let directory: string;
let deviceStatPath: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "logduel-test-"));
  deviceStatPath = join(directory, "stat");
  writeFileSync(deviceStatPath, stat(1_000));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("CostMeter", () => {
  it("counts from its making to its stop, without what was before", () => {
    const counted = (times: number) =>
      ({
        writtenBytes: 2 * times,
        logBytes: 3 * times,
        indexBytes: 5 * times,
        batches: 7 * times,
        writeCalls: 11 * times,
        readCalls: 13 * times,
        syncCalls: 17 * times,
        filesOpened: 19 * times,
      }) as EngineCounters;
    let nowNs = 500;
    let counters = counted(100);
    const cells = new SharedCells();
    observe(cells, 40, IN_ENGINE);
    const threads = new ThreadClock(null, 4);
    let systemCalls = { ...storage.systemCalls(), write: 4, msync: 9 };
    const meter = new CostMeter({
      nowNs: () => nowNs,
      counters: () => counters,
      systemCalls: () => systemCalls,
      cells,
      threads,
      deviceStatPath,
    });
    systemCalls = { ...systemCalls, write: 6, fallocate: 1 };
    nowNs = 1_700;
    counters = counted(103);
    observe(cells, 3, IN_ENGINE);
    observe(cells, 1, IN_GENERATOR);
    writeFileSync(deviceStatPath, stat(1_020));
    const kept = Array.from({ length: 10_000 }, (_, i) => ({ i }));
    const cost = meter.stop();
    expect(cost).toMatchObject({
      durationNs: 1_200,
      deviceBytes: 20 * SECTOR_BYTES,
      writtenBytes: 6,
      logBytes: 9,
      indexBytes: 15,
      batches: 21,
      writeCalls: 33,
      readCalls: 39,
      syncCalls: 51,
      filesOpened: 57,
      mainThread: { observations: 4, engine: 0.75, broker: null, generator: 0.25, eventLoop: 0 },
    });
    expect(cost.systemCalls).toEqual({ write: 2, fallocate: 1 });
    expect(cost.allocatedBytes).toBeGreaterThan(kept.length * 8);
  });

  it("knows nothing of a device where there is none to read", () => {
    const sources = {
      nowNs: () => 0,
      counters: () => ({}) as EngineCounters,
      systemCalls: () => storage.systemCalls(),
      cells: new SharedCells(),
    };
    const cost = new CostMeter({ ...sources, threads: new ThreadClock(null, 4), deviceStatPath: null }).stop();
    expect(cost).toMatchObject({ deviceBytes: null, mainThread: null });
  });
});

describe("IdleLook", () => {
  it("tells what was written a second, and nothing of too short a time or without a device", () => {
    let nowNs = 0;
    const look = new IdleLook(deviceStatPath, () => nowNs);
    const without = new IdleLook(null, () => nowNs);
    writeFileSync(deviceStatPath, stat(1_100));
    nowNs = 99e6;
    expect(look.bytesPerSecond()).toBe(null);
    nowNs = 500e6;
    expect(look.bytesPerSecond()).toBe(200 * SECTOR_BYTES);
    expect(without.bytesPerSecond()).toBe(null);
  });
});

describe("mainThreadBetween", () => {
  const seen = (engine: number, producer: number, broker: number, generator: number, eventLoop: number) => {
    const counts = [0, 0, 0, 0, 0];
    counts[IN_ENGINE] = engine;
    counts[IN_PRODUCER] = producer;
    counts[IN_BROKER] = broker;
    counts[IN_GENERATOR] = generator;
    counts[IN_EVENT_LOOP] = eventLoop;
    return counts;
  };

  it("shares out what was seen since, and says nothing if nothing was", () => {
    const shares = { observations: 10, engine: 0.5, generator: 0.3, eventLoop: 0.2 };
    expect(mainThreadBetween(seen(0, 10, 5, 20, 30), seen(0, 14, 6, 23, 32))).toEqual({ ...shares, broker: 0.1 });
    expect(mainThreadBetween(seen(0, 10, 5, 20, 30), seen(0, 15, 5, 23, 32))).toEqual({ ...shares, broker: 0 });
    expect(mainThreadBetween(seen(1, 0, 0, 2, 3), seen(1, 0, 0, 2, 3))).toBe(null);
  });

  it("does not split an engine that said nothing of its stage, at any look or at one, or was not seen", () => {
    const none = seen(0, 0, 0, 0, 0);
    expect(mainThreadBetween(none, seen(4, 0, 0, 0, 1))).toMatchObject({ engine: 0.8, broker: null });
    expect(mainThreadBetween(none, seen(1, 1, 2, 0, 1))).toMatchObject({ engine: 0.8, broker: null });
    expect(mainThreadBetween(none, seen(0, 0, 0, 4, 1))).toMatchObject({ engine: 0, broker: null });
  });
});

describe("looks at the main thread", () => {
  it("count the place, and within the engine its stage; what is none counts as unknown", () => {
    const cells = new SharedCells();
    const before = cells.observed();
    cells.stage[0] = STAGE_BROKER;
    observe(cells, 2, IN_GENERATOR);
    observe(cells, 3, IN_ENGINE);
    cells.stage[0] = STAGE_PRODUCER;
    observe(cells, 4, IN_EVENT_LOOP);
    observe(cells, 1, IN_ENGINE);
    expect(mainThreadBetween(before, cells.observed())).toEqual({
      ...{ observations: 10, engine: 0.4, broker: 0.3, generator: 0.2, eventLoop: 0.4 },
    });
    for (const stage of [0, -1, 3, 2 ** 31 - 1]) {
      const known = cells.observed();
      const numbers = cells.numbers.slice();
      cells.stage[0] = stage;
      observe(cells, 1, IN_ENGINE);
      expect(mainThreadBetween(known, cells.observed())).toMatchObject({ engine: 1, broker: null });
      expect(cells.numbers.filter((number, at) => number !== numbers[at])).toHaveLength(1);
    }
  });
});

function observe(cells: SharedCells, times: number, place: number): void {
  cells.place[0] = place;
  for (let time = 0; time < times; time++) cells.observe();
}
