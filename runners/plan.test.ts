import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { EngineDefinition } from "../engines/engine.js";
import { type Contestant, PlanError, type PlannedTrial, planRun } from "./plan.js";
import { defineScenario, type Profile } from "./scenario.js";
import { openAt } from "./test-execution.js";

const profile: Profile = {
  description: "",
  repetitions: 3,
  warmup: { minimumMs: 1, maximumMs: 1, binMs: 1, windowBins: 3, maximumBytes: 1 },
  measureMs: 1,
  maximumBytes: 1,
  sampleIntervalMs: 1,
  settleMs: 1,
  trialLimitMs: 1,
  budgetMs: null,
  probe: { durationMs: 1, fileSizeBytes: 1 },
  settings: { segmentSizeBytes: 64, lingerMs: 9 },
};
const settingsSchema = z.strictObject({
  flush: z.json().default("async"),
  lingerMs: z.number().default(0),
  batchSizeBytes: z.number().default(16_384),
  segmentSizeBytes: z.number().default(1_024),
});
const contestant = (name: string, isThirdParty = false): Contestant => ({
  definition: {
    name,
    description: "",
    settingsSchema,
    storesMessages: name !== "null",
    open: () => Promise.reject(),
  } as unknown as EngineDefinition,
  source: name,
  isThirdParty,
});
const scenario = defineScenario({
  id: "sample",
  title: "",
  question: "",
  expectation: "",
  refutedIf: "",
  figure: "acknowledged",
  engines: ["a", "b"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 1 },
  messages: { sizeBytes: 100, compressibleFraction: 0 },
  settings: { lingerMs: 5 },
  engineSettings: { b: { batchSizeBytes: 0 } },
  load: { inFlight: 8, open: openAt([0.5, 0.9], ["poisson"]) },
  vary: [
    {
      path: "settings.flush",
      label: "flush",
      values: { smoke: ["async"], quick: ["async", { every: { messages: 1_000, ms: 5 } }, "sync"], full: ["async"] },
    },
    { path: "topology.partitionsPerTopic", label: "partitions", values: { smoke: [1], quick: [4, 64], full: [1] } },
  ],
});
const everyone = ["a", "b", "null", "raw"].map((name) => contestant(name));
const plan = (seed = 1, contestants = everyone) =>
  planRun({ scenarios: [scenario], contestants, profileName: "quick", profile, seed });
const ORDER = ["before", "trials", "after"];
const key = ({ engine, point, load }: PlannedTrial) => JSON.stringify([engine, point, load]);

describe("planRun", () => {
  it("measures the limits again after all trials, where time is short those of the first scenario only", () => {
    const limitsAgain = (limitsAfter: "every" | "first") =>
      planRun({
        scenarios: [scenario, { ...scenario, id: "second" }],
        contestants: everyone,
        profileName: "quick",
        profile: { ...profile, limitsAfter },
        seed: 1,
      }).trials.filter(({ phase }) => phase === "after");
    expect(new Set(limitsAgain("every").map(({ scenarioId }) => scenarioId))).toEqual(new Set(["sample", "second"]));
    expect(new Set(limitsAgain("first").map(({ scenarioId }) => scenarioId))).toEqual(new Set(["sample"]));
    expect(limitsAgain("every")).toHaveLength(2 * limitsAgain("first").length);
  });

  it("shares the messages in flight among producers, of which there are no more", () => {
    const withProducers = (producers: number) => ({ ...scenario, load: { ...scenario.load, producers } });
    const planned = planRun({
      scenarios: [withProducers(4)],
      contestants: everyone,
      profileName: "quick",
      profile,
      seed: 1,
    });
    expect(new Set(planned.trials.map(({ load }) => load.producers))).toEqual(new Set([4]));
    const tooMany = {
      scenarios: [withProducers(9)],
      contestants: everyone,
      profileName: "quick" as const,
      profile,
      seed: 1,
    };
    expect(() => planRun(tooMany)).toThrow(/shares 8 messages in flight among 9 producers/);
  });

  it("spares baselines the keys, which they have no place for", () => {
    const keyed = defineScenario({ ...scenario, messages: { ...scenario.messages, keys: "zipf" } });
    const { trials } = planRun({ scenarios: [keyed], contestants: everyone, profileName: "quick", profile, seed: 1 });
    const keysOf = (name: string) => trials.find(({ engine }) => engine === name)!.configuration.messages.keys;
    expect(["a", "b", "null", "raw"].map(keysOf)).toEqual(["zipf", "zipf", "round-robin", "round-robin"]);
  });

  it("sends a user's values in every trial, but not where a scenario varies them", () => {
    const payload = { payloadFile: { path: "/lines", sha256: "0", lineCount: 2 }, sizeBytes: 7 };
    const run = (one: typeof scenario) =>
      planRun({ scenarios: [one], contestants: everyone, profileName: "quick", profile, seed: 1, payload });
    expect(run(scenario).trials.every(({ configuration }) => configuration.messages.sizeBytes === 7)).toBe(true);
    const sizes = { smoke: [1], quick: [1, 2], full: [1] };
    const varying = defineScenario({
      ...scenario,
      vary: [{ path: "messages.sizeBytes", label: "size", values: sizes }],
    });
    expect(() => run(varying)).toThrow("Scenario sample varies messages.sizeBytes, which --payload decides");
  });

  it("runs engines at every point, and baselines where they would notice the difference", () => {
    const closed = plan().trials.filter(({ load, repetition }) => load.model === "closed" && repetition === 0);
    const count = (name: string) => closed.filter(({ engine }) => engine === name).length;
    // b has batches of its own size, and so a raw of its own.
    expect([count("a"), count("b"), count("raw"), count("null")]).toEqual([6, 6, 6, 1]);
    const raw = closed.filter(({ engine }) => engine === "raw").map(({ point }) => point);
    expect(raw.every((point) => point["topology.partitionsPerTopic"] === 4)).toBe(true);
    expect(new Set(raw.map((point) => point["settings.flush"]))).toEqual(
      new Set(["async", "every 1000 messages, 5 ms", "sync"]),
    );
  });

  it("runs limits before and after all else, as often, with the words of the engines that they limit", () => {
    const { trials } = plan();
    const phases = trials.map(({ phase }) => phase);
    expect(phases).toEqual([...phases].sort((x, y) => ORDER.indexOf(x) - ORDER.indexOf(y)));
    const cells = (phase: string) =>
      trials.filter((trial) => trial.phase === phase).map(({ trialId }) => trialId.replace(/\/\d+$/, ""));
    expect(cells("before").sort()).toEqual(cells("after").sort());
    expect(new Set(trials.filter(({ phase }) => phase !== "trials").map(({ engine }) => engine))).toEqual(
      new Set(["null", "raw"]),
    );
    const sync = trials.filter(({ engine, point }) => engine === "raw" && point["settings.flush"] === "sync");
    const variants = sync.filter(({ phase }) => phase === "before");
    expect(variants.map(({ limits, configuration: { settings } }) => [limits, settings.batchSizeBytes]).sort()).toEqual(
      [
        [["a"], 16_384],
        [["b"], 0],
      ],
    );
    expect(variants.every(({ configuration }) => configuration.settings.flush === "sync")).toBe(true);
    expect(trials.filter(({ engine }) => engine === "null").every(({ limits }) => limits!.length === 2)).toBe(true);
  });

  it("has one limit for all engines where their sizes and policies are the same", () => {
    const alike = defineScenario({ ...scenario, engineSettings: {} });
    const { trials } = planRun({ scenarios: [alike], contestants: everyone, profileName: "smoke", profile, seed: 1 });
    const raw = trials.filter(({ engine, phase }) => engine === "raw" && phase === "before");
    expect(raw.map(({ limits }) => limits)).toEqual([["a", "b"]]);
  });

  it("puts all closed loops before the open ones, which baselines have none of", () => {
    const models = plan()
      .trials.filter(({ phase }) => phase === "trials")
      .map(({ load }) => load.model);
    expect(models.lastIndexOf("closed")).toBeLessThan(models.indexOf("open"));
    const open = plan().trials.filter(({ load }) => load.model === "open");
    expect(new Set(open.map(({ engine }) => engine))).toEqual(new Set(["a", "b"]));
    expect(open.length).toBe(2 * 6 * 2 * 3);
  });

  it("leaves a scenario out of profiles that have no time for it", () => {
    const long = defineScenario({ ...scenario, id: "long", profiles: ["full"] });
    const idsIn = (profileName: "smoke" | "full") => {
      const planned = planRun({ scenarios: [scenario, long], contestants: everyone, profileName, profile, seed: 1 });
      expect(new Set(planned.trials.map(({ scenarioId }) => scenarioId))).toEqual(
        new Set(planned.scenarios.map(({ id }) => id)),
      );
      return planned.scenarios.map(({ id }) => id);
    };
    expect(idsIn("smoke")).toEqual(["sample"]);
    expect(idsIn("full")).toEqual(["sample", "long"]);
  });

  it("runs each fraction of a profile with each of its arrivals, in cells and seeds of their own", () => {
    const capacityFractions = { smoke: [0.5], quick: [0.5], full: [0.5, 0.9] };
    const arrivals: NonNullable<typeof scenario.load.open>["arrivals"] = {
      smoke: ["poisson"],
      quick: ["constant"],
      full: ["constant", "poisson"],
    };
    const paced = defineScenario({
      ...scenario,
      load: { inFlight: 8, open: { capacityFractions, arrivals } },
      vary: [],
    });
    const openOf = (profileName: "smoke" | "full") =>
      planRun({ scenarios: [paced], contestants: everyone, profileName, profile, seed: 1 }).trials.filter(
        ({ load, engine, repetition }) => load.model === "open" && engine === "a" && repetition === 0,
      );
    expect(openOf("smoke").map(({ trialId }) => trialId)).toEqual(["sample/a/open-0.5-poisson/0"]);
    const full = openOf("full");
    expect(full.map(({ trialId }) => trialId).sort()).toEqual([
      "sample/a/open-0.5-constant/0",
      "sample/a/open-0.5-poisson/0",
      "sample/a/open-0.9-constant/0",
      "sample/a/open-0.9-poisson/0",
    ]);
    expect(new Set(full.map(({ seed }) => seed)).size).toBe(4);
  });

  it("makes every repetition a block that holds everything once, in an order of its own", () => {
    const closed = plan().trials.filter(({ load, phase }) => load.model === "closed" && phase === "trials");
    const blocks = [0, 1, 2].map((repetition) => closed.slice(repetition * 12, (repetition + 1) * 12));
    for (const [repetition, block] of blocks.entries()) {
      expect(block.every((trial) => trial.repetition === repetition)).toBe(true);
      expect(new Set(block.map(key)).size).toBe(12);
    }
    expect(blocks[0]!.map(key)).not.toEqual(blocks[1]!.map(key));
    expect(plan().trials.map(({ order }) => order)).toEqual(plan().trials.map((_, index) => index));
    expect(new Set(plan().trials.map(({ trialId }) => trialId)).size).toBe(plan().trials.length);
  });

  it("is the same for the same seed, and shuffled for another", () => {
    expect(plan(4)).toEqual(plan(4));
    expect(plan(4).trials.map(key)).not.toEqual(plan(5).trials.map(key));
  });

  it("gives all engines of a block the same seed at a point, and each block another", () => {
    const at = (engine: string, repetition: number) =>
      plan().trials.find(
        (trial) =>
          trial.engine === engine &&
          trial.repetition === repetition &&
          trial.point["settings.flush"] === "sync" &&
          trial.point["topology.partitionsPerTopic"] === 4 &&
          trial.load.model === "closed",
      )!.seed;
    expect(at("a", 0)).toBe(at("b", 0));
    expect(at("a", 0)).not.toBe(at("a", 1));
  });

  it("completes settings: profile, scenario, engine, axis, each over the one before, and defaults below all", () => {
    const find = (engine: string, flush: string) =>
      plan().trials.find((trial) => trial.engine === engine && trial.point["settings.flush"] === flush)!.configuration;
    expect(find("a", "sync").settings).toEqual({
      flush: "sync",
      lingerMs: 5,
      batchSizeBytes: 16_384,
      segmentSizeBytes: 64,
    });
    expect(find("b", "every 1000 messages, 5 ms").settings).toMatchObject({
      flush: { every: { messages: 1_000, ms: 5 } },
      batchSizeBytes: 0,
    });
    expect(find("a", "sync").topology.partitionsPerTopic).toBeOneOf([4, 64]);
  });

  it("runs a third party's engine everywhere, and only the engines chosen", () => {
    const { trials, scenarios } = plan(1, [contestant("mine", true), contestant("raw")]);
    expect(new Set(trials.map(({ engine }) => engine))).toEqual(new Set(["mine", "raw"]));
    expect(scenarios[0]).toMatchObject({ engines: ["mine"], baselines: ["raw"] });
    expect(plan(1, [contestant("unrelated")])).toEqual({ trials: [], scenarios: [] });
  });

  it("names scenario, engine and setting that do not fit", () => {
    const wrong = { ...scenario, settings: { lingerMs: "long" } };
    expect(() =>
      planRun({ scenarios: [wrong], contestants: everyone, profileName: "quick", profile, seed: 1 }),
    ).toThrow(
      new PlanError(
        "Scenario sample does not fit engine a at lingerMs: Invalid input: expected number, received string.",
      ),
    );
  });
});
