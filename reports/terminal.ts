/** The end of a run on a terminal: for each scenario its answer, a table and what failed. */

import CliTable from "cli-table3";
import type { Run } from "../results/schema.js";
import type { Grade } from "../results/validity.js";
import { analyse, type Group, type ScenarioAnalysis } from "./analysis.js";
import { answer } from "./answers.js";
import { cleanRecord } from "./clean.js";
import { tailLine } from "./cost-tables.js";
import { doubtSentences, gradeMark, MARKS_MEAN } from "./doubts.js";
import { formatRate, formatShare, formatTime } from "./format.js";
import { unresolvedOf } from "./model.js";
import { searchRows, searchSentence } from "./searches.js";
import { trialWords } from "./tables.js";
import { axisName, axisValueWords, cautionWords, classWords, countWords, hasInterval } from "./words.js";

/** Plain text without colours, so that it reads the same in a log. */
export function terminalTable(stored: Run): string {
  const run = cleanRecord(stored);
  const analysis = analyse(run);
  const parts = analysis.scenarios.map(scenarioPart);
  if (run.status === "partial") {
    parts.push(`This run is partial: ${run.trials.length} of ${run.plannedTrialCount} planned trials.`);
  }
  const unresolved = unresolvedOf(run);
  if (unresolved !== null) {
    parts.push([`${unresolved.heading}:`, ...unresolved.sentences.map((sentence) => `  - ${sentence}`)].join("\n"));
  }
  parts.push(...(run.searches.length === 0 ? [] : [searchRows(run).map(searchSentence).join("\n")]));
  if (analysis.failedCount > 0) parts.push(`${countWords(analysis.failedCount, "trial")} failed.`);
  return parts.join("\n\n").replaceAll("\u00a0", " ");
}

function scenarioPart(scenario: ScenarioAnalysis): string {
  const { headline, basis } = answer(scenario);
  const table = new CliTable({
    head: [
      ...scenario.axes.map(axisName),
      "engine",
      "load",
      "class",
      "acknowledged",
      "durable",
      "of raw",
      "p99 response",
      "notes",
    ],
    style: { head: [], border: [], compact: true },
    colAligns: [
      ...scenario.axes.map((axis) => (axis.isNumeric ? ("right" as const) : ("left" as const))),
      "left",
      "left",
      "left",
      "right",
      "right",
      "right",
      "right",
      "left",
    ],
  });
  for (const group of scenario.groups) table.push(row(scenario, group));
  const failures = scenario.failedTrials.map(
    (trial) => `  failed: ${trialWords(scenario, trial)}: ${trial.failures.join(" ")}`,
  );
  return [
    `${scenario.record.title}: ${scenario.record.question}`,
    headline,
    ...basisLine(basis),
    table.toString(),
    ...lineOf(tailLine(scenario)),
    ...failures,
    ...doubtLines(scenario),
  ].join("\n");
}

function doubtLines(scenario: ScenarioAnalysis): string[] {
  const doubts = doubtSentences(scenario);
  return doubts.length === 0 ? [] : [`  ${MARKS_MEAN}:`, ...doubts.map((doubt) => `  - ${doubt}`)];
}

function lineOf(line: string | null): string[] {
  return line === null ? [] : [`  ${line}`];
}

function basisLine(basis: string | null): string[] {
  return basis === null ? [] : [`(${basis})`];
}

function row(scenario: ScenarioAnalysis, group: Group): string[] {
  const p99 = group.responseTime?.percentiles.find(({ percentile }) => percentile === 99)?.valueNs ?? null;
  const { ofRaw } = group;
  return [
    ...scenario.axes.map((axis, i) => axisValueWords(axis, group.point.values[i]!)),
    group.engine,
    shortLoad(group),
    classWords(group.durabilityClasses),
    marked(rateWords(group.acknowledged), group.validity.acknowledged.grade),
    marked(rateWords(group.durable), group.validity.durable.grade),
    ofRaw === null ? "" : `${formatShare(ofRaw.acknowledged.share.point)} / ${formatShare(ofRaw.durable.share.point)}`,
    p99 === null ? "" : marked(formatTime(p99), group.validity.responseTime.grade),
    cautionWords(group).join("; "),
  ];
}

function marked(words: string, grade: Grade): string {
  return words === "" ? "" : words + gradeMark(grade);
}

/** "closed loop", "open loop, 70 %": in flight and arrivals stand in the report. */
function shortLoad({ load }: Group): string {
  return load.model === "closed" ? "closed loop" : `open loop, ${formatShare(load.capacityFraction)}`;
}

/** The median, and half the width of its interval as a share of it. */
function rateWords(estimate: Group["acknowledged"]): string {
  if (estimate === null) return "";
  if (!hasInterval(estimate) || estimate.point === 0) return formatRate(estimate.point);
  return `${formatRate(estimate.point)} ±${formatShare((estimate.upper - estimate.lower) / 2 / estimate.point)}`;
}
