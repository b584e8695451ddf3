import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { changePoints } from "./change-points.js";
import { seededRandom } from "./random.js";

/** Annual flow of the Nile at Aswan, 1871 to 1970 (Cobb 1978): it fell between 1898 and 1899, index 28. */
const NILE = [
  1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140, 1100,
  1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969, 831, 726, 456,
  824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897,
  822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890, 744, 749, 838, 1050, 918, 986, 797, 923, 975,
  815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
];

/** The definition, written down without any sharing of sums. */
function deepestCutByBruteForce(values: number[], minimumLength: number): { at: number; distance: number } | null {
  const meanDistance = (xs: number[], ys: number[]) =>
    xs.flatMap((x) => ys.map((y) => Math.abs(x - y))).reduce((a, b) => a + b, 0) / (xs.length * ys.length);
  const meanWithin = (xs: number[]) => (meanDistance(xs, xs) * xs.length) / (xs.length - 1);
  let best: { at: number; distance: number } | null = null;
  for (let at = minimumLength; at <= values.length - minimumLength; at++) {
    for (let end = at + minimumLength; end <= values.length; end++) {
      const xs = values.slice(0, at);
      const ys = values.slice(at, end);
      const scale = (xs.length * ys.length) / (xs.length + ys.length);
      const distance = scale * (2 * meanDistance(xs, ys) - meanWithin(xs) - meanWithin(ys));
      if (distance > (best?.distance ?? 0) + 1e-9) best = { at, distance };
    }
  }
  return best;
}

describe("changePoints", () => {
  it("finds the fall of the Nile in 1899 and nothing else at 1 %", () => {
    expect(changePoints(NILE, { significance: 0.01 }).map((change) => change.at)).toEqual([28]);
  });

  it("cuts where the definition says", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 6, maxLength: 8 }), (values) => {
        const expected = deepestCutByBruteForce(values, 3);
        const found = changePoints(values, { significance: 1, permutations: 1 });
        expect(found.map((change) => change.at)).toEqual(expected === null ? [] : [expected.at]);
      }),
    );
  });

  it("finds a step up and the step back down", () => {
    const random = seededRandom(5);
    const series = Array.from({ length: 60 }, (_, at) => (at >= 20 && at < 40 ? 110 : 100) + 4 * random());
    expect(changePoints(series).map((change) => change.at)).toEqual([20, 40]);
  });

  it("never judges the last values alone", () => {
    const series = [...Array.from({ length: 30 }, (_, at) => 100 + (at % 3)), 200, 200];
    expect(changePoints(series).every((change) => change.at <= series.length - 3)).toBe(true);
    expect(changePoints(series.slice(0, 31))).toEqual([]);
  });

  it("alarms on pure noise about as often as its significance allows", () => {
    let alarms = 0;
    for (let round = 0; round < 100; round++) {
      const random = seededRandom(round);
      const series = Array.from({ length: 15 }, random);
      if (changePoints(series, { permutations: 199, seed: round }).length > 0) alarms++;
    }
    expect(alarms).toBeLessThanOrEqual(11);
  });

  it("says nothing of short or constant series", () => {
    expect(changePoints([])).toEqual([]);
    expect(changePoints([1, 2, 3, 4, 5])).toEqual([]);
    expect(changePoints(new Array(40).fill(7))).toEqual([]);
    expect(() => changePoints([1], { minimumLength: 1 })).toThrow(RangeError);
  });
});
