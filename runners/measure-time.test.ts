import { describe, expect, it } from "vitest";
import type { Configuration, PlannedLoad, ProbeResult } from "../results/schema.js";
import { messagesSchema } from "../results/schema.js";
import { measureTimeOf } from "./measure-time.js";

const probeOf = (operationsPerSecond: number): ProbeResult[] => [
  {
    id: "sync-append",
    tool: "logduel",
    blockSizeBytes: 4_096,
    operations: 100,
    bytesPerSecond: 4_096 * operationsPerSecond,
    operationsPerSecond,
    latency: null,
    unavailable: null,
  },
];
const trial = (flush: Configuration["settings"][string], inFlight: number, partitionsPerTopic = 1) => ({
  configuration: {
    topology: { topicCount: 1, partitionsPerTopic },
    messages: messagesSchema.parse({ sizeBytes: 1, compressibleFraction: 0 }),
    settings: { flush },
  },
  load: { model: "closed", inFlight, producers: 1 } satisfies PlannedLoad,
});
const profile = { measureMs: 500, syncMeasure: { percentile: 99, maximumMs: 60_000 } };

describe("measureTimeOf", () => {
  it("lasts until the profile's percentile has a hundred samples beyond, at a twelfth of what the probe synced", () => {
    expect(measureTimeOf(trial("sync", 1), null, profile, probeOf(12_000))).toEqual({
      durationNs: 10e9,
      profileNs: 500e6,
      syncsPerSecond: 12_000,
      expectedPerSecond: 1_000,
      percentile: 99,
    });
    // Half of 64 share a sync; over 16 files two of 64.
    expect(measureTimeOf(trial("sync", 64), null, profile, probeOf(1_200))!.durationNs).toBe(10e9 / 3.2);
    expect(measureTimeOf(trial("sync", 64, 16), null, profile, probeOf(4_800))!.durationNs).toBe(12.5e9);
    expect(measureTimeOf(trial("sync", 64), 200, profile, probeOf(400))!.durationNs).toBe(50e9);
  });

  it("is never shorter than the profile's time, nor longer than its longest", () => {
    expect(measureTimeOf(trial("sync", 1_024), null, profile, probeOf(10_000))!.durationNs).toBe(500e6);
    const short = { measureMs: 500, syncMeasure: { percentile: 99, maximumMs: 2_000 } };
    expect(measureTimeOf(trial("sync", 1), null, short, probeOf(100))!.durationNs).toBe(2e9);
    const less = { measureMs: 500, syncMeasure: { percentile: 99, maximumMs: 100 } };
    expect(measureTimeOf(trial("sync", 1), null, less, probeOf(100))!.durationNs).toBe(500e6);
  });

  it("leaves the time to the profile where nothing waits for a sync, or nothing is known of one", () => {
    expect(measureTimeOf(trial("async", 1), null, profile, probeOf(1_000))).toBeNull();
    // Acknowledged once written: what is synced later costs no sample.
    expect(measureTimeOf(trial({ every: { messages: 10 } }, 1), null, profile, probeOf(1_000))).toBeNull();
    expect(measureTimeOf(trial("sync", 1), null, profile, [])).toBeNull();
    expect(measureTimeOf(trial("sync", 1), null, { measureMs: 500 }, probeOf(1_000))).toBeNull();
  });
});
