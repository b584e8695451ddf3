import type { GateResult } from "../../results/gate.js";
import { cleanRecord } from "../clean.js";
import { escapeMarkdown } from "../markdown.js";
import {
  blockLists,
  commandWords,
  comparedWords,
  counterRows,
  counterSummary,
  EXPLANATION,
  figureRows,
  headline,
} from "./rows.js";

/** By this line a workflow finds the comment that it wrote before, and replaces it. */
const STICKY_MARK = "<!-- logduel gate -->";
const MARKS = { passed: "✅", regression: "❌", inconclusive: "❔", failed: "💥" };

/** For a job summary or a comment of a pull request. */
export function gateMarkdown(stored: GateResult): string {
  const result = cleanRecord(stored);
  const figures = figureRows(result);
  const counters = counterRows(result);
  const changed = counters.filter(({ verdict }) => verdict === "regression" || verdict === "improvement");
  const figureTable = table(
    ["figure", "reference", "candidate", "ratio", "A/A", "p", "verdict"],
    figures.map((row) => [
      row.name,
      row.reference,
      row.candidate,
      row.ratio,
      row.guard,
      row.p,
      `${row.verdict}: ${row.reason}`,
    ]),
  );
  return [
    STICKY_MARK,
    `## ${MARKS[result.outcome]} ${headline(result)}: ${escapeMarkdown(comparedWords(result))}`,
    result.reasons.map((reason) => `- ${escapeMarkdown(reason)}`).join("\n"),
    ...result.doubts.map((doubt) => `> **Mind:** ${escapeMarkdown(doubt)}`),
    ...(figures.length === 0 ? [] : [figureTable, escapeMarkdown(EXPLANATION)]),
    escapeMarkdown(counterSummary(result)),
    ...(changed.length === 0
      ? []
      : [
          table(
            ["counter", "reference", "candidate", "candidate, each", "change"],
            changed.map((row) => [row.name, row.reference, row.candidate, row.each, row.reason]),
          ),
        ]),
    ...(figures.length === 0 ? [] : [folded("Block data", blockData(result))]),
    ...(counters.length === 0
      ? []
      : [
          folded(
            "All counters",
            table(
              ["counter", "reference", "candidate", "candidate, each", "verdict"],
              counters.map((row) => [row.name, row.reference, row.candidate, row.each, row.verdict]),
            ),
          ),
        ]),
    `To repeat: ${codeSpan(commandWords(result))}`,
    "",
  ].join("\n\n");
}

/** The ratio of each block in the order run; the guard's are in the page. */
function blockData({ figures }: GateResult): string {
  return table(
    ["figure", "candidate ÷ reference of each block"],
    blockLists(figures).map(({ id, round, ratios }) => [round === 1 ? id : `${id}, re-run`, ratios]),
  );
}

/** Fenced by more backticks than the text has in a row, so that it can be copied as it is. */
function codeSpan(text: string): string {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return longest === 0 ? `${fence}${text}${fence}` : `${fence} ${text} ${fence}`;
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map(escapeMarkdown).join(" | ")} |`;
  return [line(head), `|${" --- |".repeat(head.length)}`, ...rows.map(line)].join("\n");
}

function folded(title: string, content: string): string {
  return `<details><summary>${title}</summary>\n\n${content}\n\n</details>`;
}
