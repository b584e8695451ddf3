/** Figures of trials of equal repetition, held against each other: the ratio's drift is then what both share. */

import type { ScenarioRecord, Trial } from "../results/schema.js";
import { attainableConfidence, type Estimate, ratioOfPairs } from "../results/statistics.js";
import { type Circumstances, usableTrials } from "../results/validity.js";
import { PERCENTILES, trialPercentile } from "./histograms.js";

export type Figure = ScenarioRecord["figure"];

/** One pair has no interval: infinite bounds. */
export function pairedRatio(numerators: readonly number[], denominators: readonly number[]): Estimate {
  const ratio = ratioOfPairs(numerators, denominators, attainableConfidence(numerators.length));
  return numerators.length > 1 ? ratio : { ...ratio, lower: 0, upper: Number.POSITIVE_INFINITY };
}

export function inverse(ratio: Estimate): Estimate {
  return {
    point: 1 / ratio.point,
    lower: 1 / ratio.upper,
    upper: ratio.lower <= 0 ? Number.POSITIVE_INFINITY : 1 / ratio.lower,
    confidence: ratio.confidence,
  };
}

/** p99 where every trial has enough samples for it, or the highest percentile below that has. */
export function commonPercentile(groups: readonly { trials: readonly Trial[] }[]): number {
  const candidates = PERCENTILES.filter((percentile) => percentile <= 99).toReversed();
  const trials = groups.flatMap((group) => group.trials);
  return candidates.find((percentile) => hasPercentile(trials, percentile)) ?? 50;
}

/** Whether each of the trials, all of them ok, has enough samples for it. */
export function hasPercentile(trials: readonly Trial[], percentile: number): boolean {
  return trials.every((trial) => trialPercentile(trial.measured!.responseTime, percentile) !== null);
}

export function pairTrials(
  first: readonly Trial[],
  second: readonly Trial[],
  figure: Figure,
  percentile: number | null,
  circumstances: Circumstances,
): { first: number[]; second: number[] } | null {
  const result = { first: [] as number[], second: [] as number[] };
  const partners = usableTrials(second, figure, circumstances);
  for (const trial of usableTrials(first, figure, circumstances)) {
    const partner = partners.find((candidate) => candidate.repetition === trial.repetition);
    if (partner === undefined) continue;
    const a = figureOf(trial, figure, percentile);
    const b = figureOf(partner, figure, percentile);
    if (a === null || b === null || a <= 0 || b <= 0) continue;
    result.first.push(a);
    result.second.push(b);
  }
  return result.first.length === 0 ? null : result;
}

function figureOf(trial: Trial, figure: Figure, percentile: number | null): number | null {
  const measured = trial.measured!;
  if (figure === "responseTime") return trialPercentile(measured.responseTime, percentile ?? 50);
  return measured[figure].messagesPerSecond;
}
