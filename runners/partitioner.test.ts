import { describe, expect, it } from "vitest";
import { seededRandom } from "../results/random.js";
import { murmur2, partitionOfKey, uniformKeys, zipfKeys } from "./partitioner.js";

const bytes = (text: string) => new TextEncoder().encode(text);

function countDraws(draw: () => number, keyCount: number, draws: number): number[] {
  const counts = new Array<number>(keyCount).fill(0);
  for (let i = 0; i < draws; i++) counts[draw()]!++;
  return counts;
}

describe("partitionOfKey", () => {
  it("hashes as Kafka's clients do (org.apache.kafka.common.utils.UtilsTest.testMurmur2)", () => {
    const expected: [string, number][] = [
      ["21", -973932308],
      ["foobar", -790332482],
      ["a-little-bit-long-string", -985981536],
      ["a-little-bit-longer-string", -1486304829],
      ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
      ["abc", 479470107],
    ];
    expect(expected.map(([text]) => murmur2(bytes(text)))).toEqual(expected.map(([, hash]) => hash));
  });

  it("is a place among the partitions, for bytes anywhere in memory", () => {
    const shifted = new Uint8Array(20);
    shifted.set(bytes("foobar"), 7);
    expect(partitionOfKey(shifted.subarray(7, 13), 10)).toBe((-790332482 & 0x7fff_ffff) % 10);
    const places = Array.from({ length: 1_000 }, (_, key) => partitionOfKey(bytes(`key-${key}`), 7));
    expect(new Set(places)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
  });
});

describe("the choice of keys", () => {
  it("draws uniform keys equally often", () => {
    const counts = countDraws(uniformKeys(20, seededRandom(1)), 20, 200_000);
    expect(Math.min(...counts)).toBeGreaterThan(9_600);
    expect(Math.max(...counts)).toBeLessThan(10_400);
  });

  it("draws Zipf keys with weights 1 / rank^0.99", () => {
    for (const keyCount of [1, 2, 100, 5_000]) {
      const draws = 500_000;
      const counts = countDraws(zipfKeys(keyCount, seededRandom(2)), keyCount, draws);
      const total = counts.reduce((sum, _, key) => sum + (key + 1) ** -0.99, 0);
      for (const key of [0, 1, 9, 99].filter((rank) => rank < keyCount)) {
        const expected = (draws * (key + 1) ** -0.99) / total;
        // Five standard deviations of a binomial count.
        expect(Math.abs(counts[key]! - expected)).toBeLessThan(5 * Math.sqrt(expected) + 1);
      }
    }
  });

  it("draws the same keys for the same seed", () => {
    const sequence = (seed: number) => {
      const draw = zipfKeys(1_000, seededRandom(seed));
      return Array.from({ length: 100 }, draw);
    };
    expect(sequence(4)).toEqual(sequence(4));
    expect(sequence(4)).not.toEqual(sequence(5));
  });
});
