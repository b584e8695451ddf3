import { beforeEach, describe, expect, it } from "vitest";
import type { Measured, Trial } from "../results/schema.js";
import { Repeats } from "./repeats.js";

const MB = 1e6;

/** A trial that wrote 100 MB while others wrote so much: of all that is measured, what bears on that. */
function beside(foreignBytes: number): Trial {
  const counters = { syncCalls: 0 } as Measured["counters"];
  const samples = [{ deviceWrittenBytes: 100 * MB + foreignBytes }] as Measured["samples"];
  const measured = { counters, samples, dirtyBytesAtStart: 0, ownDeviceBytes: 100 * MB } as Measured;
  return { measured, verification: { outcome: "passed" } } as Trial;
}

describe("a trial beside which others wrote to the device", () => {
  let told: string[];
  let attempts: number;
  const repeats = (plannedTrialCount: number, allowsNeighbours = false) =>
    new Repeats({ plannedTrialCount, allowsNeighbours }, (line) => told.push(line));
  const of = (foreignBytes: readonly number[]) => async () => beside(foreignBytes[attempts++] ?? 0);
  beforeEach(() => {
    told = [];
    attempts = 0;
  });

  it("is repeated until they are quiet, and says how often and why", async () => {
    const trial = await repeats(1).untilUndisturbed("a", of([100 * MB, 50 * MB, 0]));
    expect(attempts).toBe(3);
    expect(trial.disturbedAttempts.map((share) => Math.round(share * 100))).toEqual([49, 33]);
    expect(told).toEqual([
      "Thrown away and repeated: others wrote 49 % of what the device wrote beside a.",
      "Thrown away and repeated: others wrote 33 % of what the device wrote beside a.",
    ]);
  });

  it("is left alone if they wrote little", async () => {
    const trial = await repeats(1).untilUndisturbed("a", of([5 * MB]));
    expect([attempts, trial.disturbedAttempts, told]).toEqual([1, [], []]);
  });

  it("is kept after two repetitions, and without any when the run's are used up", async () => {
    const noisy = of(Array(20).fill(900 * MB));
    const rule = repeats(1);
    expect((await rule.untilUndisturbed("a", noisy)).disturbedAttempts).toHaveLength(2);
    expect((await rule.untilUndisturbed("b", noisy)).disturbedAttempts).toHaveLength(1);
    expect((await rule.untilUndisturbed("c", noisy)).disturbedAttempts).toHaveLength(0);
    expect(attempts).toBe(6);
    expect(
      told.filter((line) => /^Kept as invalid: .* \(--allow-neighbours repeats none\)\.$/.test(line)),
    ).toHaveLength(3);
  });

  it("is kept at once if that was asked for, and if nobody knows what others wrote", async () => {
    const asked = await repeats(1, true).untilUndisturbed("a", of([900 * MB]));
    const failed = await repeats(1).untilUndisturbed("b", async () => ({ ...beside(0), measured: null }));
    expect([attempts, asked.disturbedAttempts, failed.disturbedAttempts, told]).toEqual([1, [], [], []]);
  });
});
