/**
 * Stored histograms into percentiles that may be published.
 *
 * Histograms of trials are added, percentiles are never averaged. A percentile counts for as much as the samples beyond
 * it: from 100 on it is published, from 10 to 99 it is shown as uncertain with its interval, below 10 it is suppressed
 * (method rule 27).
 */
import { decodeFromCompressedBase64, type Histogram } from "hdr-histogram-js";
import type { EncodedHistogram } from "../results/schema.js";

/** The percentiles of tables, terminal and comparisons. */
export const PERCENTILES = [50, 90, 99, 99.9, 99.99] as const;

export const PUBLISHED_EXCEEDANCES = 100;
export const SHOWN_EXCEEDANCES = 10;
/** Trials record into 1 ns to 60 s; what was longer is only counted. */
export const LONGEST_RECORDED_NS = 60e9;

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
export interface CurvePoint {
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

/** The run's file was changed or cut by other hands than ours. */
export class DamagedHistogramError extends Error {
  override name = "DamagedHistogramError";
}

/** @throws DamagedHistogramError */
function decode(encoded: EncodedHistogram): Histogram {
  try {
    // Counts of 8 and 16 bits wrap in silence, and 32 would in a long merge.
    return decodeFromCompressedBase64(encoded.encoded, 64, false);
  } catch (cause) {
    throw new DamagedHistogramError("A latency histogram of the run is damaged and cannot be decoded.", { cause });
  }
}

/**
 * Merges the histograms of one figure's trials.
 *
 * @param withCurve curves cost a hundred look-ups; ask for them where they are drawn
 */
export function summariseLatency(encoded: readonly EncodedHistogram[], withCurve: boolean): LatencySummary | null {
  if (encoded.length === 0) return null;
  const trials = encoded.map(decode);
  const merged = decode(encoded[0]!);
  for (const trial of trials.slice(1)) merged.add(trial);
  const overflowCount = encoded.reduce((sum, one) => sum + one.overflowCount, 0);
  const sampleCount = merged.totalCount + overflowCount;
  if (sampleCount === 0) return null;
  const ranked: RankedHistogram = { histogram: merged, sampleCount };
  return {
    sampleCount,
    overflowCount,
    maxNs: overflowCount > 0 ? LONGEST_RECORDED_NS : merged.maxValue,
    percentiles: PERCENTILES.map((percentile) =>
      percentileFigure(
        ranked,
        trials.map((histogram, i) => ({ histogram, sampleCount: histogram.totalCount + encoded[i]!.overflowCount })),
        percentile,
      ),
    ),
    curve: withCurve ? percentileCurve(ranked) : [],
    publishedUpToNines: Math.log10(Math.max(1, sampleCount / PUBLISHED_EXCEEDANCES)),
  };
}

/** The percentile of one trial, for comparisons between trials; null where fewer than 10 samples lie beyond it. */
export function trialPercentile(encoded: EncodedHistogram, percentile: number): number | null {
  const histogram = decode(encoded);
  const sampleCount = histogram.totalCount + encoded.overflowCount;
  if (exceedances(sampleCount, percentile) < SHOWN_EXCEEDANCES) return null;
  return valueAt({ histogram, sampleCount }, percentile / 100);
}

/** A histogram and all its samples, those above its range included. */
interface RankedHistogram {
  histogram: Histogram;
  sampleCount: number;
}

function percentileFigure(
  merged: RankedHistogram,
  trials: readonly RankedHistogram[],
  percentile: number,
): PercentileFigure {
  const share = percentile / 100;
  const exceedanceCount = exceedances(merged.sampleCount, percentile);
  const valueNs = exceedanceCount < SHOWN_EXCEEDANCES ? null : valueAt(merged, share);
  if (valueNs === null) {
    const nothing = { valueNs: null, lowerNs: null, upperNs: null, interval: "rank" as const };
    return { percentile, state: "suppressed", exceedanceCount, ...nothing };
  }
  if (exceedanceCount >= PUBLISHED_EXCEEDANCES && trials.length > 1) {
    // The merged percentile lies between the lowest and the highest of its trials.
    const values = trials.map((trial) => (trial.sampleCount === 0 ? null : valueAt(trial, share)));
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

/** Rounded, because 100 − 99.9 is not 0.1 in binary. */
function exceedances(sampleCount: number, percentile: number): number {
  return Math.floor((sampleCount * Math.round((100 - percentile) * 1e6)) / 1e8);
}

/** Null if that rank lies among the samples above the recorded range. */
function valueAt({ histogram, sampleCount }: RankedHistogram, share: number): number | null {
  const rank = share * sampleCount;
  if (rank > histogram.totalCount) return null;
  const value = histogram.getValueAtPercentile((rank / histogram.totalCount) * 100);
  return Math.min(value, histogram.maxValue);
}

function percentileCurve(merged: RankedHistogram): CurvePoint[] {
  const last = Math.log10(merged.sampleCount / SHOWN_EXCEEDANCES);
  const curve: CurvePoint[] = [];
  for (let nines = 0; nines <= last; nines += 0.05) {
    const valueNs = valueAt(merged, 1 - 10 ** -nines);
    if (valueNs === null) break;
    curve.push({ nines: Number(nines.toFixed(2)), valueNs });
  }
  return curve;
}
