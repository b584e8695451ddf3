import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSchedule } from "./schedule.js";

function dueTimes(options: Parameters<typeof createSchedule>[0], count: number): number[] {
  const schedule = createSchedule(options);
  return Array.from({ length: count }, () => {
    const { dueNs } = schedule;
    schedule.advance();
    return dueNs;
  });
}

describe("createSchedule", () => {
  it("puts constant arrivals at start + i × interval, without adding up rounding", () => {
    const times = dueTimes(
      { startNs: 500, ratePerSecond: 3e6, arrivals: "constant", producerCount: 1, seed: 1 },
      100_000,
    );
    expect(times.findIndex((time, i) => time !== 500 + i * (1e9 / 3e6))).toBe(-1);
  });

  it("draws Poisson arrivals whose gaps have the rate's mean and the exponential's spread", () => {
    const times = dueTimes({ startNs: 0, ratePerSecond: 1e6, arrivals: "poisson", producerCount: 1, seed: 7 }, 100_000);
    const gaps = times.slice(1).map((time, i) => time - times[i]!);
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const longerThanMean = gaps.filter((gap) => gap > 1_000).length / gaps.length;
    expect(mean).toBeGreaterThan(980);
    expect(mean).toBeLessThan(1_020);
    expect(Math.abs(longerThanMean - Math.exp(-1))).toBeLessThan(0.01);
  });

  it("never goes back, and is the same for the same seed", () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.constantFrom("constant", "poisson"),
        fc.integer({ min: 1, max: 9 }),
        (seed, arrivals, producerCount) => {
          const options = { startNs: 10, ratePerSecond: 1e5, arrivals, producerCount, seed };
          const times = dueTimes(options, 200);
          expect(times).toEqual([...times].sort((a, b) => a - b));
          expect(dueTimes(options, 200)).toEqual(times);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("gives each of several producers its own even spacing, and all together the rate", () => {
    const times = dueTimes({ startNs: 0, ratePerSecond: 1e6, arrivals: "constant", producerCount: 4, seed: 3 }, 4_000);
    for (let producer = 0; producer < 4; producer++) {
      const own = times.filter((_, i) => i % 4 === producer);
      expect(own.slice(1).every((time, i) => Math.abs(time - own[i]! - 4_000) < 1e-6)).toBe(true);
    }
    expect(times[0]).toBe(0);
    expect(new Set(times.slice(0, 4)).size).toBe(4);
    expect(times.at(-1)!).toBeLessThan(4_000_000);
  });

  it("differs between seeds", () => {
    const options = { startNs: 0, ratePerSecond: 1e5, arrivals: "poisson" as const, producerCount: 1 };
    expect(dueTimes({ ...options, seed: 1 }, 10)).not.toEqual(dueTimes({ ...options, seed: 2 }, 10));
  });
});
