import { describe, expect, it } from "vitest";
import type { Run } from "../results/schema.js";
import { analyse } from "./analysis.js";
import { answer, summary } from "./answers.js";
import { syntheticRun } from "./synthetic-run.js";

const run = syntheticRun({ trialCount: 3 });

function answerOf(id: string, of: Run = run) {
  const trials = of.trials.filter(({ scenarioId }) => scenarioId === id);
  const { scenarios } = analyse({ ...of, trials });
  const { headline, basis, details, measured } = answer(scenarios.find(({ record }) => record.id === id)!);
  const plain = (text: string) => text.replaceAll("\u00a0", " ");
  return {
    headline: plain(headline),
    basis: plain(basis ?? ""),
    details: details.map(plain).join("\n"),
    measured: measured.map(plain).join("\n"),
  };
}

it("sums a run up, each baseline once, whatever engines it ran for", () => {
  const trials = run.trials.map((trial) =>
    trial.engine === "raw" ? { ...trial, limits: [trial.repetition === 1 ? "commitlog" : "partitioned-log"] } : trial,
  );
  const text = summary(analyse({ ...run, trials }), trials.length, trials.length);
  expect(text).toContain(" to the test against the baselines null and raw: ");
});

describe("answers in numbers", () => {
  it("say who leads at each end of the axis, by how much, and of which figures", () => {
    const { headline, basis, details, measured } = answerOf("many-partitions");
    const [start, end] = headline.split("; ");
    expect(start).toMatch(
      /^At partitions = 1, partitioned-log acknowledges [\d.]+× \([\d.]+–[\d.]+\) as many messages a second as commitlog, \d+ k\/s against \d+ k\/s$/,
    );
    expect(end).toMatch(/^at partitions = 10 000, commitlog acknowledges [\d.]+× \([\d.]+–[\d.]+\) as many messages/);
    expect(basis).toBe(
      "D1, closed loop, 1 024 in flight; in brackets the 50 % to 75 % interval of the ratio, from 2 to 3 pairs of trials. This rests on doubtful figures: dirty pages left at the end and a working set that fits in memory.",
    );
    expect(details).toContain("The lead passes from partitioned-log to commitlog between partitions = 100 and 1 000.");
    expect(measured).toMatch(/the acknowledged throughput of partitioned-log falls to 0\.0\d+×/);
    expect(measured).toMatch(/partitioned-log ÷ commitlog by partitions: 1\.\d+× at 1, /);
  });

  it("set an engine against the limits where nothing varies", () => {
    expect(answerOf("device-ceiling").headline).toMatch(
      /makes durable .* partitioned-log reaches \d+ % of raw appends and \d+ % of the disk's buffered writes/,
    );
  });

  it("speak of response times in the open loop, with the percentile", () => {
    const { headline, basis, measured } = answerOf("linger");
    expect(headline).toMatch(/the p99 response time of|cannot be told apart in p99 response time/);
    expect(basis).toContain("open loop, 90 % of capacity");
    expect(measured).toMatch(/the median response time of commitlog rises to \d+/);
  });

  it("count where there are too many facets for words", () => {
    expect(answerOf("flush-policy").headline).toMatch(/^Of 18 points compared, partitioned-log is ahead at \d+/);
  });

  it("compare nothing across durability classes, and say so", () => {
    const mixed = structuredClone(run);
    for (const trial of mixed.trials) {
      if (trial.engine === "commitlog" && trial.measured !== null) trial.measured.durabilityClass = "D2";
    }
    const { headline, details } = answerOf("device-ceiling", mixed);
    expect(headline).not.toContain("×");
    expect(details).toContain(
      "Not compared at 1 point: the engines' acknowledgements are of different durability classes",
    );
  });

  it("rest on no invalid figure, and say so", () => {
    const stepped = structuredClone(run);
    for (const { engine, measured } of stepped.trials) {
      if (engine === "commitlog" && measured !== null) measured.clockStepNs = 5e9;
    }
    const { headline, details, measured } = answerOf("device-ceiling", stepped);
    expect(headline).not.toContain("commitlog");
    expect(headline).toMatch(/^partitioned-log: durable throughput /);
    expect(details).toContain("Not compared at 1 point: a figure there is invalid.");
    expect(answerOf("many-partitions", stepped).measured).not.toContain("commitlog");
    expect(measured).toBe("");
  });

  it("have no valid figure to rest on where every trial is invalid", () => {
    const stepped = structuredClone(run);
    for (const { measured } of stepped.trials) if (measured !== null) measured.clockStepNs = 5e9;
    const { headline } = answerOf("device-ceiling", stepped);
    expect(headline).toBe("No trial of this scenario has valid figures, so the question stays open.");
  });

  it("leave single invalid trials out of what is compared", () => {
    const once = structuredClone(run);
    const spoiled = once.trials.find(
      ({ scenarioId, engine, measured, configuration, repetition }) =>
        scenarioId === "device-ceiling" &&
        engine === "commitlog" &&
        measured !== null &&
        repetition === 0 &&
        configuration.load.model === "closed",
    )!;
    spoiled.measured!.clockStepNs = 5e9;
    spoiled.measured!.durable.messagesPerSecond = 1;
    const { basis } = answerOf("device-ceiling", once);
    expect(basis).toContain("from 2 pairs of trials");
    expect(basis).toContain("invalid trials left out");
  });

  it("claim no interval for a single pair of trials", () => {
    const single = syntheticRun({ trialCount: 1 });
    const { headline, basis } = answerOf("device-ceiling", single);
    expect(headline).toMatch(/is ahead of commitlog in durable throughput by [\d.]+×, a single pair of trials: /);
    expect(basis).toContain("one pair of trials has no interval");
  });

  it("give numbers for many facets even where no lead is sure", () => {
    const { headline } = answerOf("flush-policy", syntheticRun({ trialCount: 1 }));
    expect(headline).toMatch(/cannot be told apart at 18\. The largest difference.*: at .* by [\d.]+×, a single pair/);
  });

  it("leave the question open where no trial has figures", () => {
    const empty = { ...run, trials: run.trials.filter((trial) => trial.scenarioId !== "linger") };
    expect(answerOf("linger", empty).headline).toBe(
      "No trial of this scenario has figures, so the question stays open.",
    );
  });
});
