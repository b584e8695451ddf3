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
  it("lasts until the profile's percentile has a hundred samples beyond, at the rate that the probe promises", () => {
    expect(measureTimeOf(trial("sync", 1), null, profile, probeOf(1_000))).toEqual({
      durationNs: 10e9,
      profileNs: 500e6,
      syncsPerSecond: 1_000,
      expectedPerSecond: 1_000,
      percentile: 99,
      publishedPercentile: 99,
    });
    // Half of 64 share a sync; over 16 files two of 64.
    expect(measureTimeOf(trial("sync", 64), null, profile, probeOf(400))!.durationNs).toBe(10e9 / 12.8);
    expect(measureTimeOf(trial("sync", 64, 16), null, profile, probeOf(400))!.durationNs).toBe(12.5e9);
    expect(measureTimeOf(trial("sync", 64), 200, profile, probeOf(400))!.durationNs).toBe(50e9);
  });

  it("is never shorter than the profile's time, nor longer than its longest, and says what that publishes", () => {
    expect(measureTimeOf(trial("sync", 1_024), null, profile, probeOf(10_000))!.durationNs).toBe(500e6);
    const short = { measureMs: 500, syncMeasure: { percentile: 99, maximumMs: 2_000 } };
    const at = (rate: number) => measureTimeOf(trial("sync", 1), null, short, probeOf(rate))!;
    expect([5_000, 4_999, 500, 499, 100, 99].map((rate) => at(rate).publishedPercentile)).toEqual([
      99,
      90,
      90,
      50,
      50,
      null,
    ]);
    expect(at(99).durationNs).toBe(2e9);
  });

  it("leaves the time to the profile where nothing waits for a sync, or nothing is known of one", () => {
    expect(measureTimeOf(trial("async", 1), null, profile, probeOf(1_000))).toBeNull();
    // Acknowledged once written: what is synced later costs no sample.
    expect(measureTimeOf(trial({ every: { messages: 10 } }, 1), null, profile, probeOf(1_000))).toBeNull();
    expect(measureTimeOf(trial("sync", 1), null, profile, [])).toBeNull();
    expect(measureTimeOf(trial("sync", 1), null, { measureMs: 500 }, probeOf(1_000))).toBeNull();
  });
});
