/**
 * From block data to verdicts: pure, so that planted regressions and planted noise test it without a machine.
 *
 *   blocks ──► screen: ratio, exact p, Holm ──► suspect or open ──► fresh blocks, reversed ──► conclude ──► exit code
 *
 * Each figure has two margins: no change below the first is ever reported, no slow-down above the second ever passed over.
 * A suspect is a regression only if the fresh blocks alone say so again. A figure that is merely open (a slow-down by the
 * second margin is not ruled out) is judged by all blocks together, which can clear it and never condemn it.
 *
 * A block's value of a side is the geometric mean of its trials, the reference's being those of both its copies. The test
 * is the exact sign-flip test on the signed ranks of the blocks' log ratios (one stalled trial then weighs no more than
 * its rank), the interval its inversion, so the two never contradict each other. Nothing is trimmed.
 */
import type { GateBlock, GateComparison, GateCounter, GateFigure, GateRound } from "../../results/gate.js";
import {
  type Better,
  type Estimate,
  exponential,
  hodgesLehmannCentre,
  hodgesLehmannShift,
  holm,
  judge,
  rankSumTest,
  signedRanks,
  signFlipTest,
} from "../../results/statistics.js";

/** Risk of a false alarm that each stage may take: all gated figures together, by Holm. */
const SIGNIFICANCE = 0.05;
/** Of the interval: both of its sides are then tests at `SIGNIFICANCE`. */
const CONFIDENCE = 1 - 2 * SIGNIFICANCE;

export interface FigureDefinition {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly better: Better;
  readonly margin: number;
  readonly equivalenceMargin: number;
  readonly gated: boolean;
}

export interface FigureBlocks extends FigureDefinition {
  /** Without guard values throughout: trials taken at another time, compared as independent ones. */
  readonly blocks: readonly GateBlock[];
  /** Why nothing may be concluded from these blocks, whatever they say. */
  readonly invalid?: string | undefined;
}

export interface Screened extends FigureDefinition {
  readonly screen: GateRound;
  /** Gated, and beyond the margin on its worse side after Holm: to be confirmed. */
  readonly isSuspect: boolean;
  /** Gated, no suspect, and a slow-down by the equivalence margin not ruled out: more blocks may tell. */
  readonly isOpen: boolean;
  readonly invalid?: string | undefined;
}

/** The fewest blocks with which `gatedCount` figures can fail at all: n blocks give p ≥ 2^-n, and Holm multiplies it. */
export function fewestBlocks(gatedCount: number): number {
  return Math.ceil(Math.log2(Math.max(1, gatedCount) / SIGNIFICANCE));
}

export function screen(figures: readonly FigureBlocks[]): Screened[] {
  const rounds = compareRound(figures);
  return figures.map(({ blocks: _, ...figure }, at) => {
    const round = rounds[at]!;
    const isInvalid = figure.invalid !== undefined;
    const isSuspect = figure.gated && !isInvalid && round.candidate.pWorseHolm <= SIGNIFICANCE;
    return {
      ...figure,
      screen: round,
      isSuspect,
      isOpen: figure.gated && !isSuspect && (isInvalid || !rulesOutSlowdown(round.candidate.ratio, figure)),
    };
  });
}

/**
 * @param confirmations the blocks of the re-run of suspect and open figures, by figure id; a suspect without them (the
 *   budget ran out) stays inconclusive
 */
export function conclude(
  screened: readonly Screened[],
  confirmations: ReadonlyMap<string, readonly GateBlock[]>,
): GateFigure[] {
  const rerun = screened.filter((figure) => confirmations.has(figure.id));
  const rounds = compareRound(rerun.map((figure) => ({ ...figure, blocks: confirmations.get(figure.id)! })));
  return screened.map((judged) => {
    const { isSuspect: _s, isOpen: _o, invalid: _i, ...figure } = judged;
    const confirmation = rounds[rerun.indexOf(judged)] ?? null;
    return {
      ...figure,
      reference: geometricMean(figure.screen.blocks.flatMap(({ reference, guard }) => [...reference, ...guard])),
      candidate: geometricMean(figure.screen.blocks.flatMap(({ candidate }) => candidate)),
      confirmation,
      ...verdictOf(judged, confirmation),
    };
  });
}

type Judged = Pick<GateFigure, "ratio" | "verdict" | "rulesOutSlowdown" | "reason">;

function verdictOf(figure: Screened, confirmation: GateRound | null): Judged {
  const { screen, margin } = figure;
  const ratio = figure.isSuspect
    ? (confirmation ?? screen).candidate.ratio
    : ratioOf({ ...figure, blocks: [...screen.blocks, ...(confirmation?.blocks ?? [])] }, "candidate");
  const conclusion = (verdict: GateFigure["verdict"], reason: string): Judged => ({
    ratio,
    verdict,
    rulesOutSlowdown: rulesOutSlowdown(ratio, figure),
    reason,
  });
  if (figure.invalid !== undefined) {
    return { ratio, verdict: "inconclusive", rulesOutSlowdown: false, reason: figure.invalid };
  }
  const limit = percent(margin);
  if (screen.guardAlarms || confirmation?.guardAlarms) {
    return conclusion("inconclusive", `the reference differs from itself by more than ${limit}`);
  }
  if (figure.isSuspect) {
    if (confirmation === null) {
      const reason = `worse by more than ${limit}, but it could not be confirmed within the budget; raise --budget`;
      return { ratio, verdict: "inconclusive", rulesOutSlowdown: false, reason };
    }
    if (confirmation.candidate.pWorseHolm <= SIGNIFICANCE) {
      return conclusion("regression", `worse by more than ${limit}, and again when re-run in reversed order`);
    }
    return conclusion("inconclusive", `worse by more than ${limit} at first, not confirmed by the re-run`);
  }
  const verdict = judge(ratio, margin, figure.better, figure.equivalenceMargin);
  if (verdict === "improvement") return conclusion(verdict, `better by more than ${limit}`);
  if (verdict === "equivalent") return conclusion(verdict, `within ${percent(figure.equivalenceMargin)} either way`);
  if (verdict === "regression") {
    return figure.gated
      ? conclusion("inconclusive", `worse by more than ${limit}, but not by the corrected test of the screen`)
      : conclusion(verdict, `worse by more than ${limit}; watched only, not confirmed`);
  }
  return rulesOutSlowdown(ratio, figure)
    ? conclusion(verdict, "no worse, perhaps better")
    : conclusion(verdict, `too noisy to rule out a slow-down of ${percent(figure.equivalenceMargin)}`);
}

/** The interval ends before the equivalence margin on the worse side. */
function rulesOutSlowdown(ratio: Estimate, { equivalenceMargin, better }: FigureDefinition): boolean {
  return better === "lower" ? ratio.upper <= 1 + equivalenceMargin : ratio.lower >= 1 / (1 + equivalenceMargin);
}

/** Compares all figures of a round; Holm's families are the gated figures, one for each question asked of them. */
function compareRound(figures: readonly FigureBlocks[]): GateRound[] {
  const candidates = correct(
    figures,
    figures.map((figure) => compare(figure, "candidate")),
  );
  const guarded = figures.filter(isPaired);
  const guards = correct(
    guarded,
    guarded.map((figure) => compare(figure, "guard")),
  );
  return figures.map((figure, at) => {
    const guard = guards[guarded.indexOf(figure)] ?? null;
    const guardAlarms =
      figure.gated && guard !== null && Math.min(guard.pWorseHolm, guard.pBetterHolm) <= SIGNIFICANCE / 2;
    return { blocks: [...figure.blocks], candidate: candidates[at]!, guard, guardAlarms };
  });
}

function isPaired({ blocks }: FigureBlocks): boolean {
  return blocks.every(({ guard }) => guard.length > 0);
}

type Uncorrected = Omit<GateComparison, "pWorseHolm" | "pBetterHolm">;

function compare(figure: FigureBlocks, arm: "candidate" | "guard"): Uncorrected {
  const { better, margin } = figure;
  const limit = Math.log1p(margin);
  const cost = (logarithm: number) => (better === "lower" ? logarithm : -logarithm);
  const ratio = ratioOf(figure, arm);
  if (isPaired(figure)) {
    const costs = logRatios(figure, arm).map(cost);
    const pBeyond = (values: number[]) => signFlipTest(signedRanks(values), "greater").p;
    return {
      ratio,
      pWorse: pBeyond(costs.map((value) => value - limit)),
      pBetter: pBeyond(costs.map((value) => -value - limit)),
    };
  }
  const [values, reference] = logValues(figure, arm).map((logarithms) => logarithms.map(cost)) as [number[], number[]];
  const shifted = (by: number) => reference.map((value) => value + by);
  return {
    ratio,
    pWorse: rankSumTest(values, shifted(limit), "greater"),
    pBetter: rankSumTest(values, shifted(-limit), "less"),
  };
}

function ratioOf(figure: FigureBlocks, arm: "candidate" | "guard"): Estimate {
  return exponential(
    isPaired(figure)
      ? hodgesLehmannCentre(logRatios(figure, arm), CONFIDENCE)
      : hodgesLehmannShift(...logValues(figure, arm), CONFIDENCE),
  );
}

/** Of the candidate against both copies of the reference, or of one copy against the other. */
function logRatios({ blocks }: FigureBlocks, arm: "candidate" | "guard"): number[] {
  return blocks.map(({ candidate, reference, guard, ...block }) => {
    if (arm === "candidate") return meanLog(candidate) - meanLog([...reference, ...guard]);
    const difference = meanLog(guard) - meanLog(reference);
    if (!block.isDuet) return difference;
    // The copies ran on different processors, so each is seen relative to the candidate beside it.
    const [first, second] = candidate.map(Math.log) as [number, number];
    return difference - (block.order.slice(0, 2).includes("R") ? second - first : first - second);
  });
}

/** The arm's trials of all blocks, and the reference's, which are stored once and the same in each block. */
function logValues({ blocks }: FigureBlocks, arm: "candidate" | "guard"): [number[], number[]] {
  return [blocks.flatMap((block) => block[arm].map(Math.log)), blocks[0]!.reference.map(Math.log)];
}

/** Watched figures keep their own p: they are not part of what is decided. */
function correct(figures: readonly FigureDefinition[], comparisons: readonly Uncorrected[]): GateComparison[] {
  const gated = comparisons.filter((_, at) => figures[at]!.gated);
  const worse = holm(gated.map(({ pWorse }) => pWorse));
  const better = holm(gated.map(({ pBetter }) => pBetter));
  return comparisons.map((comparison) => {
    const at = gated.indexOf(comparison);
    return {
      ...comparison,
      pWorseHolm: at === -1 ? comparison.pWorse : worse[at]!,
      pBetterHolm: at === -1 ? comparison.pBetter : better[at]!,
    };
  });
}

export interface CounterRuns {
  readonly id: string;
  readonly title: string;
  readonly messageCount: number;
  /** Totals, one for each repetition of the same deterministic workload. */
  readonly reference: readonly number[];
  readonly candidate: readonly number[];
  /** Differences of up to so much are no difference: 0 for counts. */
  readonly resolution: number;
}

/**
 * Compares what has no noise. All counters are costs: more is worse. Where the reference repeats, a candidate that is
 * above it in every repetition has risen, whether it repeats itself or not; what is above it only at times says nothing.
 */
export function compareCounter(counter: CounterRuns): GateCounter {
  const { resolution, ...rest } = counter;
  const result = { ...rest, reference: [...counter.reference], candidate: [...counter.candidate] };
  const differences = counter.candidate.map((value) => value - counter.reference[0]!);
  if (Math.max(...counter.reference) - Math.min(...counter.reference) > resolution) {
    return { ...result, verdict: "not-repeatable", reason: "the reference does not repeat" };
  }
  const each = (difference: number) => Number((Math.abs(difference) / counter.messageCount).toPrecision(3));
  const least = Math.min(...differences);
  const most = Math.max(...differences);
  if (least > resolution) return { ...result, verdict: "regression", reason: `${each(least)} more for each message` };
  if (most < -resolution) return { ...result, verdict: "improvement", reason: `${each(most)} fewer for each message` };
  return least >= -resolution && most <= resolution
    ? { ...result, verdict: "equal", reason: "the same" }
    : { ...result, verdict: "not-repeatable", reason: "the candidate does not repeat" };
}

export interface Conclusion {
  readonly outcome: "passed" | "regression" | "inconclusive" | "failed";
  readonly exitCode: 0 | 1 | 3 | 4;
  readonly reasons: string[];
  /** With the verdicts taken back that cannot be believed. */
  readonly figures: GateFigure[];
}

/**
 * The outcome of the whole run. Failures outweigh all; a counter that rose needs no statistics, so it counts even where
 * the timings cannot be believed; an alarm of the guard makes every timing inconclusive, never failed.
 */
export function outcomeOf(
  figures: readonly GateFigure[],
  counters: readonly GateCounter[],
  failures: readonly string[],
  unfit: readonly string[],
): Conclusion {
  const guardAlarmed = figures.filter(({ screen, confirmation }) => screen.guardAlarms || confirmation?.guardAlarms);
  const gated = figures.filter((figure) => figure.gated);
  const isBelievable = guardAlarmed.length === 0 && unfit.length === 0;

  const regressions = [
    ...counters.filter(({ verdict }) => verdict === "regression"),
    ...(isBelievable ? gated.filter(({ verdict }) => verdict === "regression") : []),
  ];
  const open = [
    ...unfit,
    ...guardAlarmed.map(({ id, reason }) => sentence(id, reason)),
    ...(isBelievable ? gated.filter(isOpen) : []).map(({ id, reason }) => sentence(id, reason)),
  ];
  const reasons = [...failures, ...regressions.map(({ id, reason }) => sentence(id, reason)), ...open];
  const believed = isBelievable ? [...figures] : figures.map(takenBack);
  if (failures.length > 0) return { outcome: "failed", exitCode: 4, reasons, figures: believed };
  if (regressions.length > 0) return { outcome: "regression", exitCode: 1, reasons, figures: believed };
  if (open.length > 0) return { outcome: "inconclusive", exitCode: 3, reasons, figures: believed };
  const timed = gated.length === 0 ? "nothing was timed" : "no gated timing is slower than its margin";
  return { outcome: "passed", exitCode: 0, reasons: [`No counter rose, and ${timed}.`], figures: believed };
}

/** Where the reference differs from itself, or the machine has changed, no timing is more than inconclusive. */
function takenBack(figure: GateFigure): GateFigure {
  if (!figure.gated || figure.verdict === "inconclusive") return figure;
  const reason = `${figure.reason}; not believed, because the timings of this run cannot be`;
  return { ...figure, verdict: "inconclusive", rulesOutSlowdown: false, reason };
}

/** A suspicion that was not confirmed is open until a slow-down is ruled out, as any other figure is. */
function isOpen(figure: GateFigure): boolean {
  return figure.verdict === "inconclusive" && !figure.rulesOutSlowdown;
}

function sentence(id: string, reason: string): string {
  return `${id}: ${reason}.`;
}

function percent(fraction: number): string {
  return `${Number((fraction * 100).toPrecision(3))} %`;
}

function meanLog(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + Math.log(value), 0) / values.length;
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(meanLog(values));
}
