import fc from "fast-check";
import { decodeFromCompressedBase64 } from "hdr-histogram-js";
import { describe, expect, it } from "vitest";
import { LatencyRecorder } from "./latency-recorder.js";

const HIGHEST_NS = 60_000_000_000;

describe("LatencyRecorder", () => {
  it("agrees with a sorted array to three digits, over the whole range", () => {
    const latency = fc.oneof(
      fc.integer({ min: 0, max: 5_000 }),
      fc.integer({ min: 0, max: 2 ** 31 }),
      fc.maxSafeInteger().map((value) => Math.abs(value) % HIGHEST_NS),
    );
    fc.assert(
      fc.property(fc.array(latency, { minLength: 1, maxLength: 300 }), (latencies) => {
        const recorder = new LatencyRecorder();
        for (const value of latencies) recorder.record(value);
        const decoded = decodeFromCompressedBase64(recorder.encode().encoded);
        const sorted = [...latencies].sort((a, b) => a - b);
        expect(decoded.totalCount).toBe(latencies.length);
        for (const percentile of [1, 25, 50, 75, 90, 99, 100]) {
          // HdrHistogram's rank: the smallest value that at least this share of the samples does not exceed.
          const rank = Math.max(1, Math.ceil((percentile / 100) * sorted.length - 1e-9));
          const truth = sorted[rank - 1]!;
          const found = decoded.getValueAtPercentile(percentile);
          expect(Math.abs(found - truth)).toBeLessThanOrEqual(Math.max(1, truth / 1_000));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("counts what lies beyond 60 s instead of capping it", () => {
    const recorder = new LatencyRecorder();
    recorder.record(HIGHEST_NS);
    recorder.record(HIGHEST_NS + 1);
    recorder.record(1e15);
    const { encoded, sampleCount, overflowCount } = recorder.encode();
    expect({ sampleCount, overflowCount }).toEqual({ sampleCount: 1, overflowCount: 2 });
    expect(decodeFromCompressedBase64(encoded).totalCount).toBe(1);
  });

  it("does not wrap where many samples share one bucket", () => {
    const recorder = new LatencyRecorder();
    for (let i = 0; i < 70_000; i++) recorder.record(1_000);
    expect(decodeFromCompressedBase64(recorder.encode().encoded).totalCount).toBe(70_000);
  });
});
