import { describe, expect, it } from "vitest";
import { seededRandom } from "../../results/random.js";
import { SAME_BUILD } from "./builds.js";
import { type GateSetup, MOST_BLOCKS } from "./gate.js";
import { runSelfTest, type SelfTestEntry, selfTestTable } from "./self-test.js";
import { PROFILES } from "./workloads.js";

const MINUTE_MS = 60_000;

/** A machine on which a message costs 800 ns, and each turn of the burning loop 0.7 ns more. */
function setupWithClock(): GateSetup {
  const random = seededRandom(3);
  let nowMs = 0;
  return {
    bench: {
      builds: SAME_BUILD,
      settings: { reference: {}, guard: {}, candidate: {} },
      dataDirectory: null as never,
      duetProcessors: [0, 1],
      scratchDirectory: "",
      signal: new AbortController().signal,
    },
    subjects: [],
    workloads: PROFILES.short!.workloads,
    seed: 1,
    deadlineMs: 0,
    mostBlocks: MOST_BLOCKS,
    deviceStatPath: null,
    missing: [],
    tell: () => {},
    instruments: {
      nowMs: () => nowMs,
      listen: async () => null,
      count: async () => {
        nowMs += 500;
        return { totals: { syncCalls: 1 }, durabilityClass: "D1" };
      },
      measure: async (bench, _workload, trials) =>
        trials.map(({ arm }) => {
          nowMs += 1_000;
          const { plant } = bench.settings[arm] as { plant?: { burnIterations: number } };
          return { cpuPerMessage: (800 + 0.7 * (plant?.burnIterations ?? 0)) * (1 + 0.02 * (random() - 0.5)) };
        }),
    },
  };
}

describe("the self-test", () => {
  it("burns what it says, and finds that and nothing else", async () => {
    const entries: SelfTestEntry[] = [];
    await runSelfTest({
      setup: setupWithClock(),
      engines: ["one", "two"],
      slowDowns: [0, 0.1],
      budgetMs: 2 * MINUTE_MS,
      untilMs: 20 * MINUTE_MS,
      finished: (entry) => entries.push(entry),
    });
    expect(entries.length).toBeGreaterThanOrEqual(8);
    for (const { engine, slowDown, outcome, ratios } of entries) {
      expect(outcome).toBe(slowDown === 0 ? "passed" : "regression");
      expect(ratios[`${engine}/cpu/cpuPerMessage`]).toBeCloseTo(1 + slowDown, 1);
    }
    expect(new Set(entries.map(({ engine }) => engine))).toEqual(new Set(["one", "two"]));
  });

  it("counts with exact intervals", () => {
    const entry = (slowDown: number, outcome: SelfTestEntry["outcome"]): SelfTestEntry => {
      return { engine: "one", slowDown, outcome, durationMs: MINUTE_MS, ratios: {}, reasons: [] };
    };
    const table = selfTestTable([
      ...Array.from({ length: 60 }, () => entry(0, "passed")),
      ...Array.from({ length: 9 }, () => entry(0.1, "regression")),
      entry(0.1, "inconclusive"),
    ]);
    expect(table).toMatch(/none \(A\/A\) +│ 60 +│ 0 +│ 0\.0 % \(0\.0 % – 6\.0 %\)/);
    expect(table).toMatch(/10\.0 % +│ 10 +│ 9 +│ 90\.0 % \(55\.5 % – 99\.7 %\) +│ 1 +│ 0/);
  });
});
