import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../results/random.js";
import { RateSearch, type SearchResult } from "./rate-search.js";

function search(capacity: number, isMet: (rate: number) => boolean): { result: SearchResult; tried: number[] } {
  const searching = new RateSearch(capacity);
  const tried: number[] = [];
  for (let rate = searching.next(); rate !== null; rate = searching.next()) {
    tried.push(rate);
    searching.record(rate, isMet(rate));
  }
  return { result: searching.result, tried };
}

describe("RateSearch", () => {
  it("finds the limit of a machine without noise to within 5 %, never above it, wherever it lies", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.012, max: 1.19, noNaN: true }), (share) => {
        const { result, tried } = search(1e5, (rate) => rate <= share * 1e5);
        expect(result.end).toBe("found");
        expect(result.ratePerSecond!).toBeLessThanOrEqual(share * 1e5);
        expect(result.ratePerSecond! * 1.05).toBeGreaterThanOrEqual(share * 1e5 * 0.999);
        expect(tried.length).toBeLessThanOrEqual(16);
      }),
    );
  });

  it("says so when even the highest rate is met, or not even the lowest", () => {
    expect(search(1_000, () => true).result).toEqual({ ratePerSecond: 1_200, end: "ceiling" });
    expect(search(1_000, () => false).result).toEqual({ ratePerSecond: null, end: "never" });
  });

  it("does not believe a rate that was met by luck once", () => {
    let calls = 0;
    const { result } = search(1_000, (rate) => rate <= 300 || ++calls === 1);
    expect(result.end).toBe("found");
    expect(result.ratePerSecond!).toBeLessThanOrEqual(300);
  });

  it("ends on a machine where nothing repeats, with nothing but what was met twice", () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = seededRandom(seed);
      const met: number[] = [];
      const { result, tried } = search(1_000, (rate) => {
        const isMet = random() < 0.5;
        if (isMet) met.push(rate);
        return isMet;
      });
      expect(tried.length).toBeLessThanOrEqual(16);
      if (result.ratePerSecond !== null) {
        expect(met.filter((rate) => rate === result.ratePerSecond).length).toBeGreaterThanOrEqual(2);
      }
    }
  });
});
