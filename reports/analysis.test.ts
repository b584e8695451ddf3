import { describe, expect, it } from "vitest";
import { type Measured, type Run, type Trial, trialSchema } from "../results/schema.js";
import { attainableConfidence, ratioOfSamples } from "../results/statistics.js";
import { analyse, findGroup, type ScenarioAnalysis } from "./analysis.js";
import { syntheticRun } from "./synthetic-run.js";

const run = syntheticRun({ trialCount: 3 });

function scenarioOf(of: Run, id: string): ScenarioAnalysis {
  const trials = of.trials.filter(({ scenarioId }) => scenarioId === id);
  return analyse({ ...of, trials }).scenarios.find(({ record }) => record.id === id)!;
}

function groupOf(scenario: ScenarioAnalysis, engine: string, values: unknown[], loadKey = "closed") {
  return findGroup(scenario.groups, engine, { key: JSON.stringify(values), values: [] }, loadKey)!;
}

/** A copy of the run in which `change` has altered the trials that it wants. */
function altered(change: (trial: Trial) => void): Run {
  const copy = structuredClone(run);
  for (const trial of copy.trials) change(trial);
  return copy;
}

function trialsOf(of: Run, scenarioId: string, engine: string, point: Record<string, unknown>): Trial[] {
  return of.trials.filter(
    (trial) =>
      trial.scenarioId === scenarioId &&
      trial.engine === engine &&
      trial.configuration.load.model === "closed" &&
      Object.entries(point).every(([path, value]) => trial.point[path] === value),
  );
}

function setRate(trial: Trial, messagesPerSecond: number): void {
  trial.measured!.acknowledged.messagesPerSecond = messagesPerSecond;
}

describe("groups", () => {
  it("hold the median over trials and an interval around it", () => {
    const rates = trialsOf(run, "many-partitions", "commitlog", { "topology.partitionsPerTopic": 100 }).map(
      (trial) => trial.measured!.acknowledged.messagesPerSecond,
    );
    const { acknowledged } = groupOf(scenarioOf(run, "many-partitions"), "commitlog", [100]);
    const sorted = rates.toSorted((a, b) => a - b);
    expect(acknowledged).toEqual({ point: sorted[1], lower: sorted[0], upper: sorted[2], confidence: 0.75 });
  });

  it("give failed trials no part in the figures, and list them", () => {
    const scenario = scenarioOf(run, "many-partitions");
    const group = groupOf(scenario, "partitioned-log", [10_000]);
    expect([group.trials.length, group.failedCount]).toEqual([2, 1]);
    expect(scenario.failedTrials.map((trial) => trial.failures[0])).toEqual([
      expect.stringContaining("EMFILE, too many open files"),
    ]);
  });

  it("take nothing from a trial that missed its rate, however good it looks", () => {
    const isMissed = ({ failureKind }: Trial) => failureKind === "rate";
    expect(run.trials.filter(isMissed)).toHaveLength(1);
    const without = {
      ...run,
      trials: run.trials.map((trial) => (isMissed(trial) ? { ...trial, measured: null } : trial)),
    };
    const figures = (of: Run) => {
      const { groups, comparisons, trends, durabilityClasses } = scenarioOf(of, "device-ceiling");
      return { groups, comparisons, trends, durabilityClasses };
    };
    expect(figures(run)).toEqual(figures(without));
    const missed = run.trials.find(isMissed)!;
    const asKind = (failureKind: Trial["failureKind"]) => trialSchema.safeParse({ ...missed, failureKind }).success;
    expect([asKind("rate"), asKind("engine"), asKind(null)]).toEqual([true, false, false]);
    expect(groupOf(scenarioOf(run, "device-ceiling"), "commitlog", [], "open 0.9 poisson")).toMatchObject({
      failedCount: 1,
      missedCount: 1,
    });
  });

  it("have no figures where every trial failed, and are ranked nowhere", () => {
    const hopeless = altered((trial) => {
      if (trial.scenarioId !== "device-ceiling" || trial.engine !== "commitlog") return;
      trial.status = "failed";
      trial.failures = ["Timed out."];
      trial.measured = null;
    });
    const scenario = scenarioOf(hopeless, "device-ceiling");
    expect(groupOf(scenario, "commitlog", [])).toMatchObject({ acknowledged: null, durable: null, responseTime: null });
    expect(scenario.comparisons).toEqual([]);
    expect(scenario.refused).toEqual([expect.objectContaining({ reason: "no figures" })]);
  });

  it("run in the order of the axes, engines before baselines", () => {
    const { groups } = scenarioOf(run, "many-partitions");
    expect([...new Set(groups.map(({ point }) => point.values[0]))]).toEqual([1, 10, 100, 1_000, 10_000]);
    expect([...new Set(groups.map(({ engine }) => engine))]).toEqual(["partitioned-log", "commitlog", "null", "raw"]);
  });
});

describe("shares of the limits", () => {
  it("take raw at the figure's own point, or name the nearest fair one", () => {
    const scenario = scenarioOf(run, "many-partitions");
    const rates = (group: { trials: readonly { measured: unknown }[] }) =>
      group.trials.map(({ measured }) => (measured as Measured).acknowledged.messagesPerSecond);
    const raw = rates(groupOf(scenario, "raw", [1]));
    const [near, far] = [groupOf(scenario, "commitlog", [1]), groupOf(scenario, "commitlog", [1_000])];
    // Three trials each: 20 orders of them, so that their whole range holds the ratio with 90 %.
    expect(near.ofRaw!.acknowledged).toEqual({ share: ratioOfSamples(rates(near), raw, 0.9), referencePoint: null });
    expect(near.ofRaw!.acknowledged.share.upper).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(far.ofRaw!.acknowledged.share).toEqual(ratioOfSamples(rates(far), raw, 0.9));
    expect(far.ofRaw!.acknowledged.referencePoint!.values).toEqual([1]);
  });

  it("refuse raw of another flush policy, message size or number of messages in flight", () => {
    const scenario = scenarioOf(run, "flush-policy");
    const group = groupOf(scenario, "commitlog", ["sync", 32, 100]);
    expect(group.ofRaw!.acknowledged.referencePoint!.values).toEqual(["sync", 32, 1]);
    const withoutFair = altered((trial) => {
      if (trial.engine === "raw") trial.configuration.messages.sizeBytes = 100;
    });
    expect(groupOf(scenarioOf(withoutFair, "flush-policy"), "commitlog", ["sync", 32, 100]).ofRaw).toBeNull();
  });

  it("take the raw that had the engine's own batch size, and name it so", () => {
    const apart = altered((trial) => {
      if (trial.scenarioId !== "device-ceiling" || trial.engine !== "raw") return;
      trial.limits = [trial.repetition === 1 ? "commitlog" : "partitioned-log"];
      setRate(trial, trial.repetition === 1 ? 1_000 : 2_000);
    });
    const { groups } = scenarioOf(apart, "device-ceiling");
    expect(groups.filter(({ isBaseline }) => isBaseline).map(({ engine }) => engine)).toEqual([
      "null",
      "raw for partitioned-log",
      "raw for commitlog",
    ]);
    for (const [engine, limit] of [
      ["partitioned-log", 2_000],
      ["commitlog", 1_000],
    ] as const) {
      const group = groups.find((one) => one.engine === engine && one.loadKey === "closed")!;
      const [first] = group.trials.map(({ measured }) => measured!.acknowledged.messagesPerSecond / limit).sort();
      expect(group.ofRaw!.acknowledged.share.lower).toBeGreaterThanOrEqual(first! * 0.999 || 0);
    }
    expect(analyse(apart).baselines).toContain("raw for commitlog");
  });

  it("make figures doubtful where a limit changed by more than 10 % from before to after", () => {
    const drifted = (factor: number) => {
      const changed = altered((trial) => {
        if (trial.scenarioId !== "device-ceiling" || trial.engine !== "raw") return;
        setRate(trial, trial.phase === "before" ? 1e6 : 1e6 * factor);
      });
      const scenario = scenarioOf(changed, "device-ceiling");
      const kinds = groupOf(scenario, "commitlog", []).validity.acknowledged.reasons.map(({ kind }) => kind);
      return [groupOf(scenario, "raw", []).drift!.acknowledged, kinds.includes("drift")];
    };
    const still = altered((trial) => {
      if (trial.engine === "null") setRate(trial, 3e6);
    });
    expect(groupOf(scenarioOf(still, "device-ceiling"), "null", []).drift).toEqual({ acknowledged: 0, durable: null });
    expect(drifted(0.8)).toEqual([expect.closeTo(-0.2, 9), true]);
    expect(drifted(1)[0]).toBe(0);
  });

  it("call an engine within 2× of null harness-bound, and one beyond not", () => {
    const withRate = (share: number) => {
      const changed = altered((trial) => {
        if (trial.scenarioId !== "device-ceiling" || trial.configuration.load.model !== "closed") return;
        if (trial.engine === "null") setRate(trial, 3_000_000);
        if (trial.engine === "commitlog") setRate(trial, 3_000_000 * share);
      });
      return groupOf(scenarioOf(changed, "device-ceiling"), "commitlog", []).isHarnessBound;
    };
    expect([withRate(0.49), withRate(0.51)]).toEqual([false, true]);
  });

  it("set payload against the harness's own probe, durable against the direct write", () => {
    const group = groupOf(scenarioOf(run, "device-ceiling"), "commitlog", []);
    expect(group.ofDevice).toEqual({
      acknowledged: group.acknowledgedBytesPerSecond! / 1.9e9,
      durable: group.durableBytesPerSecond! / 1.32e9,
    });
  });

  it("give an engine that stores nothing no durable figure", () => {
    const group = groupOf(scenarioOf(run, "device-ceiling"), "null", []);
    expect(group).toMatchObject({ storesNothing: true, durable: null, ofRaw: null, ofDevice: null });
    expect(group.acknowledged!.point).toBeGreaterThan(0);
  });
});

describe("comparisons", () => {
  const inPairs = (ours: number[], theirs: number[]) =>
    scenarioOf(
      altered((trial) => {
        if (trial.scenarioId !== "many-partitions" || trial.configuration.load.model !== "closed") return;
        if (trial.point["topology.partitionsPerTopic"] !== 1) return;
        if (trial.engine === "partitioned-log") setRate(trial, ours[trial.repetition]!);
        if (trial.engine === "commitlog") setRate(trial, theirs[trial.repetition]!);
      }),
      "many-partitions",
    ).comparisons.find(({ point }) => point.values[0] === 1)!;

  it("take the ratio within pairs: a drift that hits both alike leaves it exact", () => {
    const { leader, ratio, isDistinct, pairCount } = inPairs([300, 600, 900], [100, 200, 300]);
    expect([leader.engine, isDistinct, pairCount]).toEqual(["partitioned-log", true, 3]);
    expect([ratio.point, ratio.lower, ratio.upper]).toEqual([3, 3, 3].map((value) => expect.closeTo(value, 9)));
  });

  it("turn the ratio towards the leader", () => {
    const { leader, ratio } = inPairs([100, 100, 100], [200, 300, 400]);
    expect(leader.engine).toBe("commitlog");
    expect([ratio.lower, ratio.upper]).toEqual([expect.closeTo(2, 9), expect.closeTo(4, 9)]);
  });

  it("tell nothing apart where the interval includes 1", () => {
    expect(inPairs([100, 110, 90], [100, 100, 100]).isDistinct).toBe(false);
  });

  it("are refused across durability classes", () => {
    const mixed = altered((trial) => {
      if (trial.engine === "commitlog" && trial.measured !== null) trial.measured.durabilityClass = "D2";
    });
    const { comparisons, refused } = scenarioOf(mixed, "many-partitions");
    expect(comparisons).toEqual([]);
    expect(refused.map(({ reason }) => reason)).toEqual(Array(5).fill("durability class"));
  });

  it("rank shorter response times first, in the open loop only", () => {
    const { comparisons } = scenarioOf(run, "linger");
    expect(comparisons.every(({ load, percentile }) => load.model === "open" && percentile === 99)).toBe(true);
    for (const { leader, other } of comparisons) {
      const p99 = (group: typeof leader) => group.responseTime!.percentiles.find((one) => one.percentile === 99)!;
      expect(p99(leader).valueNs!).toBeLessThan(p99(other).valueNs! * 1.2);
    }
  });
});

it("promises of few trials only what their range holds", () => {
  expect([1, 2, 3, 5, 6, 20].map(attainableConfidence)).toEqual([0, 0.5, 0.75, 0.9375, 0.95, 0.95]);
});

it("keeps trials of scenarios that the run does not describe apart", () => {
  const strays = altered((trial) => {
    if (trial.trialId === "t0") trial.scenarioId = "elsewhere";
  });
  expect(analyse(strays).strayTrials.map(({ trialId }) => trialId)).toEqual(["t0"]);
});
