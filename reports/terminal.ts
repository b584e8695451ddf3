/** The end of a run on a terminal: one table of throughput and response time, one answer per scenario. */

import { stripVTControlCharacters } from "node:util";
import CliTable from "cli-table3";
import type { Run } from "../results/schema.js";
import { analyse, type Group, type ScenarioAnalysis } from "./analysis.js";
import { answer } from "./answers.js";
import { formatRate, formatShare, formatTime } from "./format.js";
import { cautionWords, classWords, countWords, intervalWords, loadWords, pointWords } from "./words.js";

/** Plain text without colours, so that it reads the same in a log. */
export function terminalTable(run: Run): string {
  const analysis = analyse(run);
  const parts = analysis.scenarios.map(scenarioPart);
  if (run.status === "partial") {
    parts.push(`This run is partial: ${run.trials.length} of ${run.plannedTrialCount} planned trials.`);
  }
  if (analysis.failedCount > 0) parts.push(`${countWords(analysis.failedCount, "trial")} failed.`);
  return parts.join("\n\n");
}

function scenarioPart(scenario: ScenarioAnalysis): string {
  const table = new CliTable({
    head: ["", "engine", "load", "class", "acknowledged", "durable", "of raw", "response p99", "notes"],
    style: { head: [], border: [], compact: true },
    colAligns: ["left", "left", "left", "left", "right", "right", "right", "right", "left"],
  });
  for (const group of scenario.groups) table.push(row(scenario, group).map(plain));
  const failures = scenario.failedTrials.map(
    (trial) => `  failed: ${plain(`${trial.engine}, repetition ${trial.repetition}: ${trial.failures.join(" ")}`)}`,
  );
  return [plain(scenario.record.title), plain(answer(scenario).headline), table.toString(), ...failures].join("\n");
}

function row(scenario: ScenarioAnalysis, group: Group): string[] {
  const p99 = group.responseTime?.percentiles.find(({ percentile }) => percentile === 99)?.valueNs ?? null;
  return [
    pointWords(scenario.axes, group.point),
    group.engine,
    loadWords(group.load),
    classWords(group.durabilityClasses),
    rateWords(group.acknowledged),
    rateWords(group.durable),
    group.ofRaw === null
      ? ""
      : `${formatShare(group.ofRaw.acknowledged.share)} / ${formatShare(group.ofRaw.durable.share)}`,
    p99 === null ? "" : formatTime(p99),
    cautionWords(group).join("; "),
  ];
}

function rateWords(estimate: Group["acknowledged"]): string {
  if (estimate === null) return "";
  const interval = intervalWords(estimate, formatRate);
  return interval === null ? formatRate(estimate.point) : `${formatRate(estimate.point)} (${interval})`;
}

/** Without escape sequences and characters that move the cursor or turn the direction of writing. */
function plain(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, "")
    .replaceAll("\u00a0", " ");
}
