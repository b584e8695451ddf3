/**
 * Several runs side by side: the figures of equal cells. Runs of different machines are refused unless asked for, and then
 * every figure carries its machine; figures of different durability classes stand under a banner.
 */

import { machineDifferences } from "../results/comparability.js";
import type { Run } from "../results/schema.js";
import { analyse, type Group } from "./analysis.js";
import { cleanRecord } from "./clean.js";
import { gradeMark, MARKS_MEAN } from "./doubts.js";
import { machineWords } from "./environment.js";
import { formatRate } from "./format.js";
import { classWords, loadWords, pointWords } from "./words.js";

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

/** Plain text: for each cell that more than one run has, a line for each run. */
export function acrossText(stored: readonly Run[]): string {
  const runs = stored.map(cleanRecord);
  const isAcross = new Set(runs.map(({ environment }) => environment.fingerprint)).size > 1;
  const cells = new Map<string, { run: Run; group: Group }[]>();
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
    return [name, ...banner, ...members.map(({ run, group }) => line(run, group, isAcross))].join("\n");
  });
  return [...parts, MARKS_MEAN].join("\n\n").replaceAll("\u00a0", " ");
}

function line(run: Run, { acknowledged, durable, validity, durabilityClasses }: Group, isAcross: boolean): string {
  const machine = isAcross ? ` on ${machineWords(run)} (${run.environment.fingerprint})` : "";
  const figures = [
    acknowledged === null
      ? []
      : [`acknowledged ${formatRate(acknowledged.point)}${gradeMark(validity.acknowledged.grade)}`],
    durable === null ? [] : [`durable ${formatRate(durable.point)}${gradeMark(validity.durable.grade)}`],
  ].flat();
  const shown = figures.length === 0 ? "no figures" : `${figures.join(", ")}, ${classWords(durabilityClasses)}`;
  return `  ${run.runId}${machine}: ${shown}`;
}
