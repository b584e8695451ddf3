/**
 * Stored histograms into percentiles that may be published.
 *
 * Histograms of trials are added, percentiles are never averaged. A percentile counts for as much as the samples beyond
 * it: from 100 on it is published, from 10 to 99 it is shown as uncertain with its interval, below 10 it is suppressed
 * (method rule 27).
 */
import { decodeHistogram } from "../results/histogram.js";
import type { EncodedHistogram } from "../results/schema.js";

/** The percentiles of tables, terminal and comparisons. */
export const PERCENTILES = [50, 90, 99, 99.9, 99.99] as const;

const PUBLISHED_EXCEEDANCES = 100;
const SHOWN_EXCEEDANCES = 10;
/** Trials record into 1 ns to 60 s; what was longer is only counted. */
const LONGEST_RECORDED_NS = 60e9;

/** 1.96 standard deviations to each side: 95 % of a normal distribution. */
const RANK_INTERVAL_DEVIATIONS = 1.96;

export interface PercentileFigure {
  percentile: number;
  /** `uncertain`: 10 to 99 samples lie beyond; `suppressed`: fewer, or it lies above the recorded range. */
  state: "published" | "uncertain" | "suppressed";
  /** Of the merged histogram; null if suppressed. */
  valueNs: number | null;
  lowerNs: number | null;
  upperNs: number | null;
  /** What the interval is: lowest to highest trial, or the rank interval (95 %) of the merged samples. */
  interval: "trials" | "rank";
  exceedanceCount: number;
}

/** One point of a percentile curve: `nines` = log10(1 / (1 − p)), so 90 % = 1, 99 % = 2. */
interface CurvePoint {
  nines: number;
  valueNs: number;
}

export interface LatencySummary {
  sampleCount: number;
  overflowCount: number;
  maxNs: number;
  percentiles: PercentileFigure[];
  /** Up to the last percentile with 10 samples beyond it. */
  curve: CurvePoint[];
  /** From here on fewer than 100 samples lie beyond: the curve is drawn as uncertain. */
  publishedUpToNines: number;
}

/** Recorded values in rising order, each with how many samples are at most that large. */
interface Distribution {
  valuesNs: readonly number[];
  cumulativeCounts: readonly number[];
  overflowCount: number;
  /** Those above the recorded range included. */
  sampleCount: number;
}

/** Every histogram is looked at several times, in summaries, comparisons and the table of trials. */
const distributions = new WeakMap<EncodedHistogram, Distribution>();

/** @throws DamagedHistogramError */
function distributionOf(encoded: EncodedHistogram): Distribution {
  const known = distributions.get(encoded);
  if (known !== undefined) return known;
  const histogram = decodeHistogram(encoded);
  const counts = new Map<number, number>();
  let left = histogram.totalCount;
  for (let index = 0; left > 0 && index < histogram.countsArrayLength; index++) {
    const count = histogram.getCountAtIndex(index);
    if (count === 0) continue;
    const value = histogram.highestEquivalentValue(histogram.valueFromIndex(index));
    counts.set(Math.min(value, histogram.maxValue), count);
    left -= count;
  }
  const distribution = cumulate(counts, encoded.overflowCount);
  distributions.set(encoded, distribution);
  return distribution;
}

function cumulate(counts: ReadonlyMap<number, number>, overflowCount: number): Distribution {
  const valuesNs = [...counts.keys()].sort((a, b) => a - b);
  let sum = 0;
  const cumulativeCounts = valuesNs.map((value) => {
    sum += counts.get(value)!;
    return sum;
  });
  return { valuesNs, cumulativeCounts, overflowCount, sampleCount: sum + overflowCount };
}

function merge(parts: readonly Distribution[]): Distribution {
  const counts = new Map<number, number>();
  for (const { valuesNs, cumulativeCounts } of parts) {
    for (const [i, value] of valuesNs.entries()) {
      const count = cumulativeCounts[i]! - (i === 0 ? 0 : cumulativeCounts[i - 1]!);
      counts.set(value, (counts.get(value) ?? 0) + count);
    }
  }
  return cumulate(
    counts,
    parts.reduce((sum, part) => sum + part.overflowCount, 0),
  );
}

/**
 * Merges the histograms of one figure's trials.
 *
 * @param withCurve curves are only of use where they are drawn
 */
export function summariseLatency(encoded: readonly EncodedHistogram[], withCurve: boolean): LatencySummary | null {
  const trials = encoded.map(distributionOf);
  const merged = merge(trials);
  const { sampleCount, overflowCount } = merged;
  if (sampleCount === 0) return null;
  return {
    sampleCount,
    overflowCount,
    maxNs: overflowCount > 0 ? LONGEST_RECORDED_NS : merged.valuesNs.at(-1)!,
    percentiles: PERCENTILES.map((percentile) => percentileFigure(merged, trials, percentile)),
    curve: withCurve ? percentileCurve(merged) : [],
    publishedUpToNines: Math.log10(Math.max(1, sampleCount / PUBLISHED_EXCEEDANCES)),
  };
}

/** The percentile of one trial, for comparisons between trials; null where fewer than 10 samples lie beyond it. */
export function trialPercentile(encoded: EncodedHistogram, percentile: number): number | null {
  const distribution = distributionOf(encoded);
  if (exceedances(distribution.sampleCount, percentile) < SHOWN_EXCEEDANCES) return null;
  return valueAt(distribution, percentile / 100);
}

function percentileFigure(merged: Distribution, trials: readonly Distribution[], percentile: number): PercentileFigure {
  const share = percentile / 100;
  const exceedanceCount = exceedances(merged.sampleCount, percentile);
  const valueNs = exceedanceCount < SHOWN_EXCEEDANCES ? null : valueAt(merged, share);
  if (valueNs === null) {
    const nothing = { valueNs: null, lowerNs: null, upperNs: null, interval: "rank" as const };
    return { percentile, state: "suppressed", exceedanceCount, ...nothing };
  }
  if (exceedanceCount >= PUBLISHED_EXCEEDANCES && trials.length > 1) {
    // The merged percentile lies between the lowest and the highest of its trials.
    const values = trials.filter((trial) => trial.sampleCount > 0).map((trial) => valueAt(trial, share));
    const known = values.filter((value) => value !== null);
    return {
      percentile,
      state: "published",
      valueNs,
      lowerNs: Math.min(valueNs, ...known),
      upperNs: known.length < values.length ? null : Math.max(valueNs, ...known),
      interval: "trials",
      exceedanceCount,
    };
  }
  // Ranks spread like the binomial: p99.9 of 100 000 samples lies between p99.88 and p99.92.
  const deviation = RANK_INTERVAL_DEVIATIONS * Math.sqrt((share * (1 - share)) / merged.sampleCount);
  return {
    percentile,
    state: exceedanceCount >= PUBLISHED_EXCEEDANCES ? "published" : "uncertain",
    valueNs,
    lowerNs: valueAt(merged, Math.max(0, share - deviation)),
    upperNs: valueAt(merged, Math.min(1, share + deviation)),
    interval: "rank",
    exceedanceCount,
  };
}

/** The highest percentile that so many samples publish; null: none. */
export function highestPublished(sampleCount: number): number | null {
  const isPublished = (percentile: number) => exceedances(sampleCount, percentile) >= PUBLISHED_EXCEEDANCES;
  return PERCENTILES.findLast(isPublished) ?? null;
}

/** Rounded, because 100 − 99.9 is not 0.1 in binary. */
function exceedances(sampleCount: number, percentile: number): number {
  return Math.floor((sampleCount * Math.round((100 - percentile) * 1e6)) / 1e8);
}

/**
 * The least recorded value that at least this share of the samples does not exceed; null if it lies among those above
 * the recorded range.
 */
function valueAt({ valuesNs, cumulativeCounts, sampleCount }: Distribution, share: number): number | null {
  // A share of 0.999 times 1 000 samples is 999.0000000000001 in binary, and is meant to be the 999th.
  const rank = Math.max(1, Math.ceil(share * sampleCount - 1e-6));
  let low = 0;
  let high = valuesNs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cumulativeCounts[middle]! < rank) low = middle + 1;
    else high = middle;
  }
  return valuesNs[low] ?? null;
}

function percentileCurve(merged: Distribution): CurvePoint[] {
  const last = Math.log10(merged.sampleCount / SHOWN_EXCEEDANCES);
  const curve: CurvePoint[] = [];
  for (let nines = 0; nines <= last; nines += 0.05) {
    const valueNs = valueAt(merged, 1 - 10 ** -nines);
    if (valueNs === null) break;
    curve.push({ nines: Number(nines.toFixed(2)), valueNs });
  }
  return curve;
}
