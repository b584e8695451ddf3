import type { GateResult } from "../../results/gate.js";
import { cleanRecord } from "../clean.js";
import { escapeMarkdown } from "../markdown.js";
import { commandWords, comparedWords, counterRows, counterSummary, EXPLANATION, figureRows, headline } from "./rows.js";
import { blockRatios } from "./svg.js";

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
    `To repeat: \`${commandWords(result).replaceAll("`", "'")}\``,
    "",
  ].join("\n\n");
}

/** The ratio of each block in the order run; the guard's are in the page. */
function blockData({ figures }: GateResult): string {
  return table(
    ["figure", "candidate ÷ reference of each block"],
    figures.flatMap(({ id, screen, confirmation }) =>
      [screen, ...(confirmation === null ? [] : [confirmation])].map(({ blocks }, round) => [
        round === 0 ? id : `${id}, re-run`,
        blockRatios(blocks)
          .map((ratio) => ratio.toFixed(3))
          .join(", "),
      ]),
    ),
  );
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map(escapeMarkdown).join(" | ")} |`;
  return [line(head), `|${" --- |".repeat(head.length)}`, ...rows.map(line)].join("\n");
}

function folded(title: string, content: string): string {
  return `<details><summary>${title}</summary>\n\n${content}\n\n</details>`;
}
