/**
 * Change points in a series by E-divisive: Matteson and James, "A Nonparametric Approach for Multiple Change Point
 * Analysis of Multivariate Data", JASA 109 (2014), for one variable and exponent 1. MongoDB's performance gate uses the
 * same method (Daly et al., "The Use of Change Point Detection to Identify Software Performance Regressions in a
 * Continuous Integration System", ICPE 2020).
 *
 * The series is cut where the energy distance between the values before and after is largest; the cut stands when fewer
 * than `significance` of random orders of the values (within the pieces found so far) give a distance as large. Repeated
 * until a cut does not stand.
 */
import { type Random, seededRandom, shuffle } from "./random.js";

export interface ChangePoint {
  /** Index of the first value after the change. */
  readonly at: number;
  /** Share of random orders that would cut as deep, the found order counted. */
  readonly p: number;
}

export interface ChangePointOptions {
  /** Shortest piece on either side of a change: the last value alone is never judged. */
  readonly minimumLength?: number;
  readonly significance?: number;
  readonly permutations?: number;
  readonly seed?: number;
}

interface Cut {
  readonly at: number;
  readonly distance: number;
}

export function changePoints(values: readonly number[], options: ChangePointOptions = {}): ChangePoint[] {
  const { minimumLength = 3, significance = 0.05, permutations = 999, seed = 1 } = options;
  if (minimumLength < 2) throw new RangeError("a piece needs at least two values to know its own spread");
  const random = seededRandom(seed);
  const found: ChangePoint[] = [];
  for (;;) {
    const bounds = [0, ...found.map((change) => change.at).sort((a, b) => a - b), values.length];
    const pieces = bounds.slice(1).map((end, at) => values.slice(bounds[at], end));
    const cuts = pieces.map((piece) => deepestCut(piece, minimumLength));
    const best = cuts.reduce<Cut | null>((a, b) => (b !== null && b.distance > (a?.distance ?? 0) ? b : a), null);
    if (best === null) break;
    const p = significanceOf(best.distance, pieces, minimumLength, permutations, random);
    if (p > significance) break;
    found.push({ at: bounds[cuts.indexOf(best)]! + best.at, p });
  }
  return found.sort((a, b) => a.at - b.at);
}

function significanceOf(
  distance: number,
  pieces: readonly number[][],
  minimumLength: number,
  permutations: number,
  random: Random,
): number {
  let asDeep = 1;
  for (let round = 0; round < permutations; round++) {
    const deepest = Math.max(
      ...pieces.map((piece) => deepestCut(shuffle([...piece], random), minimumLength)?.distance ?? 0),
    );
    if (deepest >= distance) asDeep++;
  }
  return asDeep / (permutations + 1);
}

/**
 * The cut of `piece` with the largest scaled energy distance Q = mn / (m + n) · (2 E|X − Y| − E|X − X'| − E|Y − Y'|),
 * X being the m values before it, Y the n values from it up to any later end (so that a later change does not hide it).
 * Null when the piece is too short to cut or nothing in it differs.
 */
function deepestCut(piece: readonly number[], minimumLength: number): Cut | null {
  const count = piece.length;
  const reach = distancesToEarlier(piece);
  const sumBefore = (at: number, end: number): number => reach[at * (count + 1) + end]!;

  let deepest: Cut | null = null;
  let withinX = 0;
  for (let at = 1; at <= count - minimumLength; at++) {
    withinX += sumBefore(at - 1, at - 1);
    if (at < minimumLength) continue;
    let across = 0;
    let withinY = 0;
    for (let end = at + 1; end <= count; end++) {
      across += sumBefore(end - 1, at);
      withinY += sumBefore(end - 1, end - 1) - sumBefore(end - 1, at);
      const n = end - at;
      if (n < minimumLength) continue;
      const energy = (2 * across) / (at * n) - withinX / ((at * (at - 1)) / 2) - withinY / ((n * (n - 1)) / 2);
      const distance = ((at * n) / (at + n)) * energy;
      if (distance > (deepest?.distance ?? 0)) deepest = { at, distance };
    }
  }
  return deepest;
}

/** At [i][k], row by row: the sum of |value i − value j| over all j < k, for k up to i. */
function distancesToEarlier(piece: readonly number[]): Float64Array {
  const width = piece.length + 1;
  const sums = new Float64Array(piece.length * width);
  for (let i = 0; i < piece.length; i++) {
    let total = 0;
    for (let j = 0; j < i; j++) {
      total += Math.abs(piece[i]! - piece[j]!);
      sums[i * width + j + 1] = total;
    }
  }
  return sums;
}
