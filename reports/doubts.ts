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
  rate: "a rate met but for a pause",
  schedule: "a generator behind its schedule",
  steady: "no steady state",
  sync: "a sync that costs nothing",
  writers: "other writers on the device",
  dirty: "dirty pages left at the end",
  cached: "a working set that fits in memory",
  roll: "no file rolled inside",
  "first-roll": "no file rolled in the warm-up",
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
  text: string;
  readonly figures: Set<FigureName>;
  readonly groups: Set<Group>;
  /** Of the groups those with a figure that is invalid by it. */
  readonly invalid: Set<Group>;
  readonly scenarios: Set<ScenarioAnalysis>;
  grade: Grade;
}

/**
 * One sentence for each kind of reason, with how many cells it concerns; numbers are those of the first of the gravest.
 * Kinds that more than one scenario has are said once, for all together.
 * @returns `own` in the order of the scenarios
 */
export function splitDoubts(scenarios: readonly ScenarioAnalysis[]): { shared: string[]; own: string[][] } {
  const kinds = [...doubtsByKind(scenarios).values()];
  return {
    shared: kinds
      .filter((doubt) => doubt.scenarios.size > 1)
      .map((doubt) => {
        const cellCount = [...doubt.scenarios].reduce((count, { groups }) => count + groups.length, 0);
        return sentenceOf(doubt, cellCount);
      }),
    own: scenarios.map((scenario) =>
      kinds
        .filter((doubt) => doubt.scenarios.size === 1 && doubt.scenarios.has(scenario))
        .map((doubt) => sentenceOf(doubt, scenario.groups.length)),
    ),
  };
}

function doubtsByKind(scenarios: readonly ScenarioAnalysis[]): Map<string, Doubt> {
  const byKind = new Map<string, Doubt>();
  for (const scenario of scenarios) {
    for (const group of scenario.groups) {
      for (const figure of shownFigures(group)) {
        for (const { kind, grade, text } of group.validity[figure].reasons) {
          const known = byKind.get(kind);
          const doubt = known ?? {
            text,
            grade,
            figures: new Set(),
            groups: new Set(),
            invalid: new Set(),
            scenarios: new Set(),
          };
          if (grade === "invalid" && doubt.grade !== "invalid") Object.assign(doubt, { text, grade });
          doubt.figures.add(figure);
          doubt.groups.add(group);
          if (grade === "invalid") doubt.invalid.add(group);
          doubt.scenarios.add(scenario);
          byKind.set(kind, doubt);
        }
      }
    }
  }
  return byKind;
}

/** "Doubtful: … (response time; 2 of 12 cells, one of them quoted)"; "Invalid: … (…; 2 of 12 cells, …; 3 more are doubtful)". */
function sentenceOf({ text, grade, figures, groups, invalid, scenarios }: Doubt, cellCount: number): string {
  const names =
    figures.size === FIGURE_NAMES.length
      ? "all figures"
      : listWords(FIGURE_NAMES.filter((name) => figures.has(name)).map((name) => FIGURE_WORDS[name]));
  const concerned = grade === "invalid" ? invalid : groups;
  const where = scenarios.size > 1 ? ` in ${scenarios.size} scenarios` : "";
  const example = concerned.size > 1 ? ", one of them quoted" : "";
  const milder = groups.size - concerned.size;
  const more = milder === 0 ? "" : `; in ${milder} more it is less and makes them doubtful`;
  return `${capitalised(grade)}: ${text} (${names}; ${concerned.size} of ${countWords(cellCount, "cell")}${where}${example}${more})`;
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
