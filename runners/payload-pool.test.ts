import { describe, expect, it } from "vitest";
import { createPayloadPool } from "./payload-pool.js";

describe("createPayloadPool", () => {
  it("makes distinct payloads of the asked size, in the heap", () => {
    for (const sizeBytes of [1, 2, 100, 1_024, 16_384, 1_048_576]) {
      const { messages } = createPayloadPool({ sizeBytes, compressibleFraction: 0.5, seed: 3 });
      const contents = new Set(messages.map(({ value }) => Buffer.from(value!).toString("latin1")));
      expect(contents.size).toBe(messages.length);
      expect(
        messages.every(({ valueAddress, valueSizeBytes }) => valueAddress > 0 && valueSizeBytes === sizeBytes),
      ).toBe(true);
    }
  });

  it("stays within a cache's size, in a prime number", () => {
    const sizes = [100, 1_024, 4_096, 65_536].map((sizeBytes) => {
      const { messages } = createPayloadPool({ sizeBytes, compressibleFraction: 0, seed: 3 });
      expect(messages.length * sizeBytes).toBeLessThanOrEqual(256 * 1_024);
      return messages.length;
    });
    expect(sizes).toEqual([251, 251, 61, 3]);
  });

  it("honours the compressible fraction", () => {
    for (const compressibleFraction of [0, 0.25, 1]) {
      const { messages } = createPayloadPool({ sizeBytes: 10_000, compressibleFraction, seed: 5 });
      const payload = messages[0]!.value!;
      const filler = payload.at(-1)!;
      const share = payload.filter((byte) => byte === filler).length / payload.length;
      expect(Math.abs(share - (compressibleFraction + (1 - compressibleFraction) / 256))).toBeLessThan(0.01);
    }
  });

  it("is the same for the same seed and another for another", () => {
    const contents = (seed: number) =>
      createPayloadPool({ sizeBytes: 64, compressibleFraction: 0, seed }).messages.map(({ value }) => [...value!]);
    expect(contents(9)).toEqual(contents(9));
    expect(contents(9)).not.toEqual(contents(10));
  });
});
