import CliTable from "cli-table3";
import type { GateResult } from "../../results/gate.js";
import { cleanRecord } from "../clean.js";
import { commandWords, comparedWords, counterRows, counterSummary, figureRows, headline } from "./rows.js";

/** A gate's result on a terminal: plain text without colours, so that it reads the same in a log. */
export function gateTerminal(stored: GateResult): string {
  const result = cleanRecord(stored);
  const figures = tableOf(["figure", "reference", "candidate", "ratio", "A/A", "p", "verdict"]);
  for (const row of figureRows(result)) {
    figures.push([row.name, row.reference, row.candidate, row.ratio, row.guard, row.p, row.verdict]);
  }
  const changed = counterRows(result).filter(({ verdict }) => verdict === "regression" || verdict === "improvement");
  const counters = tableOf(["counter", "reference", "candidate", "candidate, each", "change"]);
  for (const row of changed) counters.push([row.name, row.reference, row.candidate, row.each, row.reason]);
  return [
    ...(result.figures.length === 0 ? [] : [figures.toString()]),
    ...(changed.length === 0 ? [] : [counters.toString()]),
    counterSummary(result),
    `${headline(result)}: ${comparedWords(result)}.`,
    ...result.reasons.map((reason) => `  ${reason}`),
    ...result.doubts.map((doubt) => `  Mind: ${doubt}`),
    `To repeat: ${commandWords(result)}`,
  ].join("\n");
}

function tableOf(head: string[]): CliTable.Table {
  return new CliTable({ head, style: { head: [], border: [], compact: true } });
}
