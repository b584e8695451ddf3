import { expect, it } from "vitest";
import { analyse } from "./analysis.js";
import { splitDoubts } from "./doubts.js";
import { syntheticRun } from "./synthetic-run.js";

it("counts the cells that a reason makes invalid apart from those that the same reason makes doubtful", () => {
  const run = syntheticRun({ trialCount: 1 });
  const trials = run.trials.filter(({ scenarioId, measured }) => scenarioId === "linger" && measured !== null);
  for (const [at, trial] of trials.entries()) {
    for (const sample of trial.measured!.samples) sample.stealFraction = at === 0 ? 0.2 : at <= 2 ? 0.05 : 0;
  }
  const { scenarios } = analyse({ ...run, trials });
  const { own } = splitDoubts(scenarios);
  const said = own.flat().filter((doubt) => doubt.includes("hypervisor"));
  expect(said).toEqual([
    expect.stringMatching(
      /^Invalid: The hypervisor withheld 20 % of .* \(all figures; 1 of \d+ cells; in 2 more it is less and makes them doubtful\)$/,
    ),
  ]);
});
