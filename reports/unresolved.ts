import type { Run } from "../results/schema.js";
import { threeDigits } from "./format.js";
import { objectiveWords } from "./searches.js";
import { confidenceWords, countWords, loadWords, storedPointWords } from "./words.js";

/** What the time did not suffice for, in the words of the scenario's headings and tables. */
export function unresolvedSentence({ scenarios }: Run, unresolved: Run["unresolved"][number]): string {
  if (typeof unresolved === "string") return unresolved;
  const { scenarioId, point } = unresolved;
  const record = scenarios.find(({ id }) => id === scenarioId);
  const place = [record?.title ?? scenarioId, storedPointWords(record, point)];
  const where = (more: readonly string[]) => [...place, ...more].filter(Boolean).join(", ");
  if (unresolved.what === "search") {
    const { engine, objective } = unresolved;
    return `${where([])}: ${engine} has no highest rate for ${objectiveWords(objective)}, because the time was up.`;
  }
  const { load, engines, pairCount, interval } = unresolved;
  const what = `${where([loadWords(load)])}: ${engines.join(" ÷ ")}`;
  if (interval === null) return `${what} has ${pairCount} of the two pairs of trials that an interval needs at least.`;
  const { lower, upper, confidence } = interval;
  const range = `between ${threeDigits(lower)} and ${threeDigits(upper)} (${confidenceWords(confidence)}, Student)`;
  return `${what} lies ${range} after ${countWords(pairCount, "pair")}: neither a difference nor its absence is shown.`;
}
