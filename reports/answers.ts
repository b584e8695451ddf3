/**
 * What a scenario's figures say, in sentences. Neutral: they set numbers beside the expectation and leave the verdict to
 * the reader.
 */

import type { Axis, Comparison, Facet, Group, Point, RunAnalysis, ScenarioAnalysis, Trend } from "./analysis.js";
import { ratioFrom } from "./analysis.js";
import { doubtWords } from "./doubts.js";
import { formatRate, formatRatio, formatShare, formatTime, percentileName, threeDigits } from "./format.js";
import { loadAnswerSentences, loadTrendSentences } from "./load-words.js";
import type { Figure } from "./pairs.js";
import {
  axisName,
  axisValueWords,
  capitalised,
  classWords,
  confidenceWords,
  countWords,
  courseWords,
  facetWords,
  hasInterval,
  intervalWords,
  listWords,
  loadWords,
  pairedWords,
  pointWords,
  valueWords,
} from "./words.js";

export interface Answer {
  /** The question answered in one or two sentences. */
  headline: string;
  /** Class, load and intervals of the headline; null if it compares nothing. */
  basis: string | null;
  /** More of the same: other points, shares of the limits, what could not be compared. */
  details: string[];
  /** The figures that the scenario's `refutedIf` speaks of; empty where a table has them. */
  measured: string[];
}

/** More facets than this are counted here, and have a table of their own. */
export const FACETS_IN_WORDS = 2;

export function answer(scenario: ScenarioAnalysis): Answer {
  const shares = shareSentences(scenario);
  const main = mainComparisons(scenario);
  const measured = [...trendSentences(scenario), ...loadTrendSentences(scenario)];
  const ofLoad = loadAnswerSentences(scenario);
  if (main.length === 0) {
    const [first, ...rest] = [...ofLoad, ...singleEngineSentences(scenario)];
    return {
      headline:
        first ??
        `No trial of this scenario has ${scenario.groups.some(({ trials }) => trials.length > 0) ? "valid " : ""}figures, so the question stays open.`,
      basis: null,
      details: [...rest, ...shares, ...refusedSentences(scenario)],
      measured,
    };
  }
  const isBrief = scenario.facets.length <= FACETS_IN_WORDS;
  const named = isBrief ? scenario.facets.flatMap((facet) => endsOf(inFacet(main, facet)).flat()) : largestLeads(main);
  const isUniform = areUniform(named);
  const headline = isBrief
    ? endSentences(scenario, main, isUniform)
    : [tallySentence(main), leadsSentence(scenario, named, isUniform)];
  const details = [
    ...crossingSentences(scenario, main),
    ...(isBrief ? otherLoadSentences(scenario, main) : []),
    ...refusedSentences(scenario),
  ];
  if (scenario.xAxis === null && scenario.record.figure !== "responseTime") headline.push(...shares);
  else details.push(...shares);
  return {
    headline: [...ofLoad, ...headline].filter((sentence) => sentence !== "").join(" "),
    basis: named.length === 0 ? null : [`${basisWords(named)}.`, ...doubtfulBasis(named)].join(" "),
    details,
    measured: isBrief ? [...measured, ...ratioCourseSentences(scenario, main)] : [],
  };
}

function inFacet(comparisons: readonly Comparison[], { points }: Facet): Comparison[] {
  return comparisons.filter((comparison) => points.some((point) => point.key === comparison.point.key));
}

/** One paragraph on the run as a whole. */
export function summary(analysis: RunAnalysis, trialCount: number, plannedTrialCount: number): string {
  const { scenarios, engines, failedCount } = analysis;
  const limits = scenarios.flatMap(({ groups }) => groups.filter(({ isBaseline }) => isBaseline));
  // As engines: "raw for commitlog" is raw.
  const baselines = [...new Set(limits.flatMap(({ trials }) => trials.map(({ engine }) => engine)))];
  const ran =
    trialCount === plannedTrialCount
      ? `${countWords(trialCount, "trial")}, each a fresh process`
      : `${countWords(trialCount, "trial")} of ${plannedTrialCount} planned, each a fresh process`;
  const against = baselines.length === 0 ? "" : ` against the ${countLess(baselines.length)} ${listWords(baselines)}`;
  const failed =
    failedCount === 0
      ? "None failed."
      : `${countWords(failedCount, "trial")} failed; failed trials are listed with their causes and never ranked.`;
  return `${countWords(scenarios.length, "scenario")} put ${listWords(engines)} to the test${against}: ${ran}. ${failed}`;
}

function countLess(count: number): string {
  return count === 1 ? "baseline" : "baselines";
}

/** Those of the load that the answer speaks of: the closed loop, or the highest paced rate that was compared. */
function mainComparisons(scenario: ScenarioAnalysis): Comparison[] {
  const keys = [...new Set(scenario.comparisons.map((comparison) => comparison.loadKey))].sort();
  return scenario.comparisons.filter((comparison) => comparison.loadKey === keys.at(-1));
}

/** For each facet one sentence: who leads at the first and who at the last value of the x axis. */
function endSentences(scenario: ScenarioAnalysis, comparisons: readonly Comparison[], isUniform: boolean): string[] {
  return scenario.facets.flatMap(({ values, points }) => {
    const here = comparisons.filter((comparison) => points.some((point) => point.key === comparison.point.key));
    if (here.length === 0) return [];
    const place = facetWords(values);
    const prefix = place === "" ? "" : `${place}: `;
    const clauses = endsOf(here).map((atEnd) => {
      const where = xWords(scenario, atEnd[0]!.point);
      const clause = atEnd.map((comparison) => comparisonClause(comparison, isUniform)).join("; ");
      return where === "" ? clause : `at ${where}, ${clause}`;
    });
    return [`${capitalise(`${prefix}${clauses.join("; ")}`)}.`];
  });
}

/** The comparisons at the first and at the last point that has any. */
function endsOf(comparisons: readonly Comparison[]): Comparison[][] {
  const ends = new Set([comparisons[0]?.point.key, comparisons.at(-1)?.point.key]);
  return [...ends].map((key) => comparisons.filter((comparison) => comparison.point.key === key));
}

function xWords(scenario: ScenarioAnalysis, point: Point): string {
  if (scenario.xAxis === null) return "";
  return valueWords(scenario.axes[scenario.xAxis]!, point.values[scenario.xAxis]!);
}

/** @param isUniform class and load are said elsewhere, once for all */
function comparisonClause(comparison: Comparison, isUniform: boolean): string {
  const { leader, other, ratio, percentile } = comparison;
  const [better, worse] = [figureWords(leader, comparison), figureWords(other, comparison)];
  const circumstances = isUniform ? "" : ` (${circumstancesWords(comparison)})`;
  if (!hasInterval(ratio)) {
    return `${leader.engine} is ahead of ${other.engine} in ${figureName(comparison)} by ${formatRatio(ratio.point)}, a single pair of trials: ${better} against ${worse}${circumstances}`;
  }
  const factor = `${formatRatio(ratio.point)} (${intervalWords(ratio, threeDigits)})`;
  if (!comparison.isDistinct) {
    return `${leader.engine} and ${other.engine} cannot be told apart in ${figureName(comparison)}: ${factor}, ${better} against ${worse}${circumstances}`;
  }
  if (percentile !== null) {
    return `${other.engine} has ${factor} the ${percentileName(percentile)} response time of ${leader.engine}, ${worse} against ${better}${circumstances}`;
  }
  return `${leader.engine} ${verbOf(comparison)} ${factor} as many messages a second as ${other.engine}, ${better} against ${worse}${circumstances}`;
}

function figureName({ figure, percentile }: { figure: Figure; percentile: number | null }): string {
  return figure === "responseTime" ? `${percentileName(percentile!)} response time` : `${figure} throughput`;
}

function circumstancesWords(comparison: Comparison): string {
  return `${classWords(comparison.leader.durabilityClasses)}, ${loadWords(comparison.load)}`;
}

/** Whether all were made in the same class and under the same load. */
function areUniform(comparisons: readonly Comparison[]): boolean {
  return new Set(comparisons.map(circumstancesWords)).size < 2;
}

/** Class, load and the meaning of the brackets, for comparisons that share them. */
function basisWords(comparisons: readonly Comparison[]): string {
  const circumstances = areUniform(comparisons) ? [circumstancesWords(comparisons[0]!)] : [];
  const withInterval = comparisons.filter(({ ratio }) => hasInterval(ratio));
  const spread = (values: number[], words: (value: number) => string) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return least === most ? words(least) : `${words(least)} to ${words(most)}`;
  };
  const brackets =
    withInterval.length === 0
      ? "one pair of trials has no interval"
      : `in brackets the ${spread(
          withInterval.map(({ ratio }) => ratio.confidence),
          confidenceWords,
        )} interval of the ratio, from ${spread(
          withInterval.map(({ pairCount }) => pairCount),
          String,
        )} pairs of trials`;
  return capitalised([...circumstances, brackets].join("; "));
}

/** What an answer rests on that may not hold: nothing, if all of its figures are valid. */
function doubtfulBasis(comparisons: readonly Comparison[]): string[] {
  const doubtful = comparisons.filter(({ grade }) => grade === "doubtful");
  if (doubtful.length === 0) return [];
  const groups = doubtful.flatMap(({ leader, other }) => [leader, other]);
  const which = doubtful.length === comparisons.length ? "This rests" : "In part this rests";
  return [`${which} on doubtful figures: ${doubtWords(groups, doubtful[0]!.figure)}.`];
}

/** Durable throughput is told from acknowledged by the figures compared, which the caller chose by the scenario. */
function verbOf(comparison: Comparison): string {
  return comparison.figure === "durable" ? "makes durable" : "acknowledges";
}

function figureWords(group: Group, comparison: { figure: Comparison["figure"]; percentile: number | null }): string {
  if (comparison.figure === "responseTime") {
    const figure = group.responseTime?.percentiles.find(({ percentile }) => percentile === comparison.percentile);
    return figure?.valueNs == null ? "too few samples" : formatTime(figure.valueNs);
  }
  const estimate = comparison.figure === "durable" ? group.durable : group.acknowledged;
  return estimate === null ? "no figure" : formatRate(estimate.point);
}

function tallySentence(comparisons: readonly Comparison[]): string {
  const wins = new Map<string, number>();
  for (const { isDistinct, leader } of comparisons) {
    if (isDistinct) wins.set(leader.engine, (wins.get(leader.engine) ?? 0) + 1);
  }
  const undecided = comparisons.filter((comparison) => !comparison.isDistinct).length;
  const parts = [...wins].map(([engine, count]) => `${engine} is ahead at ${count}`);
  if (undecided > 0) parts.push(`the engines cannot be told apart at ${undecided}`);
  return `Of ${countWords(comparisons.length, "point")} compared, ${listWords(parts)}.`;
}

/** The largest lead of each engine that leads anywhere; where none surely does, the largest difference each way. */
function largestLeads(comparisons: readonly Comparison[]): Comparison[] {
  const best = new Map<string, Comparison>();
  const distinct = comparisons.filter((comparison) => comparison.isDistinct);
  for (const comparison of distinct.length > 0 ? distinct : comparisons) {
    const current = best.get(comparison.leader.engine);
    if (current === undefined || comparison.ratio.point > current.ratio.point) {
      best.set(comparison.leader.engine, comparison);
    }
  }
  return [...best.values()];
}

function leadsSentence(scenario: ScenarioAnalysis, leads: readonly Comparison[], isUniform: boolean): string {
  if (leads.length === 0) return "";
  const clauses = leads.map(
    (comparison) => `at ${pointWords(scenario.axes, comparison.point)}, ${comparisonClause(comparison, isUniform)}`,
  );
  const what = leads.every((comparison) => comparison.isDistinct) ? "lead" : "difference";
  return `The largest ${what}${leads.length === 1 ? "" : what === "lead" ? " of each" : " each way"}: ${clauses.join("; ")}.`;
}

/** Between which neighbours on the x axis the lead changes hands. */
function crossingSentences(scenario: ScenarioAnalysis, comparisons: readonly Comparison[]): string[] {
  const { xAxis, axes } = scenario;
  if (xAxis === null || !axes[xAxis]!.isNumeric) return [];
  const axis: Axis = axes[xAxis]!;
  return scenario.facets.flatMap(({ values, points }) => {
    const sure = points.flatMap((point) => comparisons.filter((one) => one.isDistinct && one.point.key === point.key));
    return sure.slice(1).flatMap((comparison, i) => {
      const before = sure[i]!;
      if (before.leader.engine !== comparison.other.engine || before.other.engine !== comparison.leader.engine)
        return [];
      const [from, to] = [before.point.values[xAxis]!, comparison.point.values[xAxis]!];
      const place = facetWords(values);
      return [
        `The lead passes from ${before.leader.engine} to ${comparison.leader.engine} between ${axisName(axis)}\u00a0=\u00a0${axisValueWords(axis, from)} and ${axisValueWords(axis, to)}${place === "" ? "" : ` (${place})`}.`,
      ];
    });
  });
}

function otherLoadSentences(scenario: ScenarioAnalysis, main: readonly Comparison[]): string[] {
  const others = scenario.comparisons.filter((comparison) => comparison.loadKey !== main[0]!.loadKey);
  const keys = [...new Set(others.map((comparison) => comparison.loadKey))];
  return keys.flatMap((key) =>
    endSentences(
      scenario,
      others.filter((comparison) => comparison.loadKey === key),
      false,
    ),
  );
}

/** How near each engine comes to the limits, at the point where it is fastest. */
function shareSentences(scenario: ScenarioAnalysis): string[] {
  const sentences: string[] = [];
  for (const engine of scenario.record.engines) {
    const closed = scenario.groups.filter((group) => group.engine === engine && group.loadKey === "closed");
    const best = closed.reduce<Group | null>((fastest, group) => {
      if (group.durable === null || group.validity.durable.grade === "invalid") return fastest;
      return fastest === null || group.durable.point > fastest.durable!.point ? group : fastest;
    }, null);
    if (best === null) continue;
    const { ofRaw, ofDevice } = best;
    const acknowledged = [
      ...(ofRaw === null ? [] : [`${formatShare(ofRaw.acknowledged.share.point)} of raw appends`]),
      ...(ofDevice?.acknowledged == null
        ? []
        : [`${formatShare(ofDevice.acknowledged)} of the disk's buffered writes`]),
    ];
    const durable = [
      ...(ofRaw === null ? [] : [`${formatShare(ofRaw.durable.share.point)} of raw appends`]),
      ...(ofDevice?.durable == null ? [] : [`${formatShare(ofDevice.durable)} of the disk's direct writes`]),
    ];
    if (acknowledged.length === 0 && durable.length === 0) continue;
    const where = pointWords(scenario.axes, best.point);
    const place =
      scenario.points.length < 2
        ? ""
        : ` where it is fastest (${where}; ${classWords(best.durabilityClasses)}, ${loadWords(best.load)})`;
    const bound = best.isHarnessBound ? "; it is harness-bound there, within 2× of null" : "";
    const shares = [
      ...(acknowledged.length === 0 ? [] : [`${listWords(acknowledged)} in acknowledged throughput`]),
      ...(durable.length === 0 ? [] : [`${listWords(durable)} in durable throughput`]),
    ];
    sentences.push(`${best.engine} reaches${place} ${shares.join("; ")}${bound}.`);
  }
  return sentences;
}

function refusedSentences(scenario: ScenarioAnalysis): string[] {
  const byClass = scenario.refused.filter((one) => one.reason === "durability class");
  const invalid = scenario.refused.filter((one) => one.reason === "invalid");
  const empty = scenario.refused.filter((one) => one.reason === "no figures");
  const sentences: string[] = [];
  if (byClass.length > 0) {
    sentences.push(
      `Not compared at ${countWords(byClass.length, "point")}: the engines' acknowledgements are of different durability classes there.`,
    );
  }
  if (invalid.length > 0) {
    sentences.push(`Not compared at ${countWords(invalid.length, "point")}: a figure there is invalid.`);
  }
  if (empty.length > 0) {
    sentences.push(`Not compared at ${countWords(empty.length, "point")}: an engine has no figure there.`);
  }
  return sentences;
}

/** With nothing to compare, the figures themselves. */
function singleEngineSentences(scenario: ScenarioAnalysis): string[] {
  const { figure } = scenario.record;
  return scenario.trends
    .map((trend) => `${capitalise(trendClause(scenario, trend))}.`)
    .concat(
      scenario.groups.flatMap((group) => {
        const value = figureWords(group, { figure, percentile: 99 });
        if (
          group.isBaseline ||
          group.trials.length === 0 ||
          isOnlyCapacity(scenario, group) ||
          value === "too few samples"
        )
          return [];
        const { grade } = group.validity[figure];
        if (grade === "invalid") return [];
        const where = pointWords(scenario.axes, group.point);
        const what = figure === "responseTime" ? "p99 response time" : `${figure} throughput`;
        return [
          `${group.engine}${where === "" ? "" : ` at ${where}`}: ${what} ${value} (${classWords(group.durabilityClasses)}, ${loadWords(group.load)}${grade === "valid" ? "" : `; ${grade}`}).`,
        ];
      }),
    );
}

/** Of a scenario that asks for response times under paced loads the closed loop only says what their rates are shares of. */
function isOnlyCapacity({ record, groups }: ScenarioAnalysis, { load }: Group): boolean {
  return (
    record.figure === "responseTime" && load.model === "closed" && groups.some((group) => group.load.model === "open")
  );
}

function trendSentences(scenario: ScenarioAnalysis): string[] {
  return scenario.trends.map((trend) => `${capitalise(trendClause(scenario, trend))}.`);
}

function trendClause(scenario: ScenarioAnalysis, trend: Trend): string {
  const { figure } = scenario.record;
  const axis = scenario.axes[scenario.xAxis!]!;
  const [from, to] = [trend.from, trend.to].map((point) => axisValueWords(axis, point.values[scenario.xAxis!]!));
  const others = scenario.axes.map((other, i) => ({ axis: other, value: trend.to.values[i]! }));
  const place = facetWords(others.filter((other) => other.axis !== axis));
  const what = figureName({ figure, percentile: trend.percentile });
  const { ratio } = trend;
  const classes = trend.crossesClasses ? "; the two ends are of different durability classes" : "";
  const doubt = trend.grade === "valid" ? "" : "; doubtful";
  return `${place === "" ? "" : `${place}: `}from ${axisName(axis)}\u00a0=\u00a0${from} to ${to}, the ${what} of ${trend.group.engine} ${courseWords(ratio)} (${pairedWords(ratio, trend.pairCount)}; ${classWords(trend.group.durabilityClasses)}, ${loadWords(trend.group.load)}${classes}${doubt})`;
}

/** How the ratio of the first two engines runs along the x axis, where every point has one. */
function ratioCourseSentences(scenario: ScenarioAnalysis, comparisons: readonly Comparison[]): string[] {
  const [first, second] = scenario.record.engines;
  if (scenario.xAxis === null || first === undefined || second === undefined) return [];
  const axis = scenario.axes[scenario.xAxis]!;
  return scenario.facets.flatMap(({ values, points }) => {
    const course = points.flatMap((point) => {
      const comparison = comparisons.find(
        ({ point: { key }, leader, other }) =>
          key === point.key && [first, second].includes(leader.engine) && [first, second].includes(other.engine),
      );
      if (comparison === undefined) return [];
      return [
        `${formatRatio(ratioFrom(comparison, first).point)} at ${axisValueWords(axis, point.values[scenario.xAxis!]!)}`,
      ];
    });
    if (course.length === 0) return [];
    const place = facetWords(values);
    return [
      `${place === "" ? "" : `${capitalise(place)}: `}${first} ÷ ${second} by ${axisName(axis)}: ${course.join(", ")}.`,
    ];
  });
}

/** A sentence's first letter; names of engines and axes keep theirs. */
function capitalise(text: string): string {
  return text.replace(/^(at|from) /, (word) => word[0]!.toUpperCase() + word.slice(1));
}
