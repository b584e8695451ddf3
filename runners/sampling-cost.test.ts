import { describe, expect, it } from "vitest";
import { type DuetOfSampling, samplingCost } from "./sampling-cost.js";

/** Both sides have half a processor for two seconds; the sampler takes `samplerNs` of its side's. */
function duet(machineSpeed: number, samplerNs: number): DuetOfSampling {
  const nsPerMessage = 300 / machineSpeed;
  const side = (ownNs: number) => ({
    messageCount: Math.round((1e9 - ownNs) / nsPerMessage),
    cpuNs: 1e9,
    durationNs: 2e9,
  });
  return { sampled: side(samplerNs), plain: side(0) };
}

describe("samplingCost", () => {
  it("finds what the sampler takes, however the machine's speed changes from pair to pair", () => {
    const duets = [1, 1.6, 0.7, 1.2, 1.5, 0.9, 1.1, 1.3].map((speed, at) => duet(speed, 10e6 + at * 0.1e6));
    const { ratio, processorShare } = samplingCost(duets);
    expect(ratio.point).toBeCloseTo(1 / (1 - 0.01035), 4);
    expect([ratio.confidence, ratio.lower > 1.01, ratio.upper < 1.011]).toEqual([0.95, true, true]);
    // 10 ms of two seconds.
    expect(processorShare.point).toBeCloseTo(0.0052, 4);
    expect(processorShare.lower).toBeGreaterThan(0.005);
    expect(processorShare.upper).toBeLessThan(0.0055);
  });

  it("has intervals that hold nothing where the sampler costs nothing", () => {
    const duets = [0, 1e6, -1e6, 2e6, -2e6, 0.5e6, -0.5e6].map((samplerNs) => duet(1, samplerNs));
    const { ratio, processorShare } = samplingCost(duets);
    expect(ratio.lower).toBeLessThan(1);
    expect(ratio.upper).toBeGreaterThan(1);
    expect(processorShare.lower * processorShare.upper).toBeLessThan(0);
  });
});
