import { describe, expect, it } from "vitest";
import { type Measured, type Run, runSchema } from "../results/schema.js";
import { analyse } from "./analysis.js";
import { machineTable } from "./machine-table.js";
import { syntheticRun } from "./synthetic-run.js";

const run = syntheticRun({ trialCount: 2 });
const tableOf = (of: Run) =>
  machineTable(analyse(of).scenarios.find(({ record }) => record.id === "device-ceiling")!, "s");
const column = (table: ReturnType<typeof tableOf>, name: string) => {
  const at = table.columns.findIndex((one) => one.name === name);
  return table.rows.map(({ cells }) => cells[at]!);
};
function changed(change: (measured: Measured) => Partial<Measured>): Run {
  const trials = run.trials.map((trial) =>
    trial.measured === null ? trial : { ...trial, measured: { ...trial.measured, ...change(trial.measured) } },
  );
  return { ...run, trials };
}

describe("the table of process and machine", () => {
  it("weighs samples by their length, leaves those of the warm-up out, and keeps the longest delay of all trials", () => {
    const sample = run.trials.find(({ measured }) => measured !== null)!.measured!.samples[0]!;
    let trial = 0;
    const table = tableOf(
      changed(() => ({
        warmupNs: 1e9,
        eventLoopUtilisation: 0.25,
        samples: [
          { ...sample, atNs: 1e9, durationNs: 1e9, garbageCollectionNs: 1e9, eventLoopDelayMaxNs: 9e9 },
          { ...sample, atNs: 2e9, durationNs: 1e9, garbageCollectionNs: 1e8, eventLoopDelayMaxNs: 1e6 },
          { ...sample, atNs: 5e9, durationNs: 3e9, garbageCollectionNs: 0, eventLoopDelayMaxNs: ++trial * 1e6 },
        ],
      })),
    );
    expect(table.rows.length).toBeGreaterThan(0);
    for (const { value } of column(table, "loop")) expect(value).toBe(0.25);
    for (const { value } of column(table, "collection")) expect(value).toBeCloseTo(0.025);
    expect(Math.max(...column(table, "delay").map(({ value }) => value!))).toBeLessThanOrEqual(trial * 1e6);
    expect(Math.max(...column(table, "delay").map(({ value }) => value!))).toBeGreaterThan(1e6);
    expect(table.caption).toContain("near 100 % by design");
  });

  it("has no column of what an older run does not tell, and no rows where nothing was sampled", () => {
    const stored = JSON.parse(JSON.stringify(run));
    for (const { measured } of stored.trials) {
      if (measured === null) continue;
      delete measured.eventLoopUtilisation;
      for (const sample of measured.samples) delete sample.eventLoopUtilisation;
    }
    const names = tableOf(runSchema.parse(stored)).columns.map(({ name }) => name);
    expect(names).not.toContain("loop");
    expect(names).toContain("delay");
    expect(tableOf(changed(() => ({ samples: [] }))).rows).toEqual([]);
  });
});
