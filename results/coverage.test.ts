import { describe, expect, it } from "vitest";
import { coverageOfOne, type SelfComparison } from "./coverage.js";
import { type Random, seededRandom } from "./random.js";
import { attainableConfidence } from "./statistics.js";

/** Trials of a noisy machine: it drifts, each trial varies, and one in twenty stalls to half its rate. */
function trial(random: Random, drift: number): number {
  const noise = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return 1e6 * Math.exp(drift + 0.05 * noise) * (random() < 0.05 ? 0.5 : 1);
}

function comparisons(count: number, pairCount: number, secondIsFasterBy: number, seed: number): SelfComparison[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const pairs = Array.from({ length: pairCount }, (_, at) => {
      const drift = Math.sin(at + 10 * random()) * 0.3;
      return [trial(random, drift), trial(random, drift) * secondIsFasterBy] as const;
    });
    return { first: pairs.map(([first]) => first), second: pairs.map(([, second]) => second) };
  });
}

describe("intervals of a thing against itself", () => {
  it.each([3, 5, 8, 12, 40])("hold 1 as often as they promise, with %i pairs", (pairCount) => {
    const coverage = coverageOfOne(comparisons(400, pairCount, 1, 17 + pairCount));
    expect(coverage.confidence).toBe(attainableConfidence(pairCount));
    expect(coverage.isKept, JSON.stringify(coverage)).toBe(true);
    // Nor more often, by being wider than they need be.
    expect(coverage.actual.lower).toBeLessThanOrEqual(coverage.confidence);
  });

  it("are found out where they do not: a second side that is 10 % faster", () => {
    const coverage = coverageOfOne(comparisons(400, 8, 1.1, 3));
    expect(coverage.isKept).toBe(false);
    expect(coverage.covered / coverage.count).toBeLessThan(coverage.confidence);
  });

  it("are found out at 40 comparisons by the exact binomial test: 33 that hold 1 keep a promise of 93.75 %, 32 do not", () => {
    const holds = { first: [1, 2, 3, 4, 5], second: [3, 3, 3, 3, 3] };
    const misses = { first: [1, 1, 1, 1, 1], second: [2, 2, 2, 2, 2] };
    const of = (covered: number) => coverageOfOne([...Array(covered).fill(holds), ...Array(40 - covered).fill(misses)]);
    const chooses = (count: number): number => (count === 0 ? 1 : (chooses(count - 1) * (41 - count)) / count);
    /** P(at most `covered` of 40), term by term: what the exact test compares with half of 1 %. */
    const atMost = (covered: number) =>
      Array.from({ length: covered + 1 }, (_, k) => chooses(k) * 0.9375 ** k * 0.0625 ** (40 - k)).reduce(
        (sum, term) => sum + term,
      );
    const least = Array.from({ length: 41 }, (_, covered) => covered).find((covered) => atMost(covered) >= 0.005)!;
    expect(of(least)).toMatchObject({ covered: least, count: 40, confidence: 0.9375, isKept: true });
    expect(of(least - 1)).toMatchObject({ covered: least - 1, isKept: false });
    expect(least).toBe(33);
  });

  it("are judged by the binomial limits of what was seen", () => {
    const certain = { first: [1, 1, 1], second: [2, 2, 2] };
    expect(coverageOfOne([certain, certain])).toMatchObject({ covered: 0, count: 2, confidence: 0.75, isKept: true });
    const never = Array(40).fill(certain);
    expect(coverageOfOne(never)).toMatchObject({ covered: 0, count: 40, isKept: false });
    const level = { first: [1, 2, 3], second: [2, 2, 2] };
    expect(coverageOfOne(Array(40).fill(level))).toMatchObject({ covered: 40, isKept: true });
    // Five pairs promise 93.75 %: two comparisons are the fewest whose failing speaks against that.
    const five = { first: [1, 1, 1, 1, 1], second: [2, 2, 2, 2, 2] };
    expect([1, 2].map((count) => coverageOfOne(Array(count).fill(five)).isKept)).toEqual([true, false]);
  });
});
