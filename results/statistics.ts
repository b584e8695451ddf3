/**
 * The statistics behind reports and the gate: pure functions, and where chance is needed, seeded.
 *
 * The trial is the unit: a value here is one trial's (or one block's) figure, never a single latency. Nothing is trimmed.
 * `median`, `mean` and `linearRegression` are simple-statistics'; its `quantile` follows none of Hyndman and Fan's
 * definitions for an odd count, and its `probit` is good to three digits only: neither is used.
 */
import { linearRegression, mean, median } from "simple-statistics";
import { type Random, seededRandom } from "./random.js";

export { median };

/** A figure and the interval that holds the truth with probability `confidence`; infinite bounds: too few values for it. */
export interface Estimate {
  readonly point: number;
  readonly lower: number;
  readonly upper: number;
  readonly confidence: number;
}

export interface IntervalOptions {
  /** 0.95 unless told. */
  readonly confidence?: number;
  readonly seed?: number;
}

/** Odd, so that the bounds of the usual confidences are order statistics: the 50th and the 1950th of 1999. */
const RESAMPLES = 1999;
/** Sums of equal terms taken in another order differ by rounding; they count as equal within this share of the whole. */
const ROUNDING = 1e-10;

/**
 * `statistic` of the values with its bootstrap percentile interval (Efron and Tibshirani, "An Introduction to the
 * Bootstrap", 1993, chapter 13; bounds by order statistics, Davison and Hinkley 1997, section 5.3).
 *
 * With few values it promises too much: of fewer than 6 the interval of a median at 95 % is their whole range, which
 * holds the true median with probability 1 − 2^(1 − n) only (n = 3: 75 %). One value has no interval.
 */
export function bootstrapInterval(
  values: readonly number[],
  statistic: (values: number[]) => number,
  options: IntervalOptions = {},
): Estimate {
  requireValues(values, 1);
  if (values.length === 1) return withoutInterval(statistic([...values]), options);
  return bootstrap(statistic([...values]), (random) => statistic(resample(values, random)), options);
}

/**
 * Ratio of paired positive values (value i of both sets taken under the same conditions), with its exact interval: Hodges
 * and Lehmann's centre of the log ratios. Six pairs are the fewest that have a finite interval at 95 %, five at 90 %.
 */
export function ratioOfPairs(
  numerators: readonly number[],
  denominators: readonly number[],
  confidence = 0.95,
): Estimate {
  return exponential(hodgesLehmannCentre(logRatios(numerators, denominators), confidence));
}

/**
 * Ratio of independent positive values to others, with its exact interval: Hodges and Lehmann's shift of the logarithms.
 * Infinite bounds where so few cannot reach the confidence; see `attainableRankSumConfidence`.
 */
export function ratioOfSamples(values: readonly number[], reference: readonly number[], confidence = 0.95): Estimate {
  return exponential(hodgesLehmannShift(values.map(logOf), reference.map(logOf), confidence));
}

/** The most that an interval of a shift can hold with that many values: all orders of them are equally likely. */
export function attainableRankSumConfidence(valueCount: number, referenceCount: number): number {
  let orders = 1;
  for (let at = 1; at <= valueCount; at++) orders = (orders * (referenceCount + at)) / at;
  return Math.max(0, 1 - 2 / orders);
}

/**
 * Of an interval from that many trials: 95 %, or of fewer than 6 what their whole range holds the median with. Five
 * trials reach 93.75 %, three 75 %, one nothing.
 */
export function attainableConfidence(count: number): number {
  return Math.min(0.95, 1 - 2 ** (1 - count));
}

/** ln(numerator / denominator) of each pair. @throws RangeError unless as many of both, all positive */
export function logRatios(numerators: readonly number[], denominators: readonly number[]): number[] {
  if (numerators.length !== denominators.length) throw new RangeError("paired values come in equal numbers");
  return numerators.map((value, at) => logOf(value) - logOf(denominators[at]!));
}

/** An estimate of logarithms as one of ratios. */
export function exponential(estimate: Estimate): Estimate {
  return {
    point: Math.exp(estimate.point),
    lower: Math.exp(estimate.lower),
    upper: Math.exp(estimate.upper),
    confidence: estimate.confidence,
  };
}

/**
 * Hodges and Lehmann's estimate of the centre of `differences`: the median of all averages of two of them (itself with
 * itself included), with the exact interval that inverts Wilcoxon's signed-rank test (Hollander, Wolfe and Chicken,
 * "Nonparametric Statistical Methods", 3rd ed. 2014, sections 3.2 and 3.3). Exact for symmetric noise of any shape.
 */
export function hodgesLehmannCentre(differences: readonly number[], confidence = 0.95): Estimate {
  requireValues(differences, 1);
  const averages: number[] = [];
  for (let i = 0; i < differences.length; i++) {
    for (let j = i; j < differences.length; j++) averages.push((differences[i]! + differences[j]!) / 2);
  }
  return orderStatisticInterval(averages, signedRankDistribution(differences.length), confidence);
}

/**
 * Hodges and Lehmann's estimate of how far `values` lie above `reference`: the median of all differences of one of each,
 * with the exact interval that inverts the Wilcoxon, Mann and Whitney rank test (same book, sections 4.2 and 4.3).
 */
export function hodgesLehmannShift(
  values: readonly number[],
  reference: readonly number[],
  confidence = 0.95,
): Estimate {
  requireValues(values, 1);
  requireValues(reference, 1);
  const differences = values.flatMap((value) => reference.map((other) => value - other));
  return orderStatisticInterval(differences, rankSumDistribution(values.length, reference.length), confidence);
}

export type Alternative = "greater" | "less" | "two-sided";

export interface TestResult {
  readonly p: number;
  /** Every assignment of signs was counted. */
  readonly exact: boolean;
  /** Of `p`, where it was estimated from random assignments; else 0. */
  readonly standardError: number;
}

/**
 * Sign-flip test that the values are symmetric about 0 (Fisher, "The Design of Experiments", 1935, section 21): `p` is
 * the share of all 2^n ways to sign them whose sum is at least as far out as the one found. Counted in full up to n = 20;
 * beyond, 99 999 random ways are tried and p = (hits + 1) / 100 000 (Phipson and Smyth, "Permutation p-values should
 * never be zero", 2010). The smallest p of n values is 2^-n one-sided.
 */
export function signFlipTest(values: readonly number[], alternative: Alternative, seed = 1): TestResult {
  requireValues(values, 1);
  const found = sum(values);
  const slack = ROUNDING * sum(values.map(Math.abs));
  const isAsFarOut = (total: number): boolean => {
    if (alternative === "greater") return total >= found - slack;
    if (alternative === "less") return total <= found + slack;
    return Math.abs(total) >= Math.abs(found) - slack;
  };
  if (values.length <= 20) return { p: shareOfSigns(values, isAsFarOut), exact: true, standardError: 0 };

  const random = seededRandom(seed);
  const tries = 99_999;
  let hits = 0;
  for (let attempt = 0; attempt < tries; attempt++) {
    let total = 0;
    for (const value of values) total += random() < 0.5 ? value : -value;
    if (isAsFarOut(total)) hits++;
  }
  const p = (hits + 1) / (tries + 1);
  return { p, exact: false, standardError: Math.sqrt((p * (1 - p)) / tries) };
}

/**
 * Exact rank-sum test (Wilcoxon; Mann and Whitney) that independent values tend to lie above ("greater") or below
 * ("less") those of the reference: the dual of `hodgesLehmannShift`. Ties count for the null hypothesis.
 */
export function rankSumTest(
  values: readonly number[],
  reference: readonly number[],
  alternative: "greater" | "less",
): number {
  requireValues(values, 1);
  requireValues(reference, 1);
  const isBeyond = (value: number, other: number) => (alternative === "greater" ? value > other : value < other);
  const wins = values.reduce((sum, value) => sum + reference.filter((other) => isBeyond(value, other)).length, 0);
  const distribution = rankSumDistribution(values.length, reference.length);
  return Math.min(
    1,
    distribution.subarray(wins).reduce((sum, probability) => sum + probability, 0),
  );
}

/** The ranks of the values' sizes, ties averaged, each with its value's sign; a zero keeps no sign and counts 0. */
export function signedRanks(values: readonly number[]): number[] {
  const sizes = values.map(Math.abs);
  return values.map((value, at) => {
    const smaller = sizes.filter((size) => size < sizes[at]!).length;
    const equal = sizes.filter((size) => size === sizes[at]!).length;
    return Math.sign(value) * (smaller + (equal + 1) / 2);
  });
}

/** Holm's step-down correction ("A Simple Sequentially Rejective Multiple Test Procedure", 1979), in the order given. */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, at) => at).sort((a, b) => pValues[a]! - pValues[b]!);
  const adjusted = new Array<number>(pValues.length);
  let largest = 0;
  order.forEach((at, step) => {
    largest = Math.max(largest, Math.min(1, pValues[at]! * (pValues.length - step)));
    adjusted[at] = largest;
  });
  return adjusted;
}

/** Share of successes with the exact interval of Clopper and Pearson ("The Use of Confidence or Fiducial Limits", 1934). */
export function binomialInterval(successes: number, trials: number, confidence = 0.95): Estimate {
  if (
    !(Number.isInteger(successes) && Number.isInteger(trials) && 0 <= successes && successes <= trials && trials > 0)
  ) {
    throw new RangeError("a share needs whole numbers, 0 <= successes <= trials and at least one trial");
  }
  requireProbability(confidence);
  const tail = (1 - confidence) / 2;
  return {
    point: successes / trials,
    lower: successes === 0 ? 0 : bisect((share) => binomialTail(successes, trials, share) < tail),
    upper: successes === trials ? 1 : bisect((share) => 1 - binomialTail(successes + 1, trials, share) > tail),
    confidence,
  };
}

export type Better = "higher" | "lower";
export type Verdict = "regression" | "improvement" | "equivalent" | "inconclusive";

/**
 * What an interval of the ratio candidate / reference says: a change when it lies wholly beyond `margin` (0.03 = 3 %) on
 * one side, equivalence when it lies wholly within `equivalenceMargin`, else nothing. Both are symmetric on the log scale:
 * from 1 / (1 + margin) to 1 + margin.
 */
export function judge(ratio: Estimate, margin: number, better: Better, equivalenceMargin = margin): Verdict {
  if (ratio.lower > 1 + margin) return better === "higher" ? "improvement" : "regression";
  if (ratio.upper < 1 / (1 + margin)) return better === "higher" ? "regression" : "improvement";
  const isWithin = ratio.lower >= 1 / (1 + equivalenceMargin) && ratio.upper <= 1 + equivalenceMargin;
  return isWithin ? "equivalent" : "inconclusive";
}

/**
 * Whether a window of rates is steady: they are not all zero, their range is at most `spread` of their mean, and the fitted line rises or falls
 * by at most `slope` of it over the whole window. Limits of the SNIA Solid State Storage Performance Test
 * Specification 2.0.2 (its definition of steady state); fio's `steadystate` follows the same rule.
 */
export function isSteady(window: readonly number[], limits = { spread: 0.2, slope: 0.1 }): boolean {
  requireValues(window, 2);
  const centre = mean([...window]);
  const fit = linearRegression(window.map((rate, at) => [at, rate]));
  return (
    centre > 0 &&
    Math.max(...window) - Math.min(...window) <= limits.spread * centre &&
    Math.abs(fit.m) * (window.length - 1) <= limits.slope * centre
  );
}

function bootstrap(point: number, draw: (random: Random) => number, options: IntervalOptions): Estimate {
  const { confidence = 0.95, seed = 1 } = options;
  requireProbability(confidence);
  const random = seededRandom(seed);
  const drawn = new Float64Array(RESAMPLES);
  for (let at = 0; at < RESAMPLES; at++) drawn[at] = draw(random);
  drawn.sort();
  const outside = Math.max(1, Math.round(((1 - confidence) / 2) * (RESAMPLES + 1)));
  return { point, lower: drawn[outside - 1]!, upper: drawn[RESAMPLES - outside]!, confidence };
}

function resample(values: readonly number[], random: Random): number[] {
  return values.map(() => values[Math.floor(random() * values.length)]!);
}

function withoutInterval(point: number, { confidence = 0.95 }: IntervalOptions): Estimate {
  return { point, lower: Number.NEGATIVE_INFINITY, upper: Number.POSITIVE_INFINITY, confidence };
}

/**
 * The k-th smallest and k-th largest of `candidates`, k as large as the confidence allows, given the null distribution of
 * the number of candidates above the truth.
 */
function orderStatisticInterval(candidates: number[], distribution: Float64Array, confidence: number): Estimate {
  requireProbability(confidence);
  candidates.sort((a, b) => a - b);
  const tail = (1 - confidence) / 2;
  let rank = 0;
  let below = distribution[0]!;
  while (below <= tail * (1 + ROUNDING)) below += distribution[++rank]!;
  const point = median(candidates);
  if (rank === 0) return withoutInterval(point, { confidence });
  return { point, lower: candidates[rank - 1]!, upper: candidates[candidates.length - rank]!, confidence };
}

/** P(W = w) of Wilcoxon's signed-rank sum of n values without ties, for every w: the product of (1 + x^rank) / 2. */
function signedRankDistribution(count: number): Float64Array {
  const probabilities = new Float64Array((count * (count + 1)) / 2 + 1);
  probabilities[0] = 1;
  for (let rank = 1, largest = 0; rank <= count; rank++) {
    largest += rank;
    for (let total = largest; total >= 0; total--) {
      probabilities[total] = (probabilities[total]! + (total >= rank ? probabilities[total - rank]! : 0)) / 2;
    }
  }
  return probabilities;
}

/**
 * P(U = u) of Mann and Whitney's statistic of sets of m and n without ties, for every u. The largest of all values is of
 * the first set with probability i / (i + j), and then lies above all j of the second.
 */
function rankSumDistribution(m: number, n: number): Float64Array {
  let previous: Float64Array[] = Array.from({ length: n + 1 }, () => Float64Array.of(1));
  for (let i = 1; i <= m; i++) {
    const current: Float64Array[] = [Float64Array.of(1)];
    for (let j = 1; j <= n; j++) {
      const probabilities = new Float64Array(i * j + 1);
      const first = previous[j]!;
      const second = current[j - 1]!;
      for (let u = 0; u < first.length; u++) probabilities[u + j] = (i / (i + j)) * first[u]!;
      for (let u = 0; u < second.length; u++) probabilities[u] = probabilities[u]! + (j / (i + j)) * second[u]!;
      current.push(probabilities);
    }
    previous = current;
  }
  return previous[n]!;
}

/** Walks all signings in Gray-code order, so that each step flips one sign. */
function shareOfSigns(values: readonly number[], counts: (total: number) => boolean): number {
  const all = 2 ** values.length;
  const signs = values.map(() => 1);
  let total = sum(values);
  let hits = counts(total) ? 1 : 0;
  for (let step = 1; step < all; step++) {
    const at = 31 - Math.clz32(step & -step);
    signs[at] = -signs[at]!;
    total += 2 * signs[at]! * values[at]!;
    if (counts(total)) hits++;
  }
  return hits / all;
}

/** P(at least `successes` of `trials`) at a true share. */
function binomialTail(successes: number, trials: number, share: number): number {
  let logTerm = trials * Math.log1p(-share);
  let total = successes <= 0 ? Math.exp(logTerm) : 0;
  for (let count = 1; count <= trials; count++) {
    logTerm += Math.log((trials - count + 1) / count) + Math.log(share) - Math.log1p(-share);
    if (count >= successes) total += Math.exp(logTerm);
  }
  return Math.min(1, total);
}

/** The share in (0, 1) where `isBelow` turns from true to false. */
function bisect(isBelow: (share: number) => boolean): number {
  let low = 0;
  let high = 1;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (isBelow(middle)) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function logOf(value: number): number {
  if (!(value > 0)) throw new RangeError(`a ratio needs positive values, found ${value}`);
  return Math.log(value);
}

function requireValues(values: readonly number[], least: number): void {
  if (values.length < least) throw new RangeError(`needs at least ${least} value(s), found ${values.length}`);
}

function requireProbability(probability: number): void {
  if (!(probability >= 0 && probability <= 1)) throw new RangeError(`not a probability: ${probability}`);
}
