/** What more load and less even arrivals do to response times, in sentences. */

import type { Axis, ScenarioAnalysis } from "./analysis.js";
import { formatRatio, formatShare, percentileName, threeDigits } from "./format.js";
import type { LoadTrend } from "./load-trends.js";
import { classWords, confidenceWords, countWords, hasInterval, intervalWords, pointWords } from "./words.js";

/** Of scenarios that ask for response times; empty where each engine was tried under one load only. */
export function loadTrendSentences({ record, axes, loadTrends }: ScenarioAnalysis): string[] {
  return record.figure === "responseTime" ? loadTrends.map((trend) => sentenceOf(trend, axes)) : [];
}

/** Of a scenario whose only question is the load: how the tail grows with it, and which loads were too much. */
export function loadAnswerSentences({ record, xAxis, axes, groups, loadTrends }: ScenarioAnalysis): string[] {
  if (record.figure !== "responseTime" || xAxis !== null) return [];
  const byLoad = loadTrends.filter(({ what, percentile }) => what === "load" && percentile > 50);
  const uneven = byLoad.filter(({ to }) => to.load.arrivals === "poisson");
  const missed = groups.flatMap(({ engine, load, trials, missedCount }) =>
    load.model === "open" && trials.length === 0 && missedCount > 0
      ? [`${engine} did not keep up with ${formatShare(load.capacityFraction)} of its capacity, ${arrivalWords(load)}.`]
      : [],
  );
  return [...(uneven.length > 0 ? uneven : byLoad).map((trend) => sentenceOf(trend, axes)), ...missed];
}

function sentenceOf(trend: LoadTrend, axes: readonly Axis[]): string {
  const { from, to, ratio, pairCount, grade } = trend;
  const place = pointWords(axes, to.point);
  const interval = intervalWords(ratio, threeDigits);
  const certainty =
    interval === null
      ? "single trials, no interval"
      : `${confidenceWords(ratio.confidence)} interval ${interval}, ${countWords(pairCount, "pair")} of trials`;
  const isFlat = hasInterval(ratio) && ratio.lower <= 1 && ratio.upper >= 1;
  const course = isFlat ? "cannot be told from level at" : ratio.point < 1 ? "falls to" : "rises to";
  const arrivals = from.load.arrivals === to.load.arrivals ? `, ${arrivalWords(to.load)}` : "";
  const doubt = grade === "valid" ? "" : "; doubtful";
  return `${place === "" ? "" : `At ${place}: `}${changeWords(trend)}, the ${percentileName(trend.percentile)} response time of ${to.engine} ${course} ${formatRatio(ratio.point)} (${certainty}; ${classWords(to.durabilityClasses)}, open loop${arrivals}${doubt}).`;
}

function arrivalWords({ arrivals }: { arrivals: "constant" | "poisson" }): string {
  return `${arrivals === "poisson" ? "Poisson" : "constant"} arrivals`;
}

function changeWords({ what, from, to }: LoadTrend): string {
  const [low, high] = [from, to].map(({ load }) => formatShare(load.capacityFraction));
  return what === "load"
    ? `From ${low} to ${high} of capacity`
    : `At ${high} of capacity, from constant to Poisson arrivals`;
}
