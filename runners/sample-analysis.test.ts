import { describe, expect, it } from "vitest";
import type { Sample } from "../results/schema.js";
import { eventsOfSamples, leakWarning, memoryGrowth } from "./sample-analysis.js";

const SECOND = 1e9;
const sample = (index: number, changes: Partial<Sample> = {}, anonymousBytes: number | null = null): Sample => ({
  atNs: (index + 1) * SECOND,
  durationNs: SECOND,
  acknowledgedMessages: 1_000,
  dirtyBytes: 0,
  writebackBytes: 0,
  deviceWrittenBytes: 10e6,
  deviceUtilisation: 0.6,
  processCpuFraction: 1,
  stealFraction: 0.01,
  garbageCollectionNs: 0,
  eventLoopDelayMaxNs: 0,
  eventLoopUtilisation: null,
  detail: {
    ...{ responseTime: null, threads: null, mainThread: null, processorWaitNs: 0 },
    ...{ voluntarySwitches: 0, involuntarySwitches: 0, minorFaults: 0, majorFaults: 0 },
    ...{ residentBytes: anonymousBytes, anonymousBytes, dispatchLagMaxBytes: null, events: {} },
  },
  ...changes,
});

describe("events that only samples show", () => {
  it("are intervals with much stolen, and with twice the usual written by a busy device", () => {
    const samples = [
      sample(0),
      sample(1, { stealFraction: 0.05 }),
      sample(2, { deviceWrittenBytes: 20e6 }),
      sample(3, { deviceWrittenBytes: 20e6, deviceUtilisation: 0.4 }),
      sample(4, { deviceWrittenBytes: 19e6 }),
      sample(5),
      sample(6),
    ];
    expect(eventsOfSamples(samples, 5 * SECOND)).toEqual([
      { cause: "steal", startNs: 6 * SECOND, endNs: 7 * SECOND },
      { cause: "writeback", startNs: 7 * SECOND, endNs: 8 * SECOND },
    ]);
  });

  it("are none where nothing is known", () => {
    const unknown = { stealFraction: null, deviceWrittenBytes: null, deviceUtilisation: null };
    expect(eventsOfSamples([sample(0, unknown), sample(1, unknown)], 0)).toEqual([]);
    expect(eventsOfSamples([], 0)).toEqual([]);
  });
});

describe("memory", () => {
  const course = (bytes: (index: number) => number) => Array.from({ length: 10 }, (_, i) => sample(i, {}, bytes(i)));

  it("grows by its slope, whatever a single sample jumps to, and only what was measured counts", () => {
    expect(
      memoryGrowth(
        course((i) => 1e8 + i * 3e6),
        0,
      ),
    ).toBeCloseTo(3e6, 0);
    expect(
      memoryGrowth(
        course((i) => (i === 5 ? 9e9 : 1e8 + i * 3e6)),
        0,
      ),
    ).toBeCloseTo(3e6, 0);
    expect(
      memoryGrowth(
        course((i) => (i < 4 ? i * 1e9 : 5e9)),
        5 * SECOND,
      ),
    ).toBe(0);
  });

  it("has no slope with too few samples, or none told", () => {
    expect(memoryGrowth(course(() => 1).slice(0, 3), 0)).toBe(null);
    expect(
      memoryGrowth(
        course(() => 1),
        9 * SECOND,
      ),
    ).toBe(null);
    expect(
      memoryGrowth(
        Array.from({ length: 9 }, (_, i) => sample(i)),
        0,
      ),
    ).toBe(null);
  });

  it("is warned of where much is kept for each message, and not where little is", () => {
    expect(leakWarning(100e6, 1e6, 10 * SECOND)).toMatch(/by 100 MB\/s, 1000 bytes a message, 1000 MB within/);
    expect(leakWarning(1e6, 1_000, 10 * SECOND)).toBe(null);
    expect(leakWarning(100e6, 1e9, 10 * SECOND)).toBe(null);
    expect(leakWarning(-100e6, 1e6, 10 * SECOND)).toBe(null);
    expect(leakWarning(null, 1e6, 10 * SECOND)).toBe(null);
  });
});
