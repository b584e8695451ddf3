import { describe, expect, it } from "vitest";
import { type Measured, type Run, runSchema } from "../results/schema.js";
import { analyse } from "./analysis.js";
import { costTable, tailLines, tailTable } from "./cost-tables.js";
import { buildModel } from "./model.js";
import { syntheticRun } from "./synthetic-run.js";

const run = syntheticRun({ trialCount: 2 });
const scenarioOf = (of: Run, id = "device-ceiling") => analyse(of).scenarios.find(({ record }) => record.id === id)!;
function changed(change: (measured: Measured) => Partial<Measured>): Run {
  const trials = run.trials.map((trial) =>
    trial.measured === null ? trial : { ...trial, measured: { ...trial.measured, ...change(trial.measured) } },
  );
  return { ...run, trials };
}
const column = (table: ReturnType<typeof tailTable>, name: string) => {
  const at = table.columns.findIndex((one) => one.name === name);
  return table.rows.map(({ cells }) => cells[at]!);
};

describe("the table of tails", () => {
  it("has counts of all trials added, and each cause's worst and presence below its share", () => {
    const tail = (count: number, worstNs: number): Measured["tail"] => ({
      percentile: 99.9,
      thresholdNs: 1e6,
      count: count + 1,
      examinedCount: count + 1,
      causes: [
        { cause: "sync", count, worstNs, presence: 0.02 },
        { cause: "unexplained", count: 1, worstNs: 2e6, presence: null },
      ],
    });
    let trial = 0;
    const table = tailTable(scenarioOf(changed(() => ({ tail: tail(++trial % 2 === 0 ? 29 : 69, 9e6) }))), "s");
    expect(column(table, "sync").every(({ value }) => value! > 0.96 && value! < 0.99)).toBe(true);
    expect(column(table, "sync").some(({ note }) => note === "worst 9.00\u00a0ms, 2.0\u00a0% of the time")).toBe(true);
    expect(column(table, "unexplained")[0]!.note).toBe("worst 2.00\u00a0ms");
    expect(table.columns.some(({ name }) => name === "steal")).toBe(false);
    // Every row says of which loop and class it is.
    for (const { text } of column(table, "load")) expect(text).toMatch(/^(open|closed) loop/);
    for (const { note } of column(table, "engine")) expect(note).toMatch(/^D\d/);
  });

  it("says how many were examined where not all were kept", () => {
    const cut = changed(({ tail }) => ({
      tail: { ...tail!, examinedCount: 4, causes: [{ cause: "steal", count: 4, worstNs: 1, presence: 1 }] },
    }));
    expect(column(tailTable(scenarioOf(cut), "s"), "beyond")[0]!.note).toMatch(/, the longest [48] examined$/);
  });

  it("has a line for each engine for the terminal, of open loops where there are any, with class and point", () => {
    expect(tailLines(scenarioOf(run))).toEqual([
      expect.stringMatching(/^partitioned-log, open loop, D1: writeback burst 60\s%, .*unexplained .*%$/),
      expect.stringMatching(/^commitlog, open loop, D1: /),
    ]);
    expect(tailLines(scenarioOf(run, "flush-policy"))[0]).toMatch(/closed loop, D2, flush\s=\ssync/);
  });

  it("is left out of runs that hold none", () => {
    const old = changed(() => ({ tail: null, cost: null, samplerCpuFraction: null }));
    expect(tailLines(scenarioOf(old))).toEqual([]);
    const [scenario] = buildModel(old).scenarios;
    expect([scenario!.tail.rows, scenario!.cost.rows]).toEqual([[], []]);
  });
});

describe("the table of costs", () => {
  it("takes what others wrote off the device's count, and splits the main thread by where it was seen", () => {
    const costs = changed(({ cost }) => ({
      cost: {
        ...cost!,
        ...{ messageCount: 1_000, payloadBytes: 1e6, deviceBytes: 3e6, idleDeviceBytesPerSecond: 5e5, durationNs: 2e9 },
        ...{ writeCalls: 60, readCalls: 1, syncCalls: 4, filesOpened: 2, indexBytes: 8_000, allocatedBytes: 16_000 },
        systemCalls: { write: 60, read: 1, fdatasync: 4, open: 2, msync: 33, mmap: 0 },
        ...{ threads: { mainNs: 1e9, poolNs: 1e8, v8Ns: 0, samplerNs: 0, otherNs: 0 } },
        ...{ mainThread: { observations: 100, engine: 0.7, broker: 0.4, generator: 0.2, eventLoop: 0.1 } },
      },
    }));
    const table = costTable(scenarioOf(costs), "s");
    const first = (name: string) => column(table, name)[0]!.value;
    expect(first("device")).toBe(2);
    expect(first("systemCalls")).toBe(100);
    expect(column(table, "systemCalls")[0]!.note).toBe(
      "write\u00a060\u00a0%, msync\u00a033\u00a0%, fdatasync\u00a04.0\u00a0%, open\u00a02.0\u00a0%",
    );
    expect(table.columns.some(({ name }) => name === "calls")).toBe(false);
    expect(first("index")).toBe(8);
    expect(first("engineCpu")).toBeCloseTo(7e5, 3);
    expect(first("generatorCpu")).toBeCloseTo(2e5, 3);
    expect(first("producerCpu")).toBeCloseTo(3e5, 3);
    expect(first("brokerCpu")).toBeCloseTo(4e5 + 1e5, 3);
    expect(table.caption).toContain("from the looks of all trials, 100 to 200 for a row, with its 95 % interval below");
    // 60 of 200, by Clopper and Pearson: 23.7 to 36.9 %; of a row with 100 looks wider.
    expect(column(table, "producerCpu").some(({ note }) => note === "237–369\u00a0µs")).toBe(true);
    // With the pool's 100 µs: 80 of 200 are 33.2 to 47.1 %.
    expect(column(table, "brokerCpu").some(({ note }) => note === "432–571\u00a0µs")).toBe(true);
    expect(first("pool")).toBe(1e5);
    expect(first("allocated")).toBe(16);
  });

  it("shows no zero for where the main thread was never seen, but the most that it can have been", () => {
    const costs = changed(({ cost }) => ({
      cost: {
        ...cost!,
        messageCount: 1_000,
        threads: { mainNs: 1e9, poolNs: 0, v8Ns: 0, samplerNs: 0, otherNs: 0 },
        mainThread: { observations: 100, engine: 0.9, broker: 0.9, generator: 0, eventLoop: 0.1 },
      },
    }));
    const table = costTable(scenarioOf(costs), "s");
    for (const name of ["producerCpu", "generatorCpu"]) {
      // 1 − 0.025^(1 / looks): 3.62 % of 100, 1.83 % of 200.
      for (const cell of column(table, name)) {
        expect(cell).toMatchObject({ text: "none seen", value: 0 });
        expect(["at most 36.2\u00a0µs", "at most 18.3\u00a0µs"]).toContain(cell.note);
      }
    }
    expect(column(table, "brokerCpu")[0]!.text).toBe("900\u00a0µs");
    expect(table.caption).toContain("says that all of it is the broker's");
  });

  it("names the few kinds of calls that an older run counted, and no more", () => {
    const older = changed(({ cost }) => ({
      cost: {
        ...cost!,
        messageCount: 1_000,
        writeCalls: 60,
        readCalls: 1,
        syncCalls: 4,
        filesOpened: 2,
        systemCalls: null,
      },
    }));
    const table = costTable(scenarioOf(older), "s");
    expect(table.columns.map(({ label }) => label)).toContain("Writes, reads, syncs, opens per 1 000");
    expect(column(table, "calls")[0]!.value).toBe(67);
    expect(table.columns.some(({ name }) => name === "systemCalls")).toBe(false);
  });

  it("has no columns of producer and broker for a run that was stored before engines told them apart", () => {
    const stored = JSON.parse(JSON.stringify(run));
    for (const { measured } of stored.trials) {
      if (measured === null) continue;
      delete measured.cost.mainThread.broker;
      for (const { detail } of measured.samples) delete detail?.mainThread?.broker;
    }
    const table = costTable(scenarioOf(runSchema.parse(stored)), "s");
    expect(table.rows.length).toBeGreaterThan(0);
    const names = table.columns.map(({ name }) => name);
    expect(names).toContain("engineCpu");
    expect(names).not.toContain("producerCpu");
    expect(names).not.toContain("brokerCpu");
    expect(table.caption).not.toContain("producer");
  });
});
