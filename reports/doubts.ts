/** How far figures may be believed, in words: marks beside figures, one sentence for each reason, and the whole list. */

import { FIGURE_NAMES, type FigureName, type Grade } from "../results/validity.js";
import type { Group, ScenarioAnalysis } from "./analysis.js";
import { capitalised, countWords, listWords } from "./words.js";

const FIGURE_WORDS: Record<FigureName, string> = {
  acknowledged: "acknowledged throughput",
  durable: "durable throughput",
  responseTime: "response time",
};

/** What a kind of reason is called where there is no room for its sentence. */
const KIND_WORDS: Readonly<Record<string, string>> = {
  clock: "a clock step",
  steal: "stolen processor time",
  schedule: "a generator behind its schedule",
  steady: "no steady state",
  sync: "a sync that costs nothing",
  writers: "other writers on the device",
  dirty: "dirty pages left at the end",
  cached: "cached, a working set that fits in memory",
  roll: "no file rolled inside",
  samples: "few samples beyond the percentile",
  "left-out": "invalid trials left out",
  drift: "limits that drifted",
  failed: "failed trials",
};

/** For narrow places, beside the figure: nothing if valid. */
export function gradeMark(grade: Grade): string {
  return { valid: "", doubtful: " ?", invalid: " ✗" }[grade];
}

export const MARKS_MEAN = "? doubtful, ✗ invalid";

/** Why the figures of these groups are not valid, in few words; empty if they are. */
export function doubtWords(groups: readonly Group[], figure: FigureName): string {
  const kinds = new Set(groups.flatMap(({ validity }) => validity[figure].reasons.map(({ kind }) => kind)));
  return listWords([...kinds].map((kind) => KIND_WORDS[kind] ?? kind));
}

interface Doubt {
  readonly text: string;
  readonly figures: Set<FigureName>;
  readonly groups: Set<Group>;
  grade: Grade;
}

/** One sentence for each kind of reason, with how many cells it concerns; numbers are those of the first of them. */
export function doubtSentences(scenario: ScenarioAnalysis): string[] {
  const byKind = new Map<string, Doubt>();
  for (const group of scenario.groups) {
    for (const figure of shownFigures(group)) {
      const { grade, reasons } = group.validity[figure];
      for (const { kind, text } of reasons) {
        const doubt = byKind.get(kind) ?? { text, figures: new Set(), groups: new Set(), grade };
        doubt.figures.add(figure);
        doubt.groups.add(group);
        if (grade === "invalid") doubt.grade = grade;
        byKind.set(kind, doubt);
      }
    }
  }
  return [...byKind.values()].map(({ text, figures, groups, grade }) => {
    const names = listWords(FIGURE_NAMES.filter((name) => figures.has(name)).map((name) => FIGURE_WORDS[name]));
    const example = groups.size > 1 ? ", the first of them quoted" : "";
    return `${capitalised(grade)}: ${text} (${names} of ${groups.size} of ${countWords(scenario.groups.length, "cell")}${example})`;
  });
}

/** Of every cell the figures that are not valid, with grade and all reasons. */
export function doubtfulFigures(
  scenario: ScenarioAnalysis,
): { group: Group; figure: string; grade: Grade; reasons: string[] }[] {
  return scenario.groups.flatMap((group) =>
    shownFigures(group).flatMap((name) => {
      const { grade, reasons } = group.validity[name];
      if (grade === "valid") return [];
      return [{ group, figure: FIGURE_WORDS[name], grade, reasons: reasons.map(({ text }) => text) }];
    }),
  );
}

/** Those that the reports show of a group: what stores nothing has no durable figure. */
function shownFigures(group: Group): FigureName[] {
  if (group.trials.length === 0) return [];
  return FIGURE_NAMES.filter((name) => name !== "durable" || !group.storesNothing);
}
