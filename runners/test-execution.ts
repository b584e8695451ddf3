/** What the tests of runners execute: a profile and a scenario of the smallest size, and a run of them that tells nobody. */
import { join } from "node:path";
import { FORMAT_VERSION } from "../results/schema.js";
import { RunStore } from "../results/store.js";
import { DataDirectory } from "./data-directory.js";
import { describeEnvironment } from "./environment.js";
import type { Execution } from "./execute.js";
import { findMount } from "./mount.js";
import type { Plan } from "./plan.js";
import { Repeats } from "./repeats.js";
import { defineScenario, type Profile, type Scenario } from "./scenario.js";

const MIB = 1024 * 1024;

export const TINY_PROFILE: Profile = {
  description: "tiny",
  repetitions: 1,
  warmup: { minimumMs: 10, maximumMs: 30, binMs: 5, windowBins: 3, maximumBytes: MIB },
  measureMs: 40,
  maximumBytes: 2 * MIB,
  sampleIntervalMs: 10,
  settleMs: 20,
  trialLimitMs: 10_000,
  budgetMs: null,
  probe: { durationMs: 10, fileSizeBytes: 2 * MIB },
  settings: {},
};

export const TINY_SCENARIO = defineScenario({
  id: "tiny",
  title: "Tiny",
  question: "Does it work?",
  expectation: "Yes.",
  refutedIf: "It does not.",
  figure: "acknowledged",
  engines: ["null"],
  baselines: [],
  topology: { topicCount: 2, partitionsPerTopic: 2 },
  messages: { sizeBytes: 100, compressibleFraction: 0.5 },
  settings: {},
  load: { inFlight: 64 },
  vary: [],
});

/** Open-loop trials, the same in all profiles. */
export function openAt(fractions: number[], arrivals: ("constant" | "poisson")[]): Scenario["load"]["open"] {
  return {
    capacityFractions: { smoke: fractions, quick: fractions, full: fractions },
    arrivals: { smoke: arrivals, quick: arrivals, full: arrivals },
  };
}

/** A run that begins in `parent`/out and keeps its data in `parent`. */
export async function testExecution(parent: string, plan: Plan, profile: Profile): Promise<Execution> {
  const mount = await findMount(parent);
  const environment = await describeEnvironment(mount, profile.maximumBytes);
  const code = { version: "0", commit: null, dirty: null, hash: null };
  const store = new RunStore(join(parent, "out"), {
    formatVersion: FORMAT_VERSION,
    runId: "test",
    startedAt: new Date().toISOString(),
    command: [],
    profile: "smoke",
    seed: 1,
    code,
    packages: {},
    environment,
    probe: [],
    probeAfter: [],
    loadAverageAfter: [],
    agreement: null,
    budgetMs: null,
    allowsNeighbours: true,
    unresolved: [],
    scenarios: [...plan.scenarios],
    plannedTrialCount: plan.trials.length,
  });
  return {
    store,
    dataDirectory: new DataDirectory(parent),
    profile,
    progress: { begin: () => {}, note: () => {}, end: () => {} },
    repeats: new Repeats(store.run, () => {}),
    deviceStatPath: mount.statPath,
    environment,
    code,
    signal: new AbortController().signal,
  };
}
