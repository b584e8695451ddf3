/**
 * The history of gated runs: a JSON-lines file, one line for each run, and the changes of level in it. The last run alone
 * is never judged: a level needs several runs.
 */
import { accessSync, appendFileSync, constants, existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { type ChangePoint, changePoints } from "./change-points.js";
import { GATE_FORMAT_VERSION, type GateResult, outcomeSchema } from "./gate.js";
import { binomialInterval, median } from "./statistics.js";

const entrySchema = z.strictObject({
  formatVersion: z.literal(GATE_FORMAT_VERSION),
  at: z.iso.datetime(),
  /** Commit of the candidate. */
  commit: z.string().nullable(),
  fingerprint: z.string(),
  outcome: outcomeSchema,
  /** The candidate's, over the engines' defaults. */
  settings: z.record(z.string(), z.json()).default({}),
  /** The candidate's, by id; and its cost as a multiple of the reference's (above 1 is worse); null: an older run. */
  figures: z.record(
    z.string(),
    z.strictObject({
      value: z.number().positive(),
      unit: z.string(),
      costRatio: z.number().positive().nullable().default(null),
    }),
  ),
});

export type HistoryEntry = z.infer<typeof entrySchema>;

/** The history's file is not one; the message names the line. */
export class UnreadableHistoryError extends Error {
  override name = "UnreadableHistoryError";
}

/** Fewer runs than this say nothing of levels. */
export const FEWEST_RUNS = 10;
/** Stricter than 5 %: a history has many figures. */
const SIGNIFICANCE = 0.01;

export interface FigureHistory {
  readonly id: string;
  readonly unit: string;
  readonly entries: readonly HistoryEntry[];
  readonly values: readonly number[];
  readonly changes: readonly ChangePoint[];
  /** Median of each level, one more than there are changes. */
  readonly levels: readonly number[];
  readonly balance: Balance;
}

/**
 * In how many runs the candidate came out worse than its reference, and better, however little (method rule 33). A gate
 * that nearly always finds one of them is biased, if the changes are not.
 */
interface Balance {
  readonly worse: number;
  readonly better: number;
  /** By an exact test, from `FEWEST_RUNS` on. */
  readonly leans: "worse" | "better" | null;
}

export function appendHistory(file: string, result: GateResult): void {
  const entry: HistoryEntry = {
    formatVersion: GATE_FORMAT_VERSION,
    at: result.startedAt,
    commit: result.candidate.commit,
    fingerprint: result.environment.fingerprint,
    outcome: result.outcome,
    settings: result.candidate.settings as HistoryEntry["settings"],
    figures: Object.fromEntries(
      result.figures.map(({ id, candidate, unit, ratio, better }) => [
        id,
        { value: candidate, unit, costRatio: better === "lower" ? ratio.point : 1 / ratio.point },
      ]),
    ),
  };
  // Not onto a last line that an editor left without its end.
  const start = existsSync(file) && /[^\n]$/.test(readFileSync(file, "utf8")) ? "\n" : "";
  appendFileSync(file, `${start}${JSON.stringify(entrySchema.parse(entry))}\n`);
}

/** Before a run whose result would be lost otherwise. @throws UnreadableHistoryError when nothing can be appended */
export function requireAppendable(file: string): void {
  if (existsSync(file)) loadHistory(file);
  try {
    accessSync(existsSync(file) ? file : dirname(resolve(file)), constants.W_OK);
  } catch (cause) {
    throw new UnreadableHistoryError(`The history ${file} cannot be written (${(cause as Error).message}).`, { cause });
  }
}

/** @throws UnreadableHistoryError */
export function loadHistory(file: string): HistoryEntry[] {
  if (!existsSync(file)) throw new UnreadableHistoryError(`There is no history at ${file}.`);
  return linesOf(file).map((line, index) => {
    try {
      return entrySchema.parse(JSON.parse(line));
    } catch (cause) {
      throw new UnreadableHistoryError(
        `${file}, line ${index + 1}, is not a gated run of this version; take the line out.`,
        { cause },
      );
    }
  });
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n").filter(Boolean);
  } catch (cause) {
    throw new UnreadableHistoryError(`The history ${file} cannot be read (${(cause as Error).message}).`, { cause });
  }
}

/** The runs on the machine and with the settings of the last one: others have other levels. */
export function comparableRuns(history: readonly HistoryEntry[]): HistoryEntry[] {
  const key = ({ fingerprint, settings }: HistoryEntry) =>
    JSON.stringify([fingerprint, Object.entries(settings).sort()]);
  return history.filter((entry) => key(entry) === key(history.at(-1)!));
}

/**
 * The changes of level of each figure over the comparable runs. E-divisive on logarithms, so that a change of 10 % is as
 * large up as down and in any unit. Pure and seeded.
 */
export function analyseHistory(history: readonly HistoryEntry[]): FigureHistory[] {
  const entries = comparableRuns(history);
  const ids = [...new Set(entries.flatMap(({ figures }) => Object.keys(figures)))].sort();
  return ids.map((id) => {
    const having = entries.filter(({ figures }) => id in figures);
    const values = having.map(({ figures }) => figures[id]!.value);
    const changes =
      values.length < FEWEST_RUNS ? [] : changePoints(values.map(Math.log), { significance: SIGNIFICANCE });
    const bounds = [0, ...changes.map(({ at }) => at), values.length];
    const levels = bounds.slice(1).map((end, at) => median(values.slice(bounds[at], end)));
    const costRatios = having.flatMap(({ figures }) => figures[id]!.costRatio ?? []);
    const { unit } = having[0]!.figures[id]!;
    return { id, unit, entries: having, values, changes, levels, balance: balanceOf(costRatios) };
  });
}

/** Pure. @param costRatios one for each run; one of exactly 1 counts for neither side */
function balanceOf(costRatios: readonly number[]): Balance {
  const worse = costRatios.filter((ratio) => ratio > 1).length;
  const better = costRatios.filter((ratio) => ratio < 1).length;
  if (worse + better < FEWEST_RUNS) return { worse, better, leans: null };
  const share = binomialInterval(worse, worse + better, 1 - SIGNIFICANCE);
  return { worse, better, leans: share.lower > 0.5 ? "worse" : share.upper < 0.5 ? "better" : null };
}
