import { build, encodeIntoCompressedBase64 } from "hdr-histogram-js";
import { describe, expect, it } from "vitest";
import { DamagedHistogramError } from "../results/histogram.js";
import type { EncodedHistogram } from "../results/schema.js";
import { summariseLatency, trialPercentile } from "./histograms.js";

/** [value, how often] each. */
function encode(values: readonly (readonly [number, number])[], overflowCount = 0): EncodedHistogram {
  const histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60e9,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 64,
  });
  for (const [value, count] of values) histogram.recordValueWithCount(value, count);
  return { encoded: encodeIntoCompressedBase64(histogram), sampleCount: histogram.totalCount, overflowCount };
}

const figure = (encoded: EncodedHistogram[], percentile: number) =>
  summariseLatency(encoded, false)!.percentiles.find((one) => one.percentile === percentile)!;

describe("which percentiles may be published", () => {
  it("publishes p99.9 at 100 samples beyond it, shows it as uncertain below, suppresses it below 10", () => {
    expect(figure([encode([[1000, 100_000]])], 99.9).state).toBe("published");
    expect(figure([encode([[1000, 99_999]])], 99.9).state).toBe("uncertain");
    expect(figure([encode([[1000, 10_000]])], 99.9)).toMatchObject({ state: "uncertain", exceedanceCount: 10 });
    expect(figure([encode([[1000, 9_999]])], 99.9)).toMatchObject({ state: "suppressed", valueNs: null });
  });

  it("counts the samples of all trials together", () => {
    const trial = encode([[1000, 50_000]]);
    expect(figure([trial], 99.9).state).toBe("uncertain");
    expect(figure([trial, trial], 99.9).state).toBe("published");
  });

  it("gives an uncertain percentile its rank interval", () => {
    // Values 1 … 20 000, once each: the value is its own rank. p99.9 has 20 beyond; 1.96 σ = 1.96 √(0.999 · 0.001 / n).
    const uniform = encode(Array.from({ length: 20_000 }, (_, i) => [i + 1, 1] as const));
    const { valueNs, lowerNs, upperNs, interval } = figure([uniform], 99.9);
    expect(interval).toBe("rank");
    expect(valueNs! / 19_980).toBeCloseTo(1, 2);
    expect(lowerNs! / (20_000 * (0.999 - 1.96 * Math.sqrt((0.999 * 0.001) / 20_000)))).toBeCloseTo(1, 2);
    expect(upperNs!).toBeGreaterThan(valueNs!);
  });
});

describe("merging trials", () => {
  it("adds histograms and averages nothing", () => {
    // Nine trials at 1 µs, one at 1 ms: 10 % of all samples are slow, so the median is fast and p99 slow.
    const fast = encode([[1_000, 10_000]]);
    const slow = encode([[1_000_000, 10_000]]);
    const trials = [...Array.from({ length: 9 }, () => fast), slow];
    expect(figure(trials, 50).valueNs! / 1_000).toBeCloseTo(1, 2);
    expect(figure(trials, 99).valueNs! / 1_000_000).toBeCloseTo(1, 2);
    expect(summariseLatency(trials, false)!.sampleCount).toBe(100_000);
  });

  it("gives a published percentile the range of its trials", () => {
    const { lowerNs, upperNs, interval } = figure([encode([[1_000, 50_000]]), encode([[3_000, 50_000]])], 99);
    expect(interval).toBe("trials");
    expect([lowerNs! / 1_000, upperNs! / 3_000]).toEqual([expect.closeTo(1, 2), expect.closeTo(1, 2)]);
  });
});

describe("samples above the recorded range", () => {
  it("suppresses the percentiles that lie among them and shifts the others", () => {
    const trial = encode([[1_000, 98_000]], 2_000);
    expect(figure([trial], 99)).toMatchObject({ state: "suppressed", valueNs: null });
    expect(figure([trial], 90).state).toBe("published");
    expect(summariseLatency([trial], false)).toMatchObject({ sampleCount: 100_000, overflowCount: 2_000 });
    expect(trialPercentile(trial, 99)).toBeNull();
  });
});

describe("curves", () => {
  it("rise, and end where fewer than 10 samples lie beyond", () => {
    const { curve, publishedUpToNines } = summariseLatency(
      [encode(Array.from({ length: 1_000 }, (_, i) => [1_000 + i * 10, 100] as const))],
      true,
    )!;
    expect(publishedUpToNines).toBeCloseTo(3);
    expect(curve.at(-1)!.nines).toBeCloseTo(4);
    for (const [i, point] of curve.slice(1).entries()) expect(point.valueNs).toBeGreaterThanOrEqual(curve[i]!.valueNs);
  });
});

it("names a damaged histogram instead of showing figures of it", () => {
  expect(() => summariseLatency([{ encoded: "AAAA", sampleCount: 1, overflowCount: 0 }], false)).toThrow(
    DamagedHistogramError,
  );
});
