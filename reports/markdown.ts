/** The summary for pull requests: answers, charts by relative path, and the throughput behind them. */

import { commandWords, environmentRows, machineWords, startedWords } from "./environment.js";
import type { ReportModel, ScenarioModel } from "./model.js";
import type { Table } from "./tables.js";
import { countWords } from "./words.js";

export function renderMarkdown(model: ReportModel): string {
  const { run } = model;
  return [
    "# One log per partition or one shared commitlog?",
    escapeMarkdown(
      `logduel report of run ${run.runId}, ${startedWords(run)}, profile ${run.profile}, on ${machineWords(run)}`,
    ),
    ...model.banners.map((banner) => `> **Mind:** ${escapeMarkdown(banner)}`),
    escapeMarkdown(model.summary),
    "The whole report, with response times, every trial and the method, is `report.html` beside this file.",
    ...model.scenarios.flatMap(scenarioParts),
    ...(model.sharedDoubts.length === 0 ? [] : ["## Doubts that several scenarios share", bullets(model.sharedDoubts)]),
    ...(model.unresolved === null
      ? []
      : [`## ${escapeMarkdown(model.unresolved.heading)}`, bullets(model.unresolved.sentences)]),
    ...(model.searches.rows.length === 0
      ? []
      : ["## The highest rate that meets the objective", ...captionedTable(model.searches)]),
    "## What the device can do",
    markdownTable(model.probe),
    "## Environment",
    bullets(environmentRows(run).map(([name, value]) => `${name}: ${value}`)),
    "To repeat this run:",
    codeBlock(commandWords(run)),
    "",
  ].join("\n\n");
}

function scenarioParts(scenario: ScenarioModel): string[] {
  const { record } = scenario.analysis;
  const failures = scenario.failures.map(
    ({ where, reasons }) => `> - ${escapeMarkdown(`${where}: ${reasons.join(" ")}`)}`,
  );
  return [
    `## ${escapeMarkdown(record.title)}`,
    `*${escapeMarkdown(record.question)}*`,
    escapeMarkdown(scenario.answer.headline),
    ...(scenario.answer.basis === null ? [] : [escapeMarkdown(scenario.answer.basis)]),
    ...(scenario.classBanner === null ? [] : [`> **Mind the classes:** ${escapeMarkdown(scenario.classBanner)}`]),
    ...(failures.length === 0
      ? []
      : [[`> **${countWords(failures.length, "trial")} failed** and count nowhere:`, ">", ...failures].join("\n")]),
    ...scenario.charts.main.map(
      (chart) => `![${escapeMarkdown(`${chart.title}. ${chart.subtitle}`)}](charts/${chart.id}.png)`,
    ),
    ...(scenario.course === null ? [] : [scenario.course]).flatMap(captionedTable),
    ...captionedTable(scenario.throughput),
    ...[scenario.tail, scenario.cost].filter(({ rows }) => rows.length > 0).flatMap(captionedTable),
    ...[scenario.doubts, scenario.measureTimes].filter(({ length }) => length > 0).map(bullets),
  ];
}

function bullets(sentences: readonly string[]): string {
  return sentences.map((sentence) => `- ${escapeMarkdown(sentence)}`).join("\n");
}

function captionedTable(table: Table): string[] {
  return [escapeMarkdown(table.caption), markdownTable(table)];
}

function markdownTable(table: Table): string {
  if (table.rows.length === 0) return "No figures.";
  const row = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [
    row(table.columns.map(({ label }) => escapeMarkdown(label))),
    row(table.columns.map(({ isNumber }) => (isNumber ? "---:" : "---"))),
    ...table.rows.map(({ cells }) =>
      row(cells.map(({ text, note }) => escapeMarkdown(note === undefined ? text : `${text} (${note})`))),
    ),
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
