/** What more load and less even arrivals do to response times, in sentences. */

import type { ScenarioAnalysis } from "./analysis.js";
import { formatRatio, formatShare, percentileName, threeDigits } from "./format.js";
import type { LoadTrend } from "./load-trends.js";
import { classWords, confidenceWords, countWords, hasInterval, intervalWords, pointWords } from "./words.js";

/** Of scenarios that ask for response times; empty where each engine was tried under one load only. */
export function loadTrendSentences({ record, axes, loadTrends }: ScenarioAnalysis): string[] {
  if (record.figure !== "responseTime") return [];
  return loadTrends.map((trend) => {
    const { from, to, ratio, pairCount, grade } = trend;
    const place = pointWords(axes, to.point);
    const interval = intervalWords(ratio, threeDigits);
    const certainty =
      interval === null
        ? "single trials, no interval"
        : `${confidenceWords(ratio.confidence)} interval ${interval}, ${countWords(pairCount, "pair")} of trials`;
    const isFlat = hasInterval(ratio) && ratio.lower <= 1 && ratio.upper >= 1;
    const course = isFlat ? "cannot be told from level at" : ratio.point < 1 ? "falls to" : "rises to";
    const doubt = grade === "valid" ? "" : "; doubtful";
    return `${place === "" ? "" : `At ${place}: `}${changeWords(trend)}, the ${percentileName(trend.percentile)} response time of ${to.engine} ${course} ${formatRatio(ratio.point)} (${certainty}; ${classWords(to.durabilityClasses)}, open loop${from.load.arrivals === to.load.arrivals ? `, ${to.load.arrivals === "poisson" ? "Poisson" : "constant"} arrivals` : ""}${doubt}).`;
  });
}

function changeWords({ what, from, to }: LoadTrend): string {
  const [low, high] = [from, to].map(({ load }) => formatShare(load.capacityFraction));
  return what === "load"
    ? `From ${low} to ${high} of capacity`
    : `At ${high} of capacity, from constant to Poisson arrivals`;
}
