import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatBytesPerSecond,
  formatCount,
  formatRate,
  formatRatio,
  formatShare,
  formatTime,
  groupThousands,
  threeDigits,
} from "./format.js";

const plain = (text: string) => text.replaceAll("\u00a0", " ");

describe("figures as people read them", () => {
  it.each([
    [formatRate, 812_400, "812 k/s"],
    [formatRate, 999_960, "1.00 M/s"],
    [formatRate, 0, "0/s"],
    [formatCount, 42, "42.0"],
    [formatBytesPerSecond, 1_319_999_999, "1.32 GB/s"],
    [formatTime, 640, "640 ns"],
    [formatTime, 999.6, "1.00 µs"],
    [formatTime, 1_234_567, "1.23 ms"],
    [formatTime, 59e9, "59.0 s"],
    [formatRatio, 1.4249, "1.42×"],
    [formatRatio, 12_345, "12 300×"],
    [formatShare, 0.874, "87 %"],
    [formatShare, 0.0412, "4.1 %"],
    [formatShare, 0, "0 %"],
    [formatShare, 20.9, "2 090 %"],
    [groupThousands, 10_000, "10 000"],
  ] as const)("%o of %d reads %s", (format, value, expected) => {
    expect(plain(format(value))).toBe(expected);
  });

  it("keeps three significant digits of any positive number", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 1e12, noNaN: true }), (value) => {
        const shown = Number(threeDigits(value).replaceAll("\u00a0", ""));
        expect(Math.abs(shown - value) / value).toBeLessThanOrEqual(0.0051);
      }),
    );
  });
});
