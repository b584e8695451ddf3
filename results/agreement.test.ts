import { expect, it } from "vitest";
import { agreementRatio, agreementWords } from "./agreement.js";

const having = (...ratios: number[]) => ({
  blockSizeBytes: 16_384,
  fileSizeBytes: 1 << 20,
  rounds: ratios.map((ratio) => ({ rawBytesPerSecond: ratio * 500e6, fioBytesPerSecond: 500e6 })),
});

it("takes the median of the rounds' ratios, so that one stall decides nothing", () => {
  expect(agreementRatio(having(1.02, 0.2, 0.98))).toBeCloseTo(0.98, 12);
});

it.each([
  [0.851, true],
  [0.849, false],
  [1.149, true],
  [1.151, false],
])("judges a ratio of %d by 15 %% either way", (ratio, agrees) => {
  const words = agreementWords(having(ratio));
  expect(words.agrees).toBe(agrees);
  expect(words.sentence).toMatch(agrees ? /they agree within 15 %\.$/ : /differ by more than 15 %, so shares of raw/);
});
