import { expect, it } from "vitest";
import { type Run, type Trial, UNTRIED_RATE } from "../results/schema.js";
import { analyse, findGroup } from "./analysis.js";
import { answer } from "./answers.js";
import { chartsOf, identities } from "./charts.js";
import { syntheticRun } from "./synthetic-run.js";
import { engineCells } from "./tables.js";

/** A run that asks how response times grow with the load, each load with both kinds of arrivals. */
function loadRun(change: (trial: Trial) => void = () => {}): Run {
  const run = syntheticRun({ trialCount: 3 });
  const record = run.scenarios.find(({ id }) => id === "device-ceiling")!;
  const poisson = run.trials.filter(({ scenarioId }) => scenarioId === record.id);
  const constant = poisson.flatMap((trial): Trial[] => {
    const { load } = trial.configuration;
    if (load.model === "closed") return [];
    const configuration = { ...trial.configuration, load: { ...load, arrivals: "constant" as const } };
    return [{ ...trial, trialId: `${trial.trialId}-constant`, configuration }];
  });
  const trials = structuredClone([...poisson, ...constant]);
  for (const trial of trials) change(trial);
  return { ...run, scenarios: [{ ...record, figure: "responseTime" }], trials };
}

const POINT = { key: "[]", values: [] };
const isOf = ({ engine, configuration: { load } }: Trial, name: string, fraction: number) =>
  engine === name && load.model === "open" && load.capacityFraction === fraction;

it("draws median and p99 over the load, each kind of arrivals by itself, before all other charts", () => {
  const analysis = analyse(loadRun());
  const [scenario] = analysis.scenarios;
  const { main } = chartsOf(scenario!, "s", identities(analysis), analysis.device);
  expect(main.slice(0, 2).map(({ id }) => id)).toEqual(["s-load-poisson-1", "s-load-constant-1"]);
  for (const [at, arrivals] of (["poisson", "constant"] as const).entries()) {
    const { series, x } = main[at]!;
    expect(x.ticks!.map((tick) => tick.at)).toEqual([0.5, 0.7, 0.9]);
    expect(series.map(({ name }) => name)).toEqual([
      "partitioned-log, p99",
      "partitioned-log, median",
      "commitlog, p99",
      "commitlog, median",
    ]);
    const commitlogP99 = series[2]!.points.map(({ x: fraction, y }) => {
      const group = findGroup(scenario!.groups, "commitlog", POINT, `open ${fraction} ${arrivals}`)!;
      return [y, group.responseTime!.percentiles.find(({ percentile }) => percentile === 99)!.valueNs];
    });
    expect(commitlogP99).toHaveLength(3);
    for (const [drawn, analysed] of commitlogP99) expect(drawn).toBe(analysed);
  }
});

it("leaves a load out that was never met, and says so in the chart", () => {
  const analysis = analyse(
    loadRun((trial) => {
      if (!isOf(trial, "commitlog", 0.9)) return;
      trial.status = "failed";
      trial.failureKind = "rate";
      trial.failures = ["The rate was not met."];
    }),
  );
  const { main } = chartsOf(analysis.scenarios[0]!, "s", identities(analysis), analysis.device);
  expect(main[0]!.series[2]!.points.map(({ x }) => x)).toEqual([0.5, 0.7]);
  expect(main[0]!.subtitle).toContain("FAILED, not drawn: commitlog at 90\u00a0%");
  expect(main.map(({ id }) => id)).toContain("s-backlog-1");
});

it("says what more load does to median and tail, and what Poisson arrivals do at the highest load", () => {
  const { measured } = answer(analyse(loadRun()).scenarios[0]!);
  const about = (engine: string) => measured.filter((sentence) => sentence.includes(`of ${engine} `));
  for (const engine of ["partitioned-log", "commitlog"]) {
    expect(about(engine)).toEqual([
      expect.stringMatching(/^From 50\u00a0% to 90\u00a0% of capacity, the median .* rises to .*constant arrivals/),
      expect.stringMatching(/^From 50\u00a0% to 90\u00a0% of capacity, the p99 .* rises to .*constant arrivals/),
      expect.stringMatching(/^From 50\u00a0% to 90\u00a0% of capacity, the median .* rises to .*Poisson arrivals/),
      expect.stringMatching(/^From 50\u00a0% to 90\u00a0% of capacity, the p99 .* rises to .*Poisson arrivals/),
      // The same trials stand for both.
      expect.stringMatching(
        /^At 90\u00a0% of capacity, from constant to Poisson arrivals, the median .* cannot be told/,
      ),
      expect.stringMatching(/^At 90\u00a0% of capacity, from constant to Poisson arrivals, the p99 .* cannot be told/),
    ]);
  }
});

it("answers first how the tail grows with the load, and who did not keep up", () => {
  const { headline } = answer(
    analyse(
      loadRun((trial) => {
        if (!isOf(trial, "commitlog", 0.9) && !isOf(trial, "commitlog", 0.7)) return;
        trial.status = "failed";
        trial.failureKind = "rate";
        trial.failures = ["The rate was not met."];
      }),
    ).scenarios[0]!,
  );
  const sentences = headline.replaceAll("\u00a0", " ").split(". ");
  expect(sentences.slice(0, 5)).toEqual([
    expect.stringMatching(/^From 50 % to 90 % of capacity, the p99 response time of partitioned-log rises to /),
    ...[70, 90].flatMap((share) =>
      ["constant", "Poisson"].map(
        (arrivals) => `commitlog did not keep up with ${share} % of its capacity, ${arrivals} arrivals`,
      ),
    ),
  ]);
});

it("does not say that an engine was too slow for a rate that was never tried, for want of a capacity", () => {
  const analysis = analyse(
    loadRun((trial) => {
      const { load } = trial.configuration;
      if (trial.engine !== "commitlog") return;
      trial.status = "failed";
      trial.measured = null;
      trial.failureKind = load.model === "closed" ? "engine" : "rate";
      trial.failures = ["It crashed, or had no capacity."];
      if (load.model === "open") load.ratePerSecond = UNTRIED_RATE;
    }),
  );
  const [scenario] = analysis.scenarios;
  expect(answer(scenario!).headline).not.toContain("did not keep up");
  const paced = scenario!.groups.filter(({ engine, load }) => engine === "commitlog" && load.model === "open");
  expect(paced.length).toBeGreaterThan(0);
  for (const group of paced) {
    expect(group.missedCount).toBe(0);
    expect(engineCells(group)[1]!.note).toMatch(/^of capacity, never tried, /);
  }
  const { main } = chartsOf(scenario!, "s", identities(analysis), analysis.device);
  expect(main.map(({ subtitle }) => subtitle).join()).not.toContain("FAILED");
});

it("holds no load against another that was acknowledged in another class", () => {
  const mixed = loadRun((trial) => {
    if (isOf(trial, "commitlog", 0.5)) trial.measured!.durabilityClass = "D2";
  });
  const { loadTrends } = analyse(mixed).scenarios[0]!;
  expect(loadTrends.filter(({ to, what }) => to.engine === "commitlog" && what === "load")).toEqual([]);
  expect(loadTrends.some(({ to }) => to.engine === "partitioned-log")).toBe(true);
});
