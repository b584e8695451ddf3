import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProbeResult } from "../results/schema.js";
import { loadRun, RunStore } from "../results/store.js";
import { loadContestants } from "./catalogue.js";
import { type Execution, executeTrials } from "./execute.js";
import { parseObjective, searchRates } from "./objective.js";
import { planRun } from "./plan.js";
import { defineScenario, type Profile } from "./scenario.js";
import { TINY_PROFILE, TINY_SCENARIO, testExecution } from "./test-execution.js";

/** Long enough for a busy machine to send anything: a capacity of nothing is searched no further. */
const profile: Profile = { ...TINY_PROFILE, measureMs: 100 };
const FREE_SYNC: ProbeResult = {
  id: "sync-append",
  tool: "logduel",
  blockSizeBytes: 4096,
  operations: 1e6,
  bytesPerSecond: 4096e6,
  operationsPerSecond: 1e6,
  latency: null,
  unavailable: null,
};
const scenario = defineScenario({ ...TINY_SCENARIO, load: { inFlight: 64, producers: 2 } });

describe("parseObjective", () => {
  it.each([
    ["p99<=5ms", { percentile: 99, latencyNs: 5e6 }],
    [" p99.9 ≤ 250us ", { percentile: 99.9, latencyNs: 250e3 }],
    ["p50<1s", { percentile: 50, latencyNs: 1e9 }],
    ["p100<=1ms", null],
    ["p0<=1ms", null],
    ["p99<=0ms", null],
    ["p99<=5", null],
    ["max<=5ms", null],
    ["p99>=5ms", null],
    ["", null],
  ])("reads %j", (text, objective) => expect(parseObjective(text)).toEqual(objective));
});

describe("searchRates", () => {
  let parent: string;
  let execution: Execution;
  const plan = async () =>
    planRun({
      scenarios: [scenario],
      contestants: await loadContestants(["null"]),
      profileName: "smoke",
      profile,
      seed: 1,
    });

  beforeEach(async () => {
    parent = mkdtempSync(join(tmpdir(), "logduel-test-"));
    execution = await testExecution(parent, await plan(), profile);
  });
  afterEach(() => rmSync(parent, { recursive: true, force: true }));

  it("runs trials at rates until one met the objective twice, stores them all, and searches nothing twice", async () => {
    const { trials } = await plan();
    await executeTrials(trials, execution);
    const objective = { percentile: 50, latencyNs: 10e9 };
    expect(await searchRates(trials, objective, execution)).toEqual({ isWhole: true });
    const [search] = loadRun(join(parent, "out")).searches;
    const capacity = execution.store.run.trials[0]!.measured!.acknowledged.messagesPerSecond;
    expect(search).toMatchObject({ scenarioId: "tiny", engine: "null", objective, capacityPerSecond: capacity });
    const rates = search!.steps.map(({ trial: { configuration } }) =>
      configuration.load.model === "open" ? configuration.load.ratePerSecond : null,
    );
    expect(rates[0]).toBe(capacity / 2);
    const met = rates.filter((_, at) => search!.steps[at]!.isMet);
    if (search!.ratePerSecond !== null) {
      expect(met.filter((rate) => rate === search!.ratePerSecond).length).toBeGreaterThanOrEqual(2);
    }
    for (const { isMet, latencyNs, trial } of search!.steps) {
      // An invalid trial of a busy machine meets nothing.
      if (isMet) expect(latencyNs).toBeLessThanOrEqual(objective.latencyNs);
      // However fast the messages were that were sent: a rate that was not met meets no objective.
      if (trial.status === "failed") expect([isMet, latencyNs]).toEqual([false, null]);
      expect(trial.configuration.load).toMatchObject({ model: "open", arrivals: "poisson", producers: 2 });
    }
    expect(readdirSync(execution.dataDirectory.path)).toEqual([".made-by-logduel"]);

    await searchRates(trials, objective, execution);
    expect(execution.store.run.searches).toHaveLength(1);
  }, 60_000);

  it("says that no rate meets what cannot be met", async () => {
    const { trials } = await plan();
    await executeTrials(trials, execution);
    await searchRates(trials, { percentile: 50, latencyNs: 0.001 }, execution);
    const [search] = execution.store.run.searches;
    expect(search).toMatchObject({ ratePerSecond: null, end: "never" });
    expect(search!.steps.every(({ isMet }) => !isMet)).toBe(true);
  }, 60_000);

  it("takes no invalid trial for one that meets it, however fast, and tries its rate once more", async () => {
    const synced = defineScenario({ ...scenario, engines: ["raw"], settings: { flush: "sync" } });
    const { trials } = await planRun({
      scenarios: [synced],
      contestants: await loadContestants(["raw"]),
      profileName: "smoke",
      profile,
      seed: 1,
    });
    await executeTrials(trials, execution);
    // A device whose sync is free reaches no disk: what waited for one is invalid.
    execution.store.setProbe([FREE_SYNC], []);
    await searchRates(trials, { percentile: 50, latencyNs: 10e9 }, execution);
    const [search] = execution.store.run.searches;
    expect(search).toMatchObject({ ratePerSecond: null, end: "never" });
    const rates = search!.steps.map(({ trial: { configuration } }) =>
      configuration.load.model === "open" ? configuration.load.ratePerSecond : null,
    );
    // On a busy machine a rate may be missed, which is an answer and needs no second trial.
    if (search!.steps.slice(0, 2).every(({ trial }) => trial.status === "ok")) {
      expect(rates[1]).toBe(rates[0]);
      expect(rates[2]).toBe(rates[0]! / 2);
      expect(search!.steps.some(({ latencyNs }) => latencyNs !== null)).toBe(true);
    }
    expect(search!.steps.every(({ isMet }) => !isMet)).toBe(true);
  }, 120_000);

  it("begins no search after the time is up, says so, keeps none that was cut short, and makes up for it when resumed", async () => {
    const { trials } = await plan();
    await executeTrials(trials, execution);
    const objective = { percentile: 50, latencyNs: 10e9 };
    expect(await searchRates(trials, objective, execution, Date.now())).toEqual({
      isWhole: false,
    });
    expect(execution.store.run).toMatchObject({
      searches: [],
      unresolved: [{ what: "search", scenarioId: "tiny", point: {}, engine: "null", objective }],
    });
    execution.store.finish({ interrupted: true });
    const store = RunStore.resume(join(parent, "out"));
    expect(await searchRates(trials, objective, { ...execution, store })).toMatchObject({ isWhole: true });
    expect(store.run.searches).toHaveLength(1);
  }, 60_000);

  it("searches nothing for an engine without a capacity, and says so", async () => {
    const { trials } = await plan();
    const notes: string[] = [];
    const progress = { ...execution.progress, note: (text: string) => notes.push(text) };
    await searchRates(trials, { percentile: 99, latencyNs: 5e6 }, { ...execution, progress });
    expect(execution.store.run.searches).toEqual([]);
    expect(notes).toEqual(["tiny/null/closed: nothing to search, because no closed-loop trial of it has figures."]);
  });
});
