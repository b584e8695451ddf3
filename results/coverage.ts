/** Whether intervals of a ratio keep their promise where the truth is known: of a thing against itself the ratio is 1. */
import { attainableConfidence, binomialInterval, type Estimate, ratioOfPairs } from "./statistics.js";

/** The two sides of one comparison, value i of both taken as a pair. */
export interface SelfComparison {
  readonly first: readonly number[];
  readonly second: readonly number[];
}

export interface Coverage {
  /** How many intervals hold 1. */
  readonly covered: number;
  readonly count: number;
  /** What each interval promises. */
  readonly confidence: number;
  /** Where the true coverage lies, with 99 %, by what was seen. */
  readonly actual: Estimate;
  /** The true coverage may be what is promised, or more: `actual` does not lie wholly below it. */
  readonly isKept: boolean;
}

const JUDGED_AT = 0.99;

/** @param comparisons of equally many pairs each, made as reports make theirs */
export function coverageOfOne(comparisons: readonly SelfComparison[]): Coverage {
  const confidence = attainableConfidence(comparisons[0]!.first.length);
  const covered = comparisons.filter(({ first, second }) => {
    const { lower, upper } = ratioOfPairs(first, second, confidence);
    return lower <= 1 && upper >= 1;
  }).length;
  const actual = binomialInterval(covered, comparisons.length, JUDGED_AT);
  return { covered, count: comparisons.length, confidence, actual, isKept: confidence <= actual.upper };
}
