import { describe, expect, it } from "vitest";
import type { ScenarioRecord, Trial } from "../results/schema.js";
import {
  blurOf,
  type IsUsable,
  missingOf,
  nextUnit,
  repetitionCount,
  type Unit,
  unitsOf,
  unresolvedOf,
} from "./budget.js";
import type { PlannedTrial } from "./plan.js";

const CLOSED: PlannedTrial["load"] = { model: "closed", inFlight: 1, producers: 1 };
const OPEN: PlannedTrial["load"] = {
  model: "open",
  capacityFraction: 0.7,
  arrivals: "constant",
  inFlight: 1,
  producers: 1,
};

const cell = (
  scenarioId: string,
  engine: string,
  load: PlannedTrial["load"] = CLOSED,
  phase: Trial["phase"] = "trials",
): PlannedTrial =>
  ({
    trialId: `${scenarioId}/${engine}/${load.model}/0`,
    scenarioId,
    engine,
    point: {},
    repetition: 0,
    phase,
    load,
  }) as unknown as PlannedTrial;
const record = (id: string, figure: ScenarioRecord["figure"] = "acknowledged") => ({ id, figure }) as ScenarioRecord;
const unit = (scenarioId: string): Unit =>
  unitsOf([cell(scenarioId, "a"), cell(scenarioId, "b")], [record(scenarioId)])[0]!;

/** Trials of engines a and b of a scenario, one pair for each two rates; null = the trial failed. */
function pairs(
  scenarioId: string,
  rates: readonly (readonly [number | null, number | null])[],
  classes: readonly [string, string] = ["D1", "D1"],
): Trial[] {
  return rates.flatMap((pair, repetition) =>
    pair.map(
      (rate, at) =>
        ({
          trialId: `${scenarioId}/${"ab"[at]}/closed/${repetition}`,
          repetition,
          status: rate === null ? "failed" : "ok",
          measured: rate === null ? null : { durabilityClass: classes[at], acknowledged: { messagesPerSecond: rate } },
        }) as unknown as Trial,
    ),
  );
}
const always: IsUsable = () => true;
const limits = { remainingMs: 1_000, maximumRepetitions: 10, costMs: () => 100, isUsable: always };
const NOISY = [
  [100, 80],
  [90, 120],
  [130, 90],
] as const;
const CLEAR = [
  [200, 100],
  [230, 104],
  [180, 96],
] as const;

describe("unitsOf", () => {
  it("puts together what is compared, and leaves limits out", () => {
    const planned = [
      cell("s", "null", CLOSED, "before"),
      cell("s", "a"),
      cell("s", "b"),
      cell("s", "a", OPEN),
      cell("s", "b", OPEN),
      cell("t", "a"),
    ];
    const units = unitsOf(planned, [record("s", "responseTime"), record("t")]);
    expect(
      units.map(({ cells, load, isCompared }) => [cells.map(({ engine }) => engine), load.model, isCompared]),
    ).toEqual([
      [["a", "b"], "closed", false],
      [["a", "b"], "open", true],
      [["a"], "closed", true],
    ]);
  });
});

describe("nextUnit", () => {
  const [wide, sharp] = [unit("wide"), unit("sharp")];
  const finished = [...pairs("wide", NOISY), ...pairs("sharp", CLEAR)];

  it("takes the pair whose interval is widest against its effect, wherever it stands", () => {
    expect(blurOf(wide, finished, always)).toBeGreaterThan(blurOf(sharp, finished, always));
    expect(nextUnit([sharp, wide], finished, limits)).toBe(wide);
    expect(nextUnit([wide, sharp], finished, limits)).toBe(wide);
  });

  it("takes what has no interval yet before all that have one, the fewest repetitions first", () => {
    const [one, none] = [unit("one"), unit("none")];
    const some = [...finished, ...pairs("one", [[1, 2]])];
    expect(nextUnit([wide, one], some, limits)).toBe(one);
    expect(nextUnit([one, none, wide], some, limits)).toBe(none);
  });

  it("spends nothing on what is sharp: on either side, or level within the least effect that matters", () => {
    const steady = (ratio: number) => [1, 1.001, 0.999, 1].map((noise) => [ratio * noise, 1] as const);
    for (const ratio of [2, 0.5, 1]) expect(nextUnit([sharp], pairs("sharp", steady(ratio)), limits)).toBeNull();
  });

  it("takes the next widest where a block of the widest does not fit, and none where none fits", () => {
    const costMs = (of: Unit) => (of === wide ? 1_001 : 1_000);
    expect(nextUnit([sharp, wide], finished, { ...limits, costMs })).toBe(sharp);
    expect(nextUnit([sharp, wide], finished, { ...limits, costMs: () => 1_001 })).toBeNull();
  });

  it("ends at the most repetitions, and for engines that only fail", () => {
    expect(nextUnit([wide], finished, { ...limits, maximumRepetitions: 3 })).toBeNull();
    expect(
      nextUnit(
        [wide],
        pairs("wide", [
          [1, null],
          [2, null],
        ]),
        limits,
      ),
    ).toBeNull();
  });

  it("spends nothing on engines whose acknowledgements mean different things, which no answer compares", () => {
    const crossed = pairs("wide", NOISY, ["D1", "D2"]);
    expect(nextUnit([wide], crossed, limits)).toBeNull();
    expect(unresolvedOf([wide], crossed, always)).toEqual([]);
    expect(nextUnit([wide], pairs("wide", NOISY, ["D2", "D2"]), limits)).toBe(wide);
  });

  it("takes no invalid trial into account, and gives up where all are", () => {
    const isUsable: IsUsable = ({ repetition }, figure) => figure === "acknowledged" && repetition !== 2;
    expect(unresolvedOf([wide], finished, isUsable)).toMatchObject([{ pairCount: 2 }]);
    const level = [1, 1.001, 5, 1].map((ratio) => [ratio, 1] as const);
    expect(nextUnit([sharp], pairs("sharp", level), { ...limits, isUsable })).toBeNull();
    expect(nextUnit([sharp], pairs("sharp", level), limits)).toBe(sharp);
    const never: IsUsable = () => false;
    expect(nextUnit([wide], finished.slice(0, 4), { ...limits, isUsable: never })).toBe(wide);
    expect(nextUnit([wide], finished, { ...limits, isUsable: never })).toBeNull();
    expect(unresolvedOf([wide], finished, never)).toMatchObject([{ pairCount: 0, interval: null }]);
  });

  it("gives what no answer compares only the time that is left over", () => {
    const idle: Unit = { ...unit("idle"), isCompared: false };
    expect(nextUnit([idle, wide], finished, limits)).toBe(wide);
    expect(nextUnit([idle, wide], finished, { ...limits, maximumRepetitions: 3 })).toBe(idle);
  });

  it("brings all pairs of an invented machine to about the same sharpness", () => {
    const units = [0.02, 0.1, 0.3].map((noise, at) => ({ noise, unit: unit(`u${at}`) }));
    let found = units.flatMap(({ unit: { scenarioId } }) =>
      pairs(scenarioId, [
        [1, 1],
        [1.1, 1],
      ]),
    );
    for (let block = 0; block < 60; block++) {
      const next = nextUnit(
        units.map((one) => one.unit),
        found,
        { ...limits, maximumRepetitions: 100 },
      );
      if (next === null) break;
      const { noise } = units.find((one) => one.unit === next)!;
      const repetition = repetitionCount(next, found);
      // Alternating noise of a set size about a ratio of 1.5: its spread is known.
      const rate = 1.5 * Math.exp(repetition % 2 === 0 ? noise : -noise);
      const [a, b] = pairs(next.scenarioId, [[rate, 1]]) as [Trial, Trial];
      const at = (trial: Trial) => ({ ...trial, repetition, trialId: trial.trialId.replace(/0$/, String(repetition)) });
      found = [...found, at(a), at(b)];
    }
    const counts = units.map(({ unit: one }) => repetitionCount(one, found));
    expect(counts[2]).toBeGreaterThan(counts[0]!);
    expect(counts[2]).toBeGreaterThan(counts[1]!);
  });
});

describe("missingOf", () => {
  it("names the trials that a block lacks", () => {
    const torn = pairs("s", NOISY).slice(0, -1);
    expect(missingOf(unit("s"), torn).map(({ cell: { engine }, repetition }) => [engine, repetition])).toEqual([
      ["b", 2],
    ]);
    expect(missingOf(unit("s"), pairs("s", NOISY))).toEqual([]);
  });
});

describe("unresolvedOf", () => {
  it("says what shows neither a difference nor its absence", () => {
    const [open, ...others] = unresolvedOf([unit("s")], pairs("s", NOISY), always);
    expect(others).toEqual([]);
    expect(open).toMatchObject({
      what: "comparison",
      scenarioId: "s",
      point: {},
      load: CLOSED,
      engines: ["a", "b"],
      pairCount: 3,
      interval: { confidence: 0.95 },
    });
    // Of 1.25, 0.75 and 1.44: by Student's t of the three logarithms.
    const { lower, upper } = (open as { interval: { lower: number; upper: number } }).interval;
    expect([lower.toFixed(2), upper.toFixed(2)]).toEqual(["0.47", "2.60"]);
    expect(unresolvedOf([unit("s")], pairs("s", [[1, 1]]), always)).toMatchObject([{ pairCount: 1, interval: null }]);
  });

  it("is silent about a difference, and about none within 5 %", () => {
    expect(unresolvedOf([unit("s")], pairs("s", CLEAR), always)).toEqual([]);
    const level = [1, 1.01, 0.99, 1.01, 0.99].map((ratio) => [ratio, 1] as const);
    expect(unresolvedOf([unit("s")], pairs("s", level), always)).toEqual([]);
  });
});
