/** A gate's result, already clean (`clean.ts`), in words and figures: the same for terminal, Markdown, JUnit and page. */
import type { GateCounter, GateFigure, GateResult } from "../../results/gate.js";
import { formatBytes, formatRate, formatTime, groupThousands, threeDigits } from "../format.js";
import { shellWords } from "../words.js";
import { blockRatios } from "./svg.js";

export interface FigureRow {
  readonly name: string;
  readonly reference: string;
  readonly candidate: string;
  /** "1.021 (1.004 – 1.038)": candidate ÷ reference with its 90 % interval. */
  readonly ratio: string;
  /** The same of the reference against itself. */
  readonly guard: string;
  /** One-sided, that it is no worse than the margin, after Holm's correction. */
  readonly p: string;
  readonly verdict: string;
  readonly reason: string;
  readonly figure: GateFigure;
}

/** The gated figures first, each group in the order measured. */
export function figureRows({ figures }: GateResult): FigureRow[] {
  return [...figures.filter(({ gated }) => gated), ...figures.filter(({ gated }) => !gated)].map((figure) => {
    const last = figure.confirmation ?? figure.screen;
    return {
      name: figureName(figure),
      reference: inUnit(figure.reference, figure.unit),
      candidate: inUnit(figure.candidate, figure.unit),
      ratio: ratioWords(figure.ratio),
      guard: last.guard === null ? "–" : ratioWords(last.guard.ratio),
      p: pWords(last.candidate.pWorseHolm),
      verdict: figure.gated ? figure.verdict : `${figure.verdict} (watched)`,
      reason: figure.reason,
      figure,
    };
  });
}

export interface BlockList {
  readonly id: string;
  /** 1: the screen; 2: the re-run. */
  readonly round: 1 | 2;
  /** Candidate ÷ reference of each block, in the order run: "1.100, 1.120". */
  readonly ratios: string;
}

/** The blocks of each figure, those of the re-run by themselves. */
export function blockLists(figures: readonly GateFigure[]): BlockList[] {
  return figures.flatMap(({ id, screen, confirmation }) =>
    [screen, ...(confirmation === null ? [] : [confirmation])].map(({ blocks }, at) => ({
      id,
      round: at === 0 ? 1 : 2,
      ratios: blockRatios(blocks)
        .map((ratio) => ratio.toFixed(3))
        .join(", "),
    })),
  );
}

/** All that a result says of one figure, on one line. */
export function figureSentence(row: FigureRow): string {
  const blocks = blockLists([row.figure]).map(({ round, ratios }) => `${round === 1 ? "blocks" : "re-run"} ${ratios}`);
  return `${row.name}: reference ${row.reference}, candidate ${row.candidate}, ratio ${row.ratio}, A/A ${row.guard}, p ${row.p}; ${row.verdict}: ${row.reason}; ${blocks.join("; ")}`;
}

/** The same of a counter. */
export function counterSentence(row: CounterRow): string {
  return `${row.name}: reference ${row.reference}, candidate ${row.candidate} (${row.each}); ${row.reason}`;
}

/** "partitioned-log, closed: CPU per message". */
function figureName({ id, title }: GateFigure | GateCounter): string {
  return `${id.split("/").slice(0, -1).join(", ")}: ${title}`;
}

export function inUnit(value: number, unit: string): string {
  if (unit === "ns") return formatTime(value);
  if (unit === "bytes") return formatBytes(value);
  return unit === "messages/s" ? formatRate(value) : `${threeDigits(value)} ${unit}`;
}

function ratioWords(ratio: GateFigure["ratio"]): string {
  return `${ratio.point.toFixed(3)} (${ratio.lower.toFixed(3)} – ${ratio.upper.toFixed(3)})`;
}

function pWords(p: number): string {
  return p < 0.001 ? p.toExponential(1) : p.toFixed(3);
}

export interface CounterRow {
  readonly name: string;
  /** The candidate's: "19.9 per message"; of batches "61.3 messages per batch". */
  readonly each: string;
  readonly reference: string;
  readonly candidate: string;
  readonly verdict: GateCounter["verdict"];
  readonly reason: string;
  readonly counter: GateCounter;
}

export function counterRows({ counters }: GateResult): CounterRow[] {
  return counters.map((counter) => ({
    name: figureName(counter),
    reference: totals(counter.reference),
    candidate: totals(counter.candidate),
    each: eachWords(counter),
    verdict: counter.verdict,
    reason: counter.reason,
    counter,
  }));
}

/** Equal totals once, others each: "1 648", "63, 64". */
function totals(values: readonly number[]): string {
  return [...new Set(values)].map(groupThousands).join(", ");
}

function eachWords({ id, candidate, messageCount }: GateCounter): string {
  const total = candidate[0]!;
  if (!id.endsWith("/batches")) return `${threeDigits(total / messageCount)} per message`;
  return total === 0 ? "no batches" : `${threeDigits(messageCount / total)} messages per batch`;
}

/** "34 counters equal, 2 not repeatable." */
export function counterSummary({ counters }: GateResult): string {
  const words: Record<GateCounter["verdict"], string> = {
    regression: "risen",
    improvement: "fallen",
    equal: "equal",
    "not-repeatable": "not repeatable",
  };
  const parts = Object.entries(words).flatMap(([verdict, word]) => {
    const found = counters.filter((counter) => counter.verdict === verdict).length;
    return found === 0 ? [] : [`${found} ${word}`];
  });
  return parts.length === 0 ? "No counters." : `Counters: ${parts.join(", ")}.`;
}

export function headline({ outcome }: GateResult): string {
  switch (outcome) {
    case "passed":
      return "No regression";
    case "regression":
      return "Regression";
    case "inconclusive":
      return "Inconclusive";
    case "failed":
      return "Failed";
  }
}

/** "working tree against main (1a2b3c4)". */
export function comparedWords({ candidate, reference }: GateResult): string {
  return `${candidate.label} against ${reference.label}`;
}

/** Arguments quoted for a shell; the seed makes it the same run. */
export function commandWords({ command, seed }: GateResult): string {
  const hasSeed = command.some((argument) => /^--seed(=|$)/.test(argument));
  const complete = hasSeed ? command : [...command, "--seed", String(seed)];
  return `npm run gate -- ${shellWords(complete).join(" ")}`;
}

export const EXPLANATION =
  "Ratio: candidate ÷ reference with its 90 % interval, from the blocks that decided. A/A: the same of the reference against itself. CPU per message is that of trials that run at the same time, two on a processor. p: one-sided exact sign-flip test, on signed ranks of the blocks' log ratios, of being worse than the margin, after Holm's correction over the gated figures.";
