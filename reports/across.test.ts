import { expect, it } from "vitest";
import { type Run, runSchema } from "../results/schema.js";
import { acrossText, IncomparableRunsError, requireComparable } from "./across.js";
import { syntheticRun } from "./synthetic-run.js";
import { terminalTable } from "./terminal.js";

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

it("shows a cell that has no figures in one of the runs, because every trial of it missed its rate", () => {
  const missed = structuredClone(run);
  for (const trial of missed.trials) {
    if (trial.engine !== "commitlog" || trial.configuration.load.model !== "open") continue;
    trial.status = "failed";
    trial.failureKind = "rate";
    trial.failures = ["The rate was not met."];
  }
  const text = acrossText([run, { ...missed, runId: "again" }]);
  expect(text).toMatch(
    /commitlog, open loop, 70 % of capacity, Poisson\n {2}2025\S+: acknowledged .*\n {2}again: no figures/,
  );
});

it.each([
  ["escape sequences", "\u001b[2J\u009b\u0007"],
  ["reversed text", "\u202e\u2066"],
  ["a path", "../../../etc/x"],
  ["a script", "</script><img src=x onerror=alert(1)>"],
  ["a name of every object", "__proto__"],
])("lets a run from elsewhere that holds %s at any place command nothing", (_, text) => {
  const places = new Set<string>();
  const collect = (value: unknown) => {
    if (typeof value === "string") places.add(value);
    else if (typeof value === "object" && value !== null)
      for (const [key, inner] of Object.entries(value)) if (key !== "encoded") collect(inner);
  };
  collect(run);
  const stored = JSON.stringify(run);
  const runs = [...places].flatMap((place) => {
    const { success, data } = runSchema.safeParse(
      JSON.parse(stored.replaceAll(JSON.stringify(place), JSON.stringify(text))),
    );
    return success ? [data] : [];
  });
  expect(runs.length).toBeGreaterThan(20);
  for (const hostile of runs) {
    const shown = `${acrossText([hostile, { ...hostile, runId: "again" }])}\n${terminalTable(hostile)}`;
    expect([...shown].filter((character) => character !== "\n" && /[\p{Cc}\u202e\u2066]/u.test(character))).toEqual([]);
  }
});

it("names what was set otherwise, measured by another profile or by other code, and no rate that follows", () => {
  const again = structuredClone({ ...run, runId: "again", profile: "full", code: { ...run.code, hash: "abc" } });
  for (const { engine, configuration } of again.trials) {
    if (engine === "commitlog") configuration.messages.sizeBytes = 77;
    if (engine === "commitlog") configuration.settings.lingerMs = { whole: 5 };
    if (configuration.load.model === "open") configuration.load.ratePerSecond *= 2;
  }
  const of = (text: string) => text.split("\n\n").filter((one) => one.includes(", commitlog,"));
  const [cell, ...others] = of(acrossText([run, again]));
  expect(cell).toMatch(/MIND: these differ in more than the run: .*messages\.sizeBytes \d+ against 77;/);
  expect(cell).toMatch(/settings\.lingerMs\.whole none against 5/);
  expect(cell).toMatch(/profile \w+ against full; code \S+ against abc\.\n/);
  expect([cell, ...others].join()).not.toContain("ratePerSecond");
  expect(acrossText([run, { ...run, runId: "again" }])).not.toContain("MIND");
});

it("gives every figure of several trials its interval", () => {
  const { trials, ...rest } = syntheticRun({ trialCount: 3 });
  const several = { ...rest, trials: trials.filter(({ scenarioId }) => scenarioId === "device-ceiling") };
  const text = acrossText([several, { ...several, runId: "again" }]);
  const figures = text.match(/(?:acknowledged|durable) [\d.]+ [kM]?\/s/g)!;
  const intervals = text.match(/\/s \([\d.]+(?: [kM]?\/s)?–[\d.]+ [kM]?\/s\)/g)!;
  expect(figures.length).toBeGreaterThan(10);
  expect(intervals.length).toBe(figures.length);
});

it("puts a banner where durability classes differ", () => {
  const synced = structuredClone({ ...run, runId: "again" });
  for (const { engine, measured } of synced.trials) {
    if (engine === "commitlog" && measured !== null) measured.durabilityClass = "D2";
  }
  expect(acrossText([run, synced])).toMatch(/, commitlog, .*\n {2}MIND: classes D1 and D2 promise different things\./);
  expect(acrossText([run, { ...run, runId: "again" }])).not.toContain("MIND");
});
