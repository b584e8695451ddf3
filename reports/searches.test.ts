import { describe, expect, it } from "vitest";
import type { Run, Search, Trial } from "../results/schema.js";
import { renderMarkdown } from "./markdown.js";
import { buildModel } from "./model.js";
import { searchRows, searchSentence } from "./searches.js";
import { syntheticRun } from "./synthetic-run.js";
import { terminalTable } from "./terminal.js";

const run = syntheticRun();
const openTrial = run.trials.find(
  ({ configuration, measured }) => configuration.load.model === "open" && measured !== null,
)!;

function stepAt(ratePerSecond: number, isMet: boolean, latencyNs: number): Search["steps"][number] {
  const load = { ...openTrial.configuration.load, ratePerSecond } as Trial["configuration"]["load"];
  return { isMet, latencyNs, trial: { ...openTrial, configuration: { ...openTrial.configuration, load } } };
}

const found: Search = {
  scenarioId: "many-partitions",
  engine: "commitlog",
  point: { "topology.partitionsPerTopic": 100 },
  objective: { percentile: 99, latencyNs: 5e6 },
  capacityPerSecond: 1e6,
  steps: [stepAt(5e5, true, 2e6), stepAt(1e6, false, 9e6), stepAt(5e5, true, 3e6)],
  ratePerSecond: 5e5,
  end: "found",
};
const never: Search = {
  ...found,
  engine: "partitioned-log",
  steps: [stepAt(1e4, false, 8e6)],
  ratePerSecond: null,
  end: "never",
};
const withSearches: Run = { ...run, searches: [found, never] };

describe("searches in reports", () => {
  it("name the rate, its share of the closed loop, and the worse latency of the trials that met it", () => {
    const [first, second] = searchRows(withSearches);
    expect(first).toMatchObject({
      point: "partitions\u00a0=\u00a0100",
      ratePerSecond: 5e5,
      shareOfCapacity: 0.5,
      latencyNs: 3e6,
      classes: openTrial.measured!.durabilityClass,
    });
    expect(second).toMatchObject({ ratePerSecond: null, shareOfCapacity: null, latencyNs: null });
    expect(searchSentence(first!).replaceAll("\u00a0", " ")).toBe(
      "Many partitions, partitions = 100, commitlog: 500 k/s with p99 ≤ 5.00 ms (50 % of its closed-loop capacity); met twice, and missed within 5 % above it, in 3 trials.",
    );
    expect(searchSentence(second!)).toContain("no rate with p99 ≤ 5.00\u00a0ms; missed at every rate");
  });

  it("say how many trials were invalid, which say nothing of their rate", () => {
    const [first, ...others] = found.steps;
    const stepped = {
      ...first!,
      trial: { ...first!.trial, measured: { ...first!.trial.measured!, clockStepNs: 9e9 } },
    };
    const search: Search = { ...found, steps: [{ ...stepped, isMet: false }, first!, ...others] };
    expect(searchRows({ ...run, searches: [search] })[0]!.words).toBe(
      "met twice, and missed within 5 % above it, in 4 trials, 1 of them invalid",
    );
  });

  it("stand in Markdown and on the terminal where there are any, and nowhere else", () => {
    expect(renderMarkdown(buildModel(withSearches))).toContain("## The highest rate that meets the objective");
    expect(renderMarkdown(buildModel(run))).not.toContain("meets the objective");
    expect(terminalTable(withSearches)).toContain("500 k/s with p99 ≤ 5.00 ms");
  });

  it("say why a search came to nothing", () => {
    const failed = { ...openTrial, status: "failed" as const, failures: ["It broke."], measured: null };
    const broken: Search = { ...never, end: "unsettled", steps: [{ isMet: false, latencyNs: null, trial: failed }] };
    expect(searchRows({ ...run, searches: [broken] })[0]!.words).toBe(
      "not settled in 1 trial: the last trial failed: It broke",
    );
  });
});
