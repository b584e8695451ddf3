import { describe, expect, it } from "vitest";
import { SteadyState } from "./steady-state.js";

function steadyAt(rates: readonly number[], windowLength = 5): number {
  const steadyState = new SteadyState(windowLength);
  return rates.findIndex((rate) => steadyState.add(rate));
}

describe("SteadyState", () => {
  it("needs a whole window", () => {
    expect(steadyAt([100, 100, 100, 100])).toBe(-1);
    expect(steadyAt([100, 100, 100, 100, 100])).toBe(4);
  });

  it("waits until a ramp has left the window", () => {
    expect(steadyAt([10, 40, 70, 90, 100, 100, 100, 100, 100])).toBe(7);
  });

  it("is not reached while the rate drifts slowly but surely", () => {
    // The range stays below 20 % of the mean; it is the slope, 12 % over the window, that tells.
    expect(steadyAt(Array.from({ length: 50 }, (_, i) => 100 * 1.03 ** i))).toBe(-1);
  });

  it("is not reached while the rate swings by more than a fifth", () => {
    expect(steadyAt(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? 100 : 130)))).toBe(-1);
    expect(steadyAt(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? 100 : 110)))).toBe(4);
  });

  it("is not reached by an engine that does nothing", () => {
    expect(steadyAt([0, 0, 0, 0, 0, 0])).toBe(-1);
  });
});
