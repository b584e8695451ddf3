/** What more load and less even arrivals do to response times, in sentences. */

import type { Axis, ScenarioAnalysis } from "./analysis.js";
import { formatShare, percentileName } from "./format.js";
import type { LoadTrend } from "./load-trends.js";
import { ARRIVAL_WORDS, classWords, courseWords, pairedWords, pointWords } from "./words.js";

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
      ? [
          `${engine} did not keep up with ${formatShare(load.capacityFraction)} of its capacity, ${ARRIVAL_WORDS[load.arrivals]} arrivals.`,
        ]
      : [],
  );
  return [...(uneven.length > 0 ? uneven : byLoad).map((trend) => sentenceOf(trend, axes)), ...missed];
}

function sentenceOf(trend: LoadTrend, axes: readonly Axis[]): string {
  const { from, to, ratio, pairCount, grade } = trend;
  const place = pointWords(axes, to.point);
  const arrivals = from.load.arrivals === to.load.arrivals ? `, ${ARRIVAL_WORDS[to.load.arrivals]} arrivals` : "";
  const doubt = grade === "valid" ? "" : "; doubtful";
  return `${place === "" ? "" : `At ${place}: `}${contrastWords(trend)}, the ${percentileName(trend.percentile)} response time of ${to.engine} ${courseWords(ratio)} (${pairedWords(ratio, pairCount)}; ${classWords(to.durabilityClasses)}, open loop${arrivals}${doubt}).`;
}

function contrastWords({ what, from, to }: LoadTrend): string {
  const [low, high] = [from, to].map(({ load }) => formatShare(load.capacityFraction));
  return what === "load"
    ? `From ${low} to ${high} of capacity`
    : `At ${high} of capacity, from constant to Poisson arrivals`;
}
