import { describe, expect, it } from "vitest";
import type { Measured, Run } from "../results/schema.js";
import { analyse } from "./analysis.js";
import { identities } from "./charts.js";
import { syntheticRun } from "./synthetic-run.js";
import { courseCharts, timeCharts } from "./time-charts.js";

const run = syntheticRun({ trialCount: 3 });

function altered(change: (measured: Measured) => Measured["samples"]): Run {
  const trials = run.trials.map((trial) =>
    trial.measured === null ? trial : { ...trial, measured: { ...trial.measured, samples: change(trial.measured) } },
  );
  return { ...run, trials };
}

function chartsOf(of: Run, make: typeof courseCharts, id = "flush-policy") {
  const analysis = analyse(of);
  const scenario = analysis.scenarios.find(({ record }) => record.id === id)!;
  return { scenario, charts: make(scenario, "s", identities(analysis)) };
}

describe("the course of a trial", () => {
  it("is drawn for each engine, point and load, of the trial of median throughput", () => {
    const { scenario, charts } = chartsOf(run, courseCharts, "device-ceiling");
    const groups = scenario.groups.filter(({ isBaseline }) => !isBaseline);
    expect(charts).toHaveLength(groups.length);
    for (const [i, { trials }] of groups.entries()) {
      const rate = ({ measured }: (typeof trials)[number]) => measured!.acknowledged.messagesPerSecond;
      const { samples } = [...trials].sort((a, b) => rate(a) - rate(b))[Math.floor((trials.length - 1) / 2)]!.measured!;
      expect(charts[i]!.series[0]!.points).toEqual(
        samples.map(({ atNs, durationNs, acknowledgedMessages }) => ({
          x: atNs / 1e9,
          y: acknowledgedMessages / (durationNs / 1e9),
        })),
      );
    }
  });

  it("has panels for rate, latency, page cache, processors and events, and no series that is zero throughout", () => {
    const chart = chartsOf(run, courseCharts).charts.find(({ title }) => /=\ssync/.test(title))!;
    const labels = [chart.y, ...chart.panels!].map(({ label }) => label);
    expect(labels).toEqual(["messages/s", "p99", "page cache", "CPU", "events"]);
    const placed = chart.series.map(({ name, panel }) => [name, labels[(panel ?? -1) + 1]]);
    expect(placed).toEqual([
      ["acknowledged", "messages/s"],
      ["p99 of each interval", "p99"],
      ["dirty", "page cache"],
      ["CPU: main thread", "CPU"],
      ["thread pool", "CPU"],
      ["V8's helpers", "CPU"],
      ["sampler", "CPU"],
      ["events of the engine", "events"],
    ]);
    expect(chart.subtitle).toContain("acknowledgements D2");
  });

  it("marks the intervals in which the engine's events ended, a row for each kind, with count and longest", () => {
    const chart = chartsOf(run, courseCharts).charts.find(({ title }) => /=\ssync/.test(title))!;
    const { points } = chart.series.at(-1)!;
    expect(chart.panels!.at(-1)!.ticks).toEqual([
      { at: 0, label: "syncs" },
      { at: 1, label: "rolls" },
    ]);
    expect(points.filter(({ y }) => y === 0)).toHaveLength(8);
    expect(points.filter(({ y }) => y === 1).map(({ label }) => label)).toEqual(["1 roll, the longest 1.00\u00a0ms"]);
  });

  it("shows medians where intervals have too few samples for a p99, and nothing where for neither", () => {
    const few = (sampleCount: number) =>
      altered(({ samples }) =>
        samples.map((sample) => ({
          ...sample,
          detail: { ...sample.detail!, responseTime: { ...sample.detail!.responseTime!, sampleCount } },
        })),
      );
    const names = (of: Run) => chartsOf(of, courseCharts).charts[0]!.series.map(({ name }) => name);
    expect(names(few(1_000))).toContain("p99 of each interval");
    expect(names(few(999))).toContain("median of each interval");
    expect(names(few(19)).filter((name) => name.includes("interval"))).toEqual([]);
  });

  it("is left out of runs that did not sample so much", () => {
    const old = altered(({ samples }) => samples.map((sample) => ({ ...sample, detail: null })));
    expect(chartsOf(old, courseCharts).charts).toEqual([]);
    expect(
      chartsOf(
        altered(({ samples }) => samples.slice(0, 3)),
        courseCharts,
      ).charts,
    ).toEqual([]);
  });
});

it("shows the page-cache debt of the engines over time: dirty, and being written back", () => {
  const debt = chartsOf(run, timeCharts, "device-ceiling").charts.find(({ id }) => id === "s-time-dirty")!;
  expect(debt.title).toMatch(/^Page-cache debt/);
  expect(debt.series.map(({ name }) => name)).toEqual([
    "partitioned-log, dirty",
    "commitlog, dirty",
    "partitioned-log, being written back",
    "commitlog, being written back",
  ]);
});
