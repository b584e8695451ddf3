import { expect, it } from "vitest";
import type { MeasureTime } from "../results/schema.js";
import { measureTimeSentences } from "./measure-times.js";
import { syntheticRun } from "./synthetic-run.js";

const TIME: MeasureTime = {
  durationNs: 1e9,
  profileNs: 350e6,
  syncsPerSecond: 812,
  expectedPerSecond: 68,
  percentile: 99,
};
const [trial] = syntheticRun({ trialCount: 1 }).trials;
const of = (trialId: string, sampleCount: number, measureTime?: MeasureTime) => ({
  ...trial!,
  trialId,
  measured: { ...trial!.measured!, responseTime: { ...trial!.measured!.responseTime, sampleCount } },
  ...(measureTime === undefined ? {} : { measureTime }),
});

it("says once for all cells alike how long they were measured, why, and what their samples do not publish", () => {
  const short = { ...TIME, durationNs: 350e6 };
  const sentences = measureTimeSentences([
    of("s/a/closed/0", 9_999, TIME),
    of("s/a/closed/1", 999, TIME),
    of("s/b/closed/0", 200, TIME),
    of("s/c/closed/0", 10_000, short),
    of("s/d/closed/0", 1_000_000, short),
    of("s/e/closed/0", 199, TIME),
    of("s/f/closed/0", 5),
    { ...of("s/g/closed/0", 5, TIME), status: "failed" as const },
  ]);
  expect(sentences.map((sentence) => sentence.replaceAll("\u00a0", " "))).toEqual([
    "2 cells whose acknowledgements wait for a sync: measured for 1.00 s a trial instead of 350 ms, since the probe synced appends at 812/s: not enough time in this profile for p99, percentiles beyond the median are not published of a single trial.",
    "2 cells whose acknowledgements wait for a sync: measured for 350 ms a trial, since the probe synced appends at 812/s: enough for 100 samples beyond the p99.",
    "1 cell whose acknowledgements wait for a sync: measured for 1.00 s a trial instead of 350 ms, since the probe synced appends at 812/s: not enough time in this profile for p99, a single trial publishes no percentile.",
  ]);
});

it("says nothing where the profile's time held", () => {
  expect(measureTimeSentences([of("s/a/closed/0", 5)])).toEqual([]);
});
