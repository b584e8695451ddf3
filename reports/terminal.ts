/** The end of a run on a terminal: for each scenario its answer and a table; what several share is said once, below. */

import CliTable from "cli-table3";
import type { Run } from "../results/schema.js";
import type { Grade } from "../results/validity.js";
import { analyse, type Group, type RunAnalysis, type ScenarioAnalysis } from "./analysis.js";
import { answer } from "./answers.js";
import { cleanRecord } from "./clean.js";
import { tailLines } from "./cost-tables.js";
import { gradeMark, MARKS_MEAN, splitDoubts } from "./doubts.js";
import { formatRate, formatShare, formatTime } from "./format.js";
import { unresolvedOf } from "./model.js";
import { searchRows, searchSentence } from "./searches.js";
import { trialWords } from "./tables.js";
import {
  axisName,
  axisValueWords,
  CLASS_MEANINGS,
  changeWords,
  classWords,
  countWords,
  hasInterval,
  listWords,
  pointWords,
} from "./words.js";

const WIDTH_COLUMNS = 120;
/** Of a list that the report has whole. */
const SHOWN_SENTENCES = 5;

/** Plain text without colours, so that it reads the same in a log; no line of words is wider than a terminal. */
export function terminalTable(stored: Run): string {
  const run = cleanRecord(stored);
  const analysis = analyse(run);
  const doubts = splitDoubts(analysis.scenarios);
  const parts = analysis.scenarios.map((scenario, i) => scenarioPart(scenario, doubts.own[i]!));
  if (run.status === "partial") {
    parts.push(`This run is partial: ${run.trials.length} of ${run.plannedTrialCount} planned trials.`);
  }
  if (doubts.shared.length > 0) {
    parts.push(["Of several scenarios:", ...doubts.shared.map(item)].join("\n"));
  }
  parts.push(legend(analysis));
  const unresolved = unresolvedOf(run);
  if (unresolved !== null) {
    const { heading, sentences } = unresolved;
    const left = sentences.length - SHOWN_SENTENCES;
    const more = left > 0 ? [`  … and ${left} more, in the report.`] : [];
    parts.push([`${heading}:`, ...sentences.slice(0, SHOWN_SENTENCES).map(item), ...more].join("\n"));
  }
  if (run.searches.length > 0) {
    parts.push(
      ["The highest rate that meets the objective:", ...searchRows(run).map(searchSentence).map(item)].join("\n"),
    );
  }
  if (analysis.failedCount > 0) parts.push(`${countWords(analysis.failedCount, "trial")} failed.`);
  return parts.join("\n\n").replaceAll("\u00a0", " ");
}

function scenarioPart(scenario: ScenarioAnalysis, doubts: readonly string[]): string {
  const { headline, basis } = answer(scenario);
  const tails = tailLines(scenario);
  return [
    wrapped(`${scenario.record.title}: ${scenario.record.question}`),
    wrapped(headline),
    ...(basis === null ? [] : [wrapped(`(${basis})`)]),
    ...(scenario.groups.length === 0 ? [] : [figureTable(scenario)]),
    ...(tails.length === 0 ? [] : ["  Beyond p99.9 the slowest waited for:", ...tails.map(item)]),
    ...noteLines(scenario),
    ...scenario.failedTrials.map((trial) =>
      item(`failed: ${trialWords(scenario, trial)}: ${trial.failures.join(" ")}`),
    ),
    ...doubts.map(item),
  ].join("\n");
}

interface Column {
  readonly head: string;
  readonly align: "left" | "right";
  readonly cells: readonly string[];
}

/** The axes as columns; where that is too wide, each point as a line above its engines. */
function figureTable(scenario: ScenarioAnalysis): string {
  const { axes, groups } = scenario;
  const figures = figureColumns(groups);
  const points = axes.map((axis, i) =>
    column(
      axisName(axis),
      axis.isNumeric ? "right" : "left",
      groups.map((group) => axisValueWords(axis, group.point.values[i]!)),
    ),
  );
  const wide = [...points, ...figures];
  if (axes.length === 0 || widthOf(wide) <= WIDTH_COLUMNS) return drawn(wide, () => null);
  return drawn(figures, (row) => {
    const isFirst = row === 0 || groups[row - 1]!.point.key !== groups[row]!.point.key;
    return isFirst ? pointWords(axes, groups[row]!.point) : null;
  });
}

function figureColumns(groups: readonly Group[]): Column[] {
  const all: [string, Column["align"], (group: Group) => string][] = [
    ["engine", "left", (group) => group.engine],
    ["loop, class", "left", (group) => `${loopName(group)}, ${classWords(group.durabilityClasses)}`],
    [
      "acknowledged",
      "right",
      ({ acknowledged, validity }) => marked(rateWords(acknowledged), validity.acknowledged.grade),
    ],
    ["durable", "right", ({ durable, validity }) => marked(rateWords(durable), validity.durable.grade)],
    ["debt", "right", ({ pageCacheDebt }) => (pageCacheDebt === null ? "" : formatShare(pageCacheDebt))],
    ["of raw", "right", ({ ofRaw }) => (ofRaw === null ? "" : shareWords(ofRaw))],
    ["p99 response", "right", p99Words],
  ];
  return all
    .map(([head, align, cell]) => column(head, align, groups.map(cell)))
    .filter(({ cells }) => cells.some((cell) => cell !== ""));
}

/** A heading wider than its cells takes a line for each word. */
function column(head: string, align: Column["align"], cells: readonly string[]): Column {
  const widest = Math.max(0, ...cells.map((cell) => cell.length));
  return { head: head.length > widest ? head.replaceAll(" ", "\n") : head, align, cells };
}

function widthOf(columns: readonly Column[]): number {
  const widths = columns.map(({ head, cells }) =>
    Math.max(...[...head.split("\n"), ...cells].map((line) => line.length)),
  );
  return widths.reduce((sum, width) => sum + width + 3, 1);
}

/** @param above of a row: the line that stands above it, or null */
function drawn(columns: readonly Column[], above: (row: number) => string | null): string {
  const table = new CliTable({
    head: columns.map(({ head }) => head),
    style: { head: [], border: [], compact: true },
    colAligns: columns.map(({ align }) => align),
  });
  for (const row of columns[0]!.cells.keys()) {
    const line = above(row);
    if (line !== null) table.push([{ colSpan: columns.length, content: line, hAlign: "left" }]);
    table.push(columns.map(({ cells }) => cells[row]!));
  }
  return table.toString();
}

/** What is no reason for doubt, or concerns many cells in different numbers: in one line each. */
function noteLines({ groups }: ScenarioAnalysis): string[] {
  const namesOf = (some: readonly Group[]) =>
    `${listWords([...new Set(some.map(({ engine }) => engine))])} in ${some.length} of ${countWords(groups.length, "cell")}`;
  const bound = groups.filter(({ isHarnessBound }) => isHarnessBound);
  const changes = groups.flatMap(({ drift }) => [drift?.acknowledged ?? [], drift?.durable ?? []].flat());
  const over = groups.filter(({ responseTime }) => (responseTime?.overflowCount ?? 0) > 0);
  const range = [...new Set([Math.min(...changes), Math.max(...changes)].map(changeWords))].join(" to ");
  return [
    ...(bound.length === 0 ? [] : [item(`harness-bound, within 2× of null: ${namesOf(bound)}`)]),
    ...(changes.length === 0 ? [] : [item(`the limits from before to after the engines: ${range}`)]),
    ...(over.length === 0 ? [] : [item(`response times above 60 s: ${namesOf(over)}`)]),
  ];
}

/** What marks, columns and classes mean, of those that were shown. */
function legend({ scenarios }: RunAnalysis): string {
  const groups = scenarios.flatMap((scenario) => scenario.groups);
  const classes = [...new Set(groups.flatMap(({ durabilityClasses }) => durabilityClasses))].sort();
  const isSplit = groups.some(({ engine }) => engine.startsWith("raw for "));
  const sentences = [
    `${MARKS_MEAN}; debt: page-cache debt, the share of the acknowledged rate that the durable one lacks; of raw: acknowledged / durable.`,
    ...(isSplit ? ["raw for an engine: with its batch size and flush policy."] : []),
    ...(classes.length === 0 ? [] : [`${classes.map((name) => `${name} ${CLASS_MEANINGS[name]}`).join("; ")}.`]),
  ];
  return wrapped(sentences.join(" "));
}

function item(text: string): string {
  return wrapped(text, "  - ", "    ");
}

/** Broken at plain spaces: a figure stays with its unit. */
function wrapped(text: string, first = "", following = ""): string {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > WIDTH_COLUMNS) {
      lines.push(line);
      [line, isEmpty] = [following, true];
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line].join("\n");
}

function marked(words: string, grade: Grade): string {
  return words === "" ? "" : words + gradeMark(grade);
}

/** "closed", "open 70 %": in flight and arrivals stand in the report. */
function loopName({ load }: Group): string {
  return load.model === "closed" ? "closed" : `open ${formatShare(load.capacityFraction)}`;
}

/** "87 / 91 %". */
function shareWords({ acknowledged, durable }: NonNullable<Group["ofRaw"]>): string {
  const [first, second] = [acknowledged, durable].map(({ share }) => formatShare(share.point));
  return `${first!.replace(/\u00a0%$/, "")} / ${second}`;
}

function p99Words({ responseTime, validity, trials, missedCount, load }: Group): string {
  if (trials.length === 0 && missedCount > 0 && load.model === "open") return "FAILED";
  const p99 = responseTime?.percentiles.find(({ percentile }) => percentile === 99)?.valueNs ?? null;
  return p99 === null ? "" : marked(formatTime(p99), validity.responseTime.grade);
}

/** The median, and half the width of its interval as a share of it. */
function rateWords(estimate: Group["acknowledged"]): string {
  if (estimate === null) return "";
  if (!hasInterval(estimate) || estimate.point === 0) return formatRate(estimate.point);
  return `${formatRate(estimate.point)} ±${formatShare((estimate.upper - estimate.lower) / 2 / estimate.point)}`;
}
