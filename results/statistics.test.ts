import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "./random.js";
import {
  attainableRankSumConfidence,
  binomialInterval,
  bootstrapInterval,
  hodgesLehmannCentre,
  hodgesLehmannShift,
  holm,
  isSteady,
  judge,
  logRatios,
  median,
  rankSumTest,
  ratioOfPairs,
  ratioOfSamples,
  signedRanks,
  signFlipTest,
} from "./statistics.js";

const positive = fc.double({ min: 1e-3, max: 1e6, noNaN: true });

/** The slow, obvious reference: signs from the bits of a counter, each sum taken anew. */
function signFlipByBruteForce(values: number[], isAsFarOut: (sum: number, found: number) => boolean): number {
  const found = values.reduce((a, b) => a + b, 0);
  let hits = 0;
  for (let bits = 0; bits < 2 ** values.length; bits++) {
    const total = values.reduce((sum, value, at) => sum + (bits & (1 << at) ? -value : value), 0);
    if (isAsFarOut(total, found)) hits++;
  }
  return hits / 2 ** values.length;
}

describe("bootstrap intervals", () => {
  it("repeat with the seed and change with it", () => {
    const values = Array.from({ length: 11 }, seededRandom(1));
    const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
    expect(bootstrapInterval(values, mean, { seed: 7 })).toEqual(bootstrapInterval(values, mean, { seed: 7 }));
    expect(bootstrapInterval(values, mean, { seed: 7 })).not.toEqual(bootstrapInterval(values, mean, { seed: 8 }));
  });

  it("hold the true mean of normal values at about their confidence", () => {
    const random = seededRandom(2);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
    let held = 0;
    for (let round = 0; round < 200; round++) {
      const interval = bootstrapInterval(Array.from({ length: 30 }, normal), mean, { confidence: 0.9, seed: round });
      if (interval.lower <= 0 && interval.upper >= 0) held++;
    }
    expect(held / 200).toBeGreaterThan(0.83);
    expect(held / 200).toBeLessThan(0.96);
  });

  it("are infinite for a single value", () => {
    expect(bootstrapInterval([5], median)).toEqual({
      point: 5,
      lower: Number.NEGATIVE_INFINITY,
      upper: Number.POSITIVE_INFINITY,
      confidence: 0.95,
    });
  });

  it("of paired ratios invert when the sides are swapped, and do not depend on the unit", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(positive, positive), { minLength: 6, maxLength: 9 }), (pairs) => {
        const [a, b] = [pairs.map(([one]) => one), pairs.map(([, other]) => other)];
        const ratio = ratioOfPairs(a, b);
        const swapped = ratioOfPairs(b, a);
        expect(swapped.point * ratio.point).toBeCloseTo(1, 9);
        expect(swapped.lower * ratio.upper).toBeCloseTo(1, 9);
        const inOtherUnits = ratioOfPairs(
          a.map((value) => value * 1000),
          b.map((value) => value * 1000),
        );
        expect(inOtherUnits.point / ratio.point).toBeCloseTo(1, 9);
      }),
    );
  });

  it("(exact) of paired ratios do not see what both of a pair share", () => {
    const drift = [1, 2, 4, 8, 16, 32];
    const ratio = ratioOfPairs(
      drift.map((value) => value * 1.1),
      drift,
    );
    expect(ratio.point).toBeCloseTo(1.1, 12);
    expect(ratio.upper - ratio.lower).toBeLessThan(1e-12);
    expect(() => logRatios([1, 2], [1])).toThrow("paired");
    expect(() => logRatios([1, 0], [1, 1])).toThrow("positive");
  });
});

describe("Hodges-Lehmann estimates", () => {
  it("match Hollander and Wolfe's depression scores: -0.46, and (-0.786, -0.010) at 96 %", () => {
    const before = [1.83, 0.5, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.3];
    const after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
    const centre = hodgesLehmannCentre(
      after.map((value, at) => value - before[at]!),
      0.96,
    );
    expect(centre.point).toBeCloseTo(-0.46, 3);
    expect(centre.lower).toBeCloseTo(-0.786, 3);
    expect(centre.upper).toBeCloseTo(-0.01, 3);
  });

  it("match R's wilcox.test(conf.int = TRUE) on Hollander and Wolfe's permeability data: 0.305 (-0.15, 0.76)", () => {
    const atTerm = [0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    const early = [1.15, 0.88, 0.9, 0.74, 1.21];
    const shift = hodgesLehmannShift(atTerm, early);
    expect(shift.point).toBeCloseTo(0.305, 9);
    expect(shift.lower).toBeCloseTo(-0.15, 9);
    expect(shift.upper).toBeCloseTo(0.76, 9);
  });

  it("have an infinite interval where so few values cannot have one", () => {
    expect(hodgesLehmannCentre([1, 2, 3, 4, 5], 0.95).lower).toBe(Number.NEGATIVE_INFINITY);
    expect(hodgesLehmannCentre([1, 2, 3, 4, 5, 6], 0.95)).toMatchObject({ lower: 1, upper: 6 });
    expect(hodgesLehmannShift([1, 2, 3], [4, 5, 6], 0.95).upper).toBe(Number.POSITIVE_INFINITY);
  });

  it("exclude a value exactly when the rank tests do, at any confidence", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: -999, max: 999 }), { minLength: 2, maxLength: 9, selector: Math.abs }),
        fc.constantFrom(0.5, 0.8, 0.9, 0.95),
        (values, confidence) => {
          const nonZero = values.map((value) => value + 0.25);
          const interval = hodgesLehmannCentre(nonZero, confidence);
          const p = signFlipTest(signedRanks(nonZero), "two-sided").p;
          expect(interval.lower > 0 || interval.upper < 0).toBe(p <= 1 - confidence + 1e-9);
        },
      ),
    );
  });

  it("hold the truth at no less than their confidence under heavy-tailed noise", () => {
    const random = seededRandom(11);
    const cauchy = () => Math.tan(Math.PI * (random() - 0.5));
    let centre = 0;
    let shift = 0;
    for (let round = 0; round < 1000; round++) {
      const one = hodgesLehmannCentre(Array.from({ length: 10 }, cauchy), 0.9);
      if (one.lower <= 0 && one.upper >= 0) centre++;
      const two = hodgesLehmannShift(Array.from({ length: 6 }, cauchy), Array.from({ length: 7 }, cauchy), 0.9);
      if (two.lower <= 0 && two.upper >= 0) shift++;
    }
    expect(centre).toBeGreaterThan(880);
    expect(shift).toBeGreaterThan(880);
  });
});

describe("the sign-flip test", () => {
  it("matches Fisher's count on Darwin's maize: 863 of 32768", () => {
    const differences = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48];
    expect(signFlipTest(differences, "greater")).toEqual({ p: 863 / 32768, exact: true, standardError: 0 });
    expect(signFlipTest(differences, "two-sided").p).toBe((2 * 863) / 32768);
  });

  it("matches brute force for every alternative", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 10 }), (values) => {
        expect(signFlipTest(values, "greater").p).toBe(signFlipByBruteForce(values, (sum, found) => sum >= found));
        expect(signFlipTest(values, "less").p).toBe(signFlipByBruteForce(values, (sum, found) => sum <= found));
        expect(signFlipTest(values, "two-sided").p).toBe(
          signFlipByBruteForce(values, (sum, found) => Math.abs(sum) >= Math.abs(found)),
        );
      }),
    );
  });

  it("counts equal sums as equal though rounding tells them apart", () => {
    expect(signFlipTest([0.1, 0.2, 0.3], "greater").p).toBe(1 / 8);
    expect(signFlipTest([0.1, 0.2, -0.3], "two-sided").p).toBe(1);
  });

  it("gives 2^-n when all values agree, and estimates beyond 20 values with a stated error", () => {
    expect(signFlipTest(new Array(20).fill(1), "greater").p).toBe(2 ** -20);
    const alternating = Array.from({ length: 30 }, (_, at) => (at % 2 ? 1 : -1));
    const estimated = signFlipTest(alternating, "greater", 3);
    // P(sum of 30 signs >= 0) = (1 + P(sum = 0)) / 2, and C(30, 15) / 2^30 = 0.14446
    expect(Math.abs(estimated.p - 0.57223)).toBeLessThan(4 * estimated.standardError);
    expect(estimated.exact).toBe(false);
    expect(estimated.standardError).toBeCloseTo(0.00156, 4);
    expect(signFlipTest(new Array(30).fill(1), "greater").p).toBe(1e-5);
  });

  it("on signed ranks is Wilcoxon's: R's wilcox.test on the depression scores gives 0.01953", () => {
    const before = [1.83, 0.5, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.3];
    const after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
    const ranks = signedRanks(before.map((value, at) => value - after[at]!));
    expect(ranks.filter((rank) => rank > 0).reduce((a, b) => a + b, 0)).toBe(40);
    expect(signFlipTest(ranks, "greater").p).toBeCloseTo(0.01953, 5);
  });

  it("ranks ties with their average and gives zero no sign", () => {
    expect(signedRanks([-2, 2, 0, 5])).toEqual([-2.5, 2.5, 0, 4]);
  });
});

describe("the rank-sum test", () => {
  it("matches Hollander and Wolfe's permeability data: p = 0.1272 that values at term are larger", () => {
    const atTerm = [0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    const early = [1.15, 0.88, 0.9, 0.74, 1.21];
    expect(rankSumTest(atTerm, early, "greater")).toBeCloseTo(0.1272, 4);
  });

  it("matches brute force over all ways to divide the values", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer(), { minLength: 2, maxLength: 8 }), fc.nat(), (all, raw) => {
        const size = 1 + (raw % (all.length - 1));
        const wins = (chosen: number[], rest: number[]) =>
          chosen.reduce((sum, value) => sum + rest.filter((other) => value > other).length, 0);
        const found = wins(all.slice(0, size), all.slice(size));
        let hits = 0;
        let ways = 0;
        for (let bits = 0; bits < 2 ** all.length; bits++) {
          const chosen = all.filter((_, at) => bits & (1 << at));
          if (chosen.length !== size) continue;
          ways++;
          if (
            wins(
              chosen,
              all.filter((value) => !chosen.includes(value)),
            ) >= found
          )
            hits++;
        }
        expect(rankSumTest(all.slice(0, size), all.slice(size), "greater")).toBeCloseTo(hits / ways, 9);
      }),
    );
  });

  it("mirrors with the alternative and is 1 where all is equal", () => {
    expect(rankSumTest([1, 2, 3], [4, 5, 6], "less")).toBeCloseTo(1 / 20, 12);
    expect(rankSumTest([4, 5, 6], [1, 2, 3], "greater")).toBeCloseTo(1 / 20, 12);
    expect(rankSumTest([7, 7], [7, 7], "less")).toBeCloseTo(1, 12);
  });
});

describe("holm", () => {
  it("matches R's p.adjust(c(.01, .04, .03, .005), 'holm')", () => {
    expect(holm([0.01, 0.04, 0.03, 0.005])).toEqual([0.03, 0.06, 0.06, 0.02]);
    expect(holm([])).toEqual([]);
  });

  it("never lowers a p, never passes 1, keeps the order, and lies at or below Bonferroni's", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 }), (ps) => {
        const adjusted = holm(ps);
        ps.forEach((p, at) => {
          expect(adjusted[at]).toBeGreaterThanOrEqual(p);
          expect(adjusted[at]).toBeLessThanOrEqual(Math.min(1, p * ps.length));
          for (let other = 0; other < ps.length; other++) {
            if (p < ps[other]!) expect(adjusted[at]).toBeLessThanOrEqual(adjusted[other]!);
          }
        });
      }),
    );
  });
});

describe("binomialInterval", () => {
  it("matches R's binom.test(682, 925): 0.7076683 to 0.7654066", () => {
    const interval = binomialInterval(682, 925);
    expect(interval.point).toBeCloseTo(0.7372973, 7);
    expect(interval.lower).toBeCloseTo(0.7076683, 7);
    expect(interval.upper).toBeCloseTo(0.7654066, 7);
  });

  it("has the closed form at no success and at nothing else", () => {
    expect(binomialInterval(0, 60)).toMatchObject({ point: 0, lower: 0 });
    expect(binomialInterval(0, 60).upper).toBeCloseTo(1 - 0.025 ** (1 / 60), 12);
    expect(binomialInterval(60, 60).lower).toBeCloseTo(0.025 ** (1 / 60), 12);
    expect(binomialInterval(60, 60).upper).toBe(1);
    expect(() => binomialInterval(3, 2)).toThrow(RangeError);
    expect(() => binomialInterval(0, 0)).toThrow(RangeError);
  });

  it("mirrors: failures have the mirrored interval of successes", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 80 }), fc.nat(80), (trials, raw) => {
        const successes = Math.min(raw, trials);
        const one = binomialInterval(successes, trials);
        const other = binomialInterval(trials - successes, trials);
        expect(one.lower).toBeCloseTo(1 - other.upper, 9);
        expect(one.lower).toBeLessThanOrEqual(one.point);
        expect(one.upper).toBeGreaterThanOrEqual(one.point);
      }),
    );
  });
});

describe("judge", () => {
  const of = (lower: number, upper: number) => ({ point: (lower + upper) / 2, lower, upper, confidence: 0.9 });

  it("needs the whole interval on one side of the margin", () => {
    expect(judge(of(1.04, 1.2), 0.03, "lower")).toBe("regression");
    expect(judge(of(1.04, 1.2), 0.03, "higher")).toBe("improvement");
    expect(judge(of(0.8, 0.95), 0.03, "lower")).toBe("improvement");
    expect(judge(of(0.8, 0.95), 0.03, "higher")).toBe("regression");
    expect(judge(of(0.98, 1.02), 0.03, "lower")).toBe("equivalent");
    expect(judge(of(1.02, 1.2), 0.03, "lower")).toBe("inconclusive");
    expect(judge(of(0.98, 1.06), 0.03, "lower", 0.1)).toBe("equivalent");
    expect(judge(of(1.04, 1.06), 0.03, "lower", 0.1)).toBe("regression");
    expect(judge(of(0, Number.POSITIVE_INFINITY), 0.03, "lower")).toBe("inconclusive");
  });

  it("turns round when the ratio is inverted or the better side changes", () => {
    const mirrored = { regression: "improvement", improvement: "regression" } as Record<string, string>;
    fc.assert(
      fc.property(
        fc.double({ min: 0.5, max: 2, noNaN: true }),
        fc.double({ min: 1, max: 1.5, noNaN: true }),
        (at, width) => {
          const interval = of(at, at * width);
          const verdict = judge(interval, 0.05, "lower");
          const turned = mirrored[verdict] ?? verdict;
          expect(judge(interval, 0.05, "higher")).toBe(turned);
        },
      ),
    );
  });
});

describe("isSteady", () => {
  it("accepts noise about a level and refuses a slope, a range and a level of nothing but zeros with a spike", () => {
    expect(isSteady([100, 103, 98, 101, 99])).toBe(true);
    expect(isSteady([100, 104, 108, 112, 116])).toBe(false);
    expect(isSteady([100, 100, 130, 100, 100])).toBe(false);
    expect(isSteady([0, 0, 1, 0, 0])).toBe(false);
    expect(isSteady([0, 0, 0])).toBe(false);
    expect(isSteady([100, 104, 108, 112, 116], { spread: 0.2, slope: 0.2 })).toBe(true);
    expect(() => isSteady([1])).toThrow(RangeError);
  });
});

describe("ratioOfSamples", () => {
  it("is the shift of the logarithms, with as much confidence as the counts allow", () => {
    expect([attainableRankSumConfidence(1, 1), attainableRankSumConfidence(3, 2)]).toEqual([0, 0.8]);
    expect(attainableRankSumConfidence(3, 4)).toBeCloseTo(1 - 2 / 35, 12);
    const { point, lower, upper } = ratioOfSamples([20, 40, 80], [10, 10], 0.8);
    expect([point, lower, upper]).toEqual([expect.closeTo(4, 9), expect.closeTo(2, 9), expect.closeTo(8, 9)]);
    expect(ratioOfSamples([20, 40, 80], [10, 10], 0.95).upper).toBe(Number.POSITIVE_INFINITY);
  });
});
