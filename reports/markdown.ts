/** The digest for pull requests: answers, charts by relative path, the throughput behind them, and doubts; the rest is on the page. */

import { tailLines } from "./cost-tables.js";
import { commandWords, environmentRows, machineWords, startedWords } from "./environment.js";
import type { ReportModel, ScenarioModel } from "./model.js";
import type { Table } from "./tables.js";
import { countWords } from "./words.js";

/** A comment of GitHub's holds 65 536 characters, and whoever posts this adds a line or two. */
export const MOST_CHARACTERS = 60_000;
/** Rows of a table and items of a list, tried in this order until the whole fits. */
const MOST_LINES = [24, 12, 6, 3];
/** Of one failure: whoever wrote the engine chose how much its error says. */
const MOST_OF_FAILURE = 1_000;
/** Of a surrogate pair that was cut in two. */
const HALF_CHARACTER = /[\ud800-\udbff]$/;
const CUT_HERE = "\n\n… Cut here: the rest is in `report.html`.\n";

/** At most `MOST_CHARACTERS`, and as much as that allows. */
export function renderMarkdown(model: ReportModel): string {
  let text = "";
  for (const mostLines of MOST_LINES) {
    text = renderWith(model, mostLines);
    if (text.length <= MOST_CHARACTERS) return text;
  }
  const kept = text.slice(0, MOST_CHARACTERS - CUT_HERE.length);
  return kept.slice(0, kept.lastIndexOf("\n")) + CUT_HERE;
}

function renderWith(model: ReportModel, mostLines: number): string {
  const { run, unresolved } = model;
  return [
    "# One log per partition or one shared commitlog?",
    escapeMarkdown(
      `logduel report of run ${run.runId}, ${startedWords(run)}, profile ${run.profile}, on ${machineWords(run)}`,
    ),
    ...model.banners.map((banner) => `> **Mind:** ${escapeMarkdown(banner)}`),
    escapeMarkdown(model.summary),
    "This is a digest. Response times, what the slowest messages waited for, what a message cost, every trial and the method are in `report.html` beside this file.",
    ...model.scenarios.flatMap((scenario) => scenarioParts(scenario, mostLines)),
    ...(model.sharedDoubts.length === 0 ? [] : ["## Doubts that several scenarios share", bullets(model.sharedDoubts)]),
    ...(unresolved === null
      ? []
      : [`## ${escapeMarkdown(unresolved.heading)}`, bullets(firstOf(unresolved.sentences, mostLines))]),
    ...(model.searches.rows.length === 0
      ? []
      : ["## The highest rate that meets the objective", ...captionedTable(model.searches, mostLines)]),
    "## What the device can do",
    markdownTable(model.probe, mostLines),
    "## Environment",
    bullets(environmentRows(run).map(([name, value]) => `${name}: ${value}`)),
    "To repeat this run:",
    codeBlock(commandWords(run)),
    "",
  ].join("\n\n");
}

function scenarioParts(scenario: ScenarioModel, mostLines: number): string[] {
  const { record } = scenario.analysis;
  const failures = scenario.failures.map(({ where, reasons }) => clipped(`${where}: ${reasons.join(" ")}`));
  const tails = tailLines(scenario.analysis);
  return [
    `## ${escapeMarkdown(record.title)}`,
    `*${escapeMarkdown(record.question)}*`,
    escapeMarkdown(scenario.answer.headline),
    ...(scenario.answer.basis === null ? [] : [escapeMarkdown(scenario.answer.basis)]),
    ...(scenario.classBanner === null ? [] : [`> **Mind the classes:** ${escapeMarkdown(scenario.classBanner)}`]),
    ...(failures.length === 0
      ? []
      : [
          [
            `> **${countWords(failures.length, "trial")} failed** and ${failures.length === 1 ? "counts" : "count"} nowhere:`,
            ">",
            ...firstOf(failures, mostLines).map((failure) => `> - ${escapeMarkdown(failure)}`),
          ].join("\n"),
        ]),
    ...scenario.charts.main.map(
      (chart) => `![${escapeMarkdown(`${chart.title}. ${chart.subtitle}`)}](charts/${chart.id}.png)`,
    ),
    ...(scenario.course === null ? [] : captionedTable(scenario.course, mostLines)),
    ...captionedTable(scenario.throughput, mostLines),
    ...labelled("What the slowest messages waited for:", tails),
    ...labelled("Validity:", scenario.doubts),
    ...labelled("Measured for:", firstOf(scenario.measureTimes, mostLines)),
  ];
}

/** Lists without anything between them would become one. */
function labelled(label: string, sentences: readonly string[]): string[] {
  return sentences.length === 0 ? [] : [label, bullets(sentences)];
}

function clipped(failure: string): string {
  if (failure.length <= MOST_OF_FAILURE) return failure;
  return `${failure.slice(0, MOST_OF_FAILURE).replace(HALF_CHARACTER, "")} … (cut here: the rest is in report.html)`;
}

/** The first of them, and how many there are besides. */
function firstOf(sentences: readonly string[], most: number): string[] {
  const left = sentences.length - most;
  return left <= 0 ? [...sentences] : [...sentences.slice(0, most), `and ${left} more in report.html`];
}

function bullets(sentences: readonly string[]): string {
  return sentences.map((sentence) => `- ${escapeMarkdown(sentence)}`).join("\n");
}

function captionedTable(table: Table, mostRows: number): string[] {
  return [escapeMarkdown(table.caption), markdownTable(table, mostRows)];
}

/** Where rows are too many, those of the limits are the first to go: the others tell their share of them. */
function markdownTable(table: Table, mostRows: number): string {
  if (table.rows.length === 0) return "No figures.";
  const isWhole = table.rows.length <= mostRows;
  const shown = isWhole ? table.rows : table.rows.filter(({ isMuted }) => !isMuted).slice(0, mostRows);
  const left = table.rows.length - shown.length;
  const row = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [
    row(table.columns.map(({ label }) => escapeMarkdown(label))),
    row(table.columns.map(({ isNumber }) => (isNumber ? "---:" : "---"))),
    ...shown.map(({ cells }) =>
      row(cells.map(({ text, note }) => escapeMarkdown(note === undefined ? text : `${text} (${note})`))),
    ),
    ...(left === 0
      ? []
      : [`\n${countWords(left, "more row")} of this table ${left === 1 ? "is" : "are"} in \`report.html\`.`]),
  ].join("\n");
}

/** Names (on one line and clean, see `clean.ts`) shown as they are: no markup, no HTML, no link, no end of the cell or the line. */
export function escapeMarkdown(text: string): string {
  return (
    text
      .replace(/[\\`*_{}[\]|#~!]/g, "\\$&")
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
      // A bare address would become a link.
      .replace(/:\/\//g, ":&#47;&#47;")
      .replaceAll("@", "&#64;")
  );
}

function codeBlock(text: string): string {
  const fence = "`".repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map(([run]) => run.length + 1)));
  return `${fence}sh\n${text}\n${fence}`;
}
