import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EngineCounters } from "../engines/engine.js";
import { CostMeter, IdleLook, mainThreadBetween } from "./cost-meter.js";
import { IN_ENGINE, IN_EVENT_LOOP, IN_GENERATOR, OBSERVED, SharedCells } from "./sampler-cells.js";
import { ThreadClock } from "./thread-times.js";

const SECTOR_BYTES = 512;
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
    cells.numbers[OBSERVED + IN_ENGINE] = 40;
    const threads = new ThreadClock(null, 4);
    const meter = new CostMeter({ nowNs: () => nowNs, counters: () => counters, cells, threads, deviceStatPath });
    nowNs = 1_700;
    counters = counted(103);
    cells.numbers[OBSERVED + IN_ENGINE] = 43;
    cells.numbers[OBSERVED + IN_GENERATOR] = 1;
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
      mainThread: { observations: 4, engine: 0.75, generator: 0.25, eventLoop: 0 },
    });
    expect(cost.allocatedBytes).toBeGreaterThan(kept.length * 8);
  });

  it("knows nothing of a device where there is none to read", () => {
    const sources = { nowNs: () => 0, counters: () => ({}) as EngineCounters, cells: new SharedCells() };
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
  it("shares out what was seen since, and says nothing if nothing was", () => {
    const seen = (engine: number, generator: number, eventLoop: number) => {
      const counts = [0, 0, 0];
      counts[IN_ENGINE] = engine;
      counts[IN_GENERATOR] = generator;
      counts[IN_EVENT_LOOP] = eventLoop;
      return counts;
    };
    expect(mainThreadBetween(seen(10, 20, 30), seen(15, 23, 32))).toEqual({
      observations: 10,
      engine: 0.5,
      generator: 0.3,
      eventLoop: 0.2,
    });
    expect(mainThreadBetween(seen(1, 2, 3), seen(1, 2, 3))).toBe(null);
  });
});
