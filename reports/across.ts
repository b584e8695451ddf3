/**
 * Several runs side by side: the figures of equal cells. Runs of different machines are refused unless asked for, and then
 * every figure carries its machine; figures of different durability classes, settings or profiles stand under a banner.
 */

import { machineDifferences } from "../results/comparability.js";
import type { Run } from "../results/schema.js";
import { analyse, type Group } from "./analysis.js";
import { cleanRecord } from "./clean.js";
import { gradeMark, MARKS_MEAN } from "./doubts.js";
import { machineWords } from "./environment.js";
import { formatRate } from "./format.js";
import { classWords, intervalWords, loadWords, pointWords } from "./words.js";

/** Runs that may not stand side by side; the message says why, and the way out. */
export class IncomparableRunsError extends Error {
  override name = "IncomparableRunsError";
}

/** @throws IncomparableRunsError when the machines differ and nobody asked for that */
export function requireComparable(runs: readonly Run[], acrossMachines: boolean): void {
  const [first, ...others] = runs;
  if (first === undefined || acrossMachines) return;
  for (const other of others) {
    if (other.environment.fingerprint === first.environment.fingerprint) continue;
    const differences = machineDifferences(first.environment, other.environment);
    const what = differences.length === 0 ? "their fingerprints" : differences.join(", ");
    throw new IncomparableRunsError(
      `Runs ${first.runId} and ${other.runId} are of different machines (${what}); give --across-machines to see them side by side all the same.`,
    );
  }
}

interface Member {
  readonly run: Run;
  readonly group: Group;
}

/** Plain text: for each cell that more than one run has, a line for each run. */
export function acrossText(stored: readonly Run[]): string {
  const runs = stored.map(cleanRecord);
  const isAcross = new Set(runs.map(({ environment }) => environment.fingerprint)).size > 1;
  const cells = new Map<string, Member[]>();
  for (const run of runs) {
    for (const { record, axes, groups } of analyse(run).scenarios) {
      for (const group of groups) {
        const where = [record.id, group.engine, pointWords(axes, group.point), loadWords(group.load)];
        const name = where.filter(Boolean).join(", ");
        cells.set(name, [...(cells.get(name) ?? []), { run, group }]);
      }
    }
  }
  const shared = [...cells].filter(([, members]) => members.length > 1);
  if (shared.length === 0) return "These runs have no cell in common.";
  const parts = shared.map(([name, members]) => {
    const classes = [...new Set(members.flatMap(({ group }) => group.durabilityClasses))].sort();
    const banner = classes.length > 1 ? [`  MIND: classes ${classWords(classes)} promise different things.`] : [];
    const differences = [...configurationDifferences(members), ...originDifferences(members)];
    if (differences.length > 0) banner.push(`  MIND: these differ in more than the run: ${differences.join("; ")}.`);
    return [name, ...banner, ...members.map(({ run, group }) => line(run, group, isAcross))].join("\n");
  });
  return [...parts, MARKS_MEAN].join("\n\n").replaceAll("\u00a0", " ");
}

/** "messages.sizeBytes 100 against 1024"; an open load's rate follows from the capacity and may differ. */
function configurationDifferences(members: readonly Member[]): string[] {
  // Of a cell whose trials all failed there is nothing to hold against another.
  const shown = members.flatMap(({ group }) => group.trials.slice(0, 1));
  const flat = shown.map(({ configuration: { load, ...rest } }) => {
    const known = load.model === "open" ? { ...load, ratePerSecond: null } : load;
    return new Map(leavesOf({ ...rest, load: known }));
  });
  const paths = [...new Set(flat.flatMap((leaves) => [...leaves.keys()]))];
  return paths.flatMap((path) =>
    against(
      path,
      flat.map((leaves) => leaves.get(path) ?? "none"),
    ),
  );
}

/** What measured, and for how long. */
function originDifferences(members: readonly Member[]): string[] {
  const codes = members.map(({ run: { code } }) => code.hash ?? code.commit ?? code.version);
  return [
    ...against(
      "profile",
      members.map(({ run }) => run.profile),
    ),
    ...against("code", codes),
  ];
}

function against(what: string, values: readonly string[]): string[] {
  const distinct = [...new Set(values)];
  return distinct.length === 1 ? [] : [`${what} ${distinct.join(" against ")}`];
}

/** Dotted path and JSON of everything in it that holds nothing else. */
function leavesOf(value: unknown, path = ""): [string, string][] {
  if (typeof value !== "object" || value === null) return [[path, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([name, inner]) => leavesOf(inner, path === "" ? name : `${path}.${name}`));
}

function line(run: Run, { acknowledged, durable, validity, durabilityClasses }: Group, isAcross: boolean): string {
  const machine = isAcross ? ` on ${machineWords(run)} (${run.environment.fingerprint})` : "";
  const figureWords = (name: string, estimate: Group["acknowledged"], mark: string) => {
    if (estimate === null) return [];
    const interval = intervalWords(estimate, formatRate);
    return [`${name} ${formatRate(estimate.point)}${interval === null ? "" : ` (${interval})`}${mark}`];
  };
  const figures = [
    ...figureWords("acknowledged", acknowledged, gradeMark(validity.acknowledged.grade)),
    ...figureWords("durable", durable, gradeMark(validity.durable.grade)),
  ];
  const shown = figures.length === 0 ? "no figures" : `${figures.join(", ")}, ${classWords(durabilityClasses)}`;
  return `  ${run.runId}${machine}: ${shown}`;
}
