import { describe, expect, it } from "vitest";
import { seededRandom } from "../results/random.js";
import { LatencyRecorder } from "./latency-recorder.js";
import { LongestIntervals } from "./longest-intervals.js";

function fill(capacity: number, durationsNs: readonly number[]) {
  const recorder = new LatencyRecorder();
  const longest = new LongestIntervals(capacity, recorder);
  for (const [i, durationNs] of durationsNs.entries()) {
    recorder.record(durationNs);
    longest.offer(i * 1e6, i * 1e6 + 1, i * 1e6 + durationNs);
  }
  return longest.intervals();
}

describe("LongestIntervals", () => {
  it("keeps everything while there is room", () => {
    expect(fill(4, [30, 10, 20])).toEqual([
      { startNs: 0, middleNs: 1, endNs: 30 },
      { startNs: 1e6, middleNs: 1e6 + 1, endNs: 1e6 + 10 },
      { startNs: 2e6, middleNs: 2e6 + 1, endNs: 2e6 + 20 },
    ]);
  });

  it("keeps the longest half of its capacity, in whatever order they come", () => {
    const random = seededRandom(7);
    for (const order of ["rising", "falling", "random"]) {
      const durations = Array.from({ length: 20_000 }, () => Math.floor(1e3 * Math.exp(8 * random())));
      if (order !== "random") durations.sort((a, b) => (order === "rising" ? a - b : b - a));
      const kept = fill(200, durations).map(({ startNs, endNs }) => endNs - startNs);
      const longest = durations.toSorted((a, b) => b - a).slice(0, 90);
      expect(kept.length).toBeLessThanOrEqual(200);
      expect(kept.toSorted((a, b) => b - a).slice(0, 90)).toEqual(longest);
    }
  });

  it("stays within its memory where all are of equal length", () => {
    expect(fill(100, new Array(5_000).fill(1_000)).length).toBeLessThanOrEqual(100);
  });

  it("keeps a long one that comes after a crowd of equals", () => {
    const kept = fill(100, [...new Array(5_000).fill(1_000), 9_000, ...new Array(5_000).fill(1_000)]);
    expect(kept.some(({ startNs, endNs }) => endNs - startNs === 9_000)).toBe(true);
  });
});
