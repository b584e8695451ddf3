import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { defineScenario, type Scenario, scenarioSchema } from "../runners/scenario.js";
import profiles from "./profiles.js";

const names = readdirSync(new URL(".", import.meta.url)).filter((name) => /^(?!profiles|claims)[^.]+\.js$/.test(name));
const scenarios = await Promise.all(
  names.map(
    async (name): Promise<[string, Scenario]> => [name, (await import(new URL(name, import.meta.url).href)).default],
  ),
);

describe.each(scenarios)("%s", (name, scenario) => {
  it("is a scenario of its file's name, with a question, an expectation and what would refute it", () => {
    expect(scenarioSchema.parse(scenario)).toEqual(scenario);
    expect(`${scenario.id}.js`).toBe(name);
    expect(scenario.question).toMatch(/\?$/);
    for (const sentence of [scenario.expectation, scenario.refutedIf]) expect(sentence).toMatch(/^[A-Z].{20,}\.$/);
  });

  it("varies what it configures, each axis from its smallest value on", () => {
    for (const { path, values } of scenario.vary) {
      expect(path.split(".")[0]).toBeOneOf(["topology", "messages", "settings", "load"]);
      for (const profile of ["smoke", "quick", "full"] as const) {
        const numbers = values[profile].filter((value) => typeof value === "number");
        expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
        expect(new Set(values[profile].map((value) => JSON.stringify(value))).size).toBe(values[profile].length);
      }
    }
  });

  it("asks for latency only with a load that has it", () => {
    if (scenario.figure === "responseTime") expect(scenario.load.open).toBeDefined();
  });
});

describe("defineScenario", () => {
  const [, sample] = scenarios[0]!;

  it.each([
    ["an unknown key", { ...sample, speed: "high" }, /speed/],
    ["an unknown key within", { ...sample, load: { ...sample.load, threads: 4 } }, /threads/],
    ["an axis of nothing", { ...sample, vary: [{ path: "engine.speed", label: "", values: {} }] }, /path/],
    [
      "an axis that a profile has no values for",
      { ...sample, vary: [{ ...sample.vary[0], values: { smoke: [1] } }] },
      /quick/,
    ],
  ])("refuses %s, naming it", (_, scenario, name) => {
    expect(() => defineScenario(scenario as Scenario)).toThrow(name);
  });
});

describe("profiles", () => {
  it("let a file roll within a trial of the full profile", () => {
    const { maximumBytes, settings } = profiles.full;
    expect(maximumBytes).toBeGreaterThan(2 * Number(settings.segmentSizeBytes));
  });
});
