import CliTable from "cli-table3";
import type { GateResult } from "../../results/gate.js";
import { cleanRecord } from "../clean.js";
import {
  type BlockList,
  blockLists,
  commandWords,
  comparedWords,
  counterRows,
  counterSummary,
  figureRows,
  headline,
} from "./rows.js";

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
    ...(result.figures.length === 0
      ? []
      : [figures.toString(), "Candidate ÷ reference of each block:", ...blockLists(result.figures).map(blockLine)]),
    ...(changed.length === 0 ? [] : [counters.toString()]),
    counterSummary(result),
    `${headline(result)}: ${comparedWords(result)}.`,
    ...result.reasons.map((reason) => `  ${reason}`),
    ...result.doubts.map((doubt) => `  Mind: ${doubt}`),
    `To repeat: ${commandWords(result)}`,
  ].join("\n");
}

function blockLine({ id, round, ratios }: BlockList): string {
  return `  ${id}${round === 1 ? "" : ", re-run"}: ${ratios}`;
}

function tableOf(head: string[]): CliTable.Table {
  return new CliTable({ head, style: { head: [], border: [], compact: true } });
}
