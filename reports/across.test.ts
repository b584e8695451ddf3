import { expect, it } from "vitest";
import type { Run } from "../results/schema.js";
import { acrossText, IncomparableRunsError, requireComparable } from "./across.js";
import { syntheticRun } from "./synthetic-run.js";

const whole = syntheticRun({ trialCount: 1 });
const run: Run = { ...whole, trials: whole.trials.filter(({ scenarioId }) => scenarioId === "device-ceiling") };
const other: Run = {
  ...structuredClone(run),
  runId: "other",
  environment: { ...run.environment, fingerprint: "elsewhere", kernel: "6.9" },
};

it("refuses runs of different machines, naming what differs, unless asked for", () => {
  expect(() => requireComparable([run, { ...run, runId: "again" }], false)).not.toThrow();
  expect(() => requireComparable([run, other], true)).not.toThrow();
  expect(() => requireComparable([run, other], false)).toThrow(IncomparableRunsError);
  expect(() => requireComparable([run, other], false)).toThrow(
    /^Runs \S+ and other are of different machines \(kernel 6\.8\.0-45-generic against 6\.9\); give --across-machines/,
  );
});

it("labels every figure with its machine across machines, and none on one", () => {
  const figures = (text: string) => text.split("\n").filter((one) => /^ {2}(other|again|2025)/.test(one));
  const across = figures(acrossText([run, other]));
  expect(across.length).toBeGreaterThan(4);
  expect(
    across.every((one) => / on 2 × AMD EPYC 7B13, ext4 on vda, Node \S+ \((9f2c4e1ab07d|elsewhere)\): /.test(one)),
  ).toBe(true);
  const same = figures(acrossText([run, { ...run, runId: "again" }]));
  expect(same.some((one) => one.includes(" on "))).toBe(false);
});

it("puts a banner where durability classes differ", () => {
  const synced = structuredClone({ ...run, runId: "again" });
  for (const { engine, measured } of synced.trials) {
    if (engine === "commitlog" && measured !== null) measured.durabilityClass = "D2";
  }
  expect(acrossText([run, synced])).toMatch(/, commitlog, .*\n {2}MIND: classes D1 and D2 promise different things\./);
  expect(acrossText([run, { ...run, runId: "again" }])).not.toContain("MIND");
});
