import { describe, expect, it } from "vitest";
import { seededRandom, shuffle } from "./random.js";

describe("seededRandom", () => {
  it("repeats with the seed, whatever the seed is", () => {
    for (const seed of [0, 1, -1, 2 ** 31, 4_000_000_000]) {
      const [one, other] = [seededRandom(seed), seededRandom(seed)];
      expect(Array.from({ length: 20 }, one)).toEqual(Array.from({ length: 20 }, other));
    }
  });

  it("spreads evenly over [0, 1), also across neighbouring seeds", () => {
    const buckets = new Array<number>(10).fill(0);
    for (let seed = 0; seed < 1000; seed++) {
      const random = seededRandom(seed);
      for (let draw = 0; draw < 10; draw++) {
        const value = random();
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThan(1);
        buckets[Math.floor(value * 10)]!++;
      }
    }
    // chi-square with 9 degrees of freedom: 27.9 is exceeded once in a thousand
    expect(buckets.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(27.9);
  });
});

describe("shuffle", () => {
  it("gives every order equally often", () => {
    const random = seededRandom(1);
    const orders = new Map<string, number>();
    for (let round = 0; round < 6000; round++) {
      const order = shuffle(["a", "b", "c"], random).join("");
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    expect(orders.size).toBe(6);
    for (const count of orders.values()) expect(Math.abs(count - 1000)).toBeLessThan(120);
  });
});
